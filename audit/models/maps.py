"""Differentiable maps x -> φ, and their Jacobians by batched reverse mode.

Rows of a batch do not interact, so the gradient of Σ_i φ_j(x_i) with respect to the
batch holds ∂φ_j/∂x_i in its row i: p backward passes give the Jacobians of all rows.
Forward mode is not used: through a loaded TorchScript module it is silently wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audit.ground.errors import NotDifferentiable
from audit.importer.products import seldom_alike as seldom_alike
from audit.linalg.cotangents import pulled_back
from audit.linalg.operators import Diagonal
from audit.linalg.stored import LinearOperator, Matrix
from audit.models.density import Values


@dataclass(frozen=True)
class ReverseJacobian:
    """The Jacobian of φ at x, from the graph that autograd recorded.

    Shapes: phi [N, p], x [N, d] with `requires_grad`.
    """

    phi: Tensor
    x: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, p, d)."""
        n, p = self.phi.shape
        return n, p, self.x.shape[1]

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return J V, by the stored Jacobian."""
        return self._matrix.matmat(vectors)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Jᵀ U, by the stored Jacobian."""
        return self._matrix.rmatmat(vectors)

    def dense(self) -> Tensor:
        """Return J [N, p, d] in float64, by p backward passes done once."""
        return self._matrix.entries

    def gram(self) -> Tensor:
        """Return J Jᵀ [N, p, p]."""
        return self._matrix.gram()

    @cached_property
    def _matrix(self) -> Matrix:
        n, p = self.phi.shape
        axes = torch.eye(p, device=self.x.device, dtype=self.phi.dtype)
        return Matrix(self.pulled(axes.expand(n, p, p)).mT)

    def pulled(self, vectors: Tensor) -> Tensor:
        """Return Jᵀ U [N, d, K] in float64, by a backward pass for each column of U."""
        rows = self.x.new_empty(
            len(self.x), vectors.shape[2], self.x.shape[1], dtype=torch.float64
        )
        for k, column in enumerate(vectors.to(self.phi.dtype).unbind(dim=2)):
            gradient = pulled_back(self.phi, self.x, column, keep=True)
            rows[:, k] = 0.0 if gradient is None else gradient
        return rows.mT


@dataclass(frozen=True)
class RowByRow(ReverseJacobian):
    """The same Jacobian, where so few rows meet it that storing it costs more."""

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Jᵀ U, by a backward pass for each column of U."""
        return self.pulled(vectors)


@dataclass(frozen=True)
class AutogradMap:
    """A torch function of the flattened condition.

    Args:
        function: (x [N, *event], held) -> φ [N, p] in float64.
        event: the shape of one condition.
        dtype: the type the network takes.
    """

    function: Callable[[Tensor, Values], Tensor]
    event: tuple[int, ...]
    dtype: torch.dtype

    def __call__(self, x: Tensor, held: Values) -> Tensor:
        """Return φ without recording a graph."""
        with torch.no_grad():
            return self._run(x.to(self.dtype), held)

    def linearize(self, x: Tensor, held: Values) -> tuple[Tensor, ReverseJacobian]:
        """Return φ and J.

        Raises:
            NotDifferentiable: the network's outputs carry no gradient.
        """
        leaf = x.detach().to(self.dtype).requires_grad_()
        phi = self._run(leaf, held)
        if not phi.requires_grad:
            raise NotDifferentiable(
                "No gradient connects the condition with the distribution's parameters",
                "Expected a path of differentiable operators from one to the other",
                "robaudit inspect names the first operator that stops it",
            )
        return phi.detach(), ReverseJacobian(phi, leaf)

    def _run(self, x: Tensor, held: Values) -> Tensor:
        return self.function(x.reshape(-1, *self.event), held)


@dataclass(frozen=True)
class IdentityMap:
    """φ itself is perturbed (`--space parameters`)."""

    def __call__(self, x: Tensor, held: Values) -> Tensor:
        """Return φ."""
        return x

    def linearize(self, x: Tensor, held: Values) -> tuple[Tensor, LinearOperator]:
        """Return φ and the identity."""
        return x, Diagonal(torch.ones_like(x))
