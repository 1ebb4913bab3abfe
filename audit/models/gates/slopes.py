"""A Jacobian that a gate looks at: stored, or asked for a few directions only.

Stored, J [n, p, d] takes p backward passes a row: right for a head, and the most
expensive thing of a scan for a file with thousands of outputs (a detector with d = p =
7,500). There J v comes from a double backward pass: Jᵀ u is linear in u, and its
derivative along v is J v, for any u,

    g(u) = Jᵀ u  (one pass, its graph kept),   ∂/∂u ⟨g(u), v⟩ = J v  (one for each v).

A scan takes plain backward passes, so these are what has to be vouched for: for random
u, ⟨Jᵀ u, v⟩ by a plain pass is held against ⟨u, J v⟩. Where the two differ, or an
operator has no second derivative, the Jacobian is stored as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from audit.linalg.cotangents import pulled_back
from audit.models.gates.subject import Subject

WIDE = 256  # parameters: with fewer, p passes are no more than the products
_PROBES = 4
_SEED = 7_130_211
_SAME = {torch.float64: 1e-9}
_NEARLY_SAME = 1e-3  # in the file's own, shorter type


class Slopes(Protocol):
    """J of φ at n rows."""

    @property
    def parameters(self) -> int:
        """The number of parameters p."""

    def along(self, vectors: Tensor) -> Tensor:
        """Return J v [n, K, p] for v [n, K, d]."""

    def moves(self) -> Tensor:
        """Return which rows [n] have a gradient that is not zero."""

    def finite(self) -> Tensor:
        """Return which rows [n] have a gradient that is finite."""


@dataclass(frozen=True)
class Stored:
    """J [n, p, d], all of it."""

    entries: Tensor

    @property
    def parameters(self) -> int:
        """p, the rows of J."""
        return self.entries.shape[1]

    def along(self, vectors: Tensor) -> Tensor:
        """Return J v [n, K, p]."""
        return (self.entries @ vectors.mT).mT

    def moves(self) -> Tensor:
        """Return which rows have an entry that is not zero."""
        return self.entries.flatten(1).any(dim=1)

    def finite(self) -> Tensor:
        """Return which rows are finite."""
        return torch.isfinite(self.entries).flatten(1).all(dim=1)


@dataclass(frozen=True)
class Products:
    """J by its products: φ and g(u) = Jᵀ u, with the graphs that autograd kept."""

    phi: Tensor
    x: Tensor
    u: Tensor
    pulled: Tensor

    @property
    def parameters(self) -> int:
        """p, the rows of J."""
        return self.phi.shape[1]

    def along(self, vectors: Tensor) -> Tensor:
        """Return J v [n, K, p] in float64."""
        columns = []
        for v in vectors.to(self.pulled.dtype).unbind(dim=1):
            found = _reached(pulled_back(self.pulled, self.u, v, keep=True))
            columns.append(found.detach().double())
        return torch.stack(columns, dim=1)

    def back(self, u: Tensor) -> Tensor:
        """Return Jᵀ u [n, d] for u [n, p], by a plain backward pass."""
        found = _reached(pulled_back(self.phi, self.x, u, keep=True))
        return found.detach().double()

    def moves(self) -> Tensor:
        """Return which rows move, by a random mixture of all parameters."""
        return self.back(_mixtures(self.phi, 1)[0]).any(dim=1)

    def finite(self) -> Tensor:
        """Return which rows have a finite gradient: no NaN survives a mixture."""
        return torch.isfinite(self.back(_mixtures(self.phi, 1)[0])).all(dim=1)


def _reached(gradient: Tensor | None) -> Tensor:
    """Return a gradient that there has to be.

    Raises:
        RuntimeError: nothing connects the two, as torch says it.
    """
    if gradient is None:
        raise RuntimeError("One of the differentiated tensors was not used")
    return gradient


def products_of(
    subject: Subject, x: Tensor, held: dict[str, Tensor]
) -> Products | None:
    """Return the Jacobian by its products, None where it has to be stored.

    Args:
        subject: the file.
        x: rows [n, d] of the condition, in the type it takes.
        held: its other inputs.
    """
    leaf = x.detach().clone().requires_grad_()
    try:
        function = subject.map_of(subject.call, x.dtype).function
        phi = function(leaf.reshape(-1, *subject.event), held)
        u = torch.zeros_like(phi, requires_grad=True)
        pulled = _reached(pulled_back(phi, leaf, u, keep=True, create=True))
        found = Products(phi, leaf, u, pulled)
        return found if _consistent(found) else None
    except (RuntimeError, NotImplementedError):
        return None  # an operator without a second derivative


def _consistent(found: Products) -> bool:
    """Whether plain passes give what the double ones do."""
    generator = torch.Generator().manual_seed(_SEED)
    v = torch.randn(*found.x.shape, generator=generator, dtype=torch.float64)
    v = v.to(found.x.device).unsqueeze(1)
    moved = found.along(v)[:, 0]
    least = _SAME.get(found.x.dtype, _NEARLY_SAME)
    for u in _mixtures(found.phi, _PROBES):
        theirs = (found.back(u) * v[:, 0]).sum(dim=1)
        parts = u.double() * moved
        size = parts.square().sum(dim=1).sqrt() + theirs.abs()
        apart = (parts.sum(dim=1) - theirs).abs()
        known = torch.isfinite(apart) & torch.isfinite(size)
        if bool((apart > least * size)[known].any()):
            return False
    return True


def _mixtures(phi: Tensor, count: int) -> Tensor:
    """Return random u [count, n, p]."""
    generator = torch.Generator().manual_seed(_SEED + 1)
    u = torch.randn(count, *phi.shape, generator=generator, dtype=torch.float64)
    return u.to(phi)
