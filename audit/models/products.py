"""A Jacobian by its products with vectors, from one forward pass.

Jᵀ u is a backward pass. It is linear in u, and its derivative along v is J v,

    g(u) = Jᵀ u  (one pass, its graph kept),   ∂/∂u ⟨g(u), v⟩ = J v  (one for each v),

a pass backward through the backward pass: as much work as a pass forward. Forward mode
is not used: through a loaded TorchScript module it is silently wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audit.linalg.cotangents import pulled_back
from audit.linalg.stored import Matrix
from audit.models.maps import ReverseJacobian, RowByRow

_AGREES = {torch.float64: 1e-9}
_AGREES_NEARLY = 1e-3  # in the file's own, shorter type


@dataclass(frozen=True)
class ByProducts(RowByRow):
    """J of φ at x, whose entries nobody stores."""

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return J V [N, p, K] in float64, by a pass for each column of V."""
        u, pulled = self._pullback
        columns = self.phi.new_empty(
            len(self.phi), vectors.shape[2], self.phi.shape[1], dtype=torch.float64
        )
        for k, column in enumerate(vectors.to(pulled.dtype).unbind(dim=2)):
            found = None
            if pulled.requires_grad:
                found = pulled_back(pulled, u, column, keep=True)
            columns[:, k] = 0.0 if found is None else found
        return columns.mT

    @cached_property
    def _pullback(self) -> tuple[Tensor, Tensor]:
        """Return u = 0 [N, p] and Jᵀ u [N, d] as a function of it."""
        u = torch.zeros_like(self.phi, requires_grad=True)
        pulled = pulled_back(self.phi, self.x, u, keep=True, create=True)
        return u, torch.zeros_like(self.x) if pulled is None else pulled


def by_columns(jacobian: ReverseJacobian) -> Matrix:
    """Return J [N, p, d] by its columns, a pass forward for each feature."""
    n, _, d = jacobian.shape
    axes = torch.eye(d, dtype=torch.float64, device=jacobian.x.device)
    return Matrix(ByProducts(jacobian.phi, jacobian.x).matmat(axes.expand(n, d, d)))


def has_products(both: ByProducts, u: Tensor, v: Tensor) -> bool:
    """Tell whether both products are of one matrix: ⟨Jᵀ u, v⟩ = ⟨u, J v⟩.

    Args:
        both: with the graph of a forward pass.
        u: K random vectors [N, p, K].
        v: a random one [N, d, 1].

    Returns:
        False too where an operator has no second derivative.
    """
    try:
        pushed = both.matmat(v)
    except (RuntimeError, NotImplementedError):
        return False
    parts = u * pushed
    theirs = (both.rmatmat(u) * v).sum(dim=1)
    apart = (parts.sum(dim=1) - theirs).abs()
    size = parts.square().sum(dim=1).sqrt() + theirs.abs()
    least = _AGREES.get(both.x.dtype, _AGREES_NEARLY)
    known = torch.isfinite(apart) & torch.isfinite(size)
    return bool((apart <= least * size)[known].all())
