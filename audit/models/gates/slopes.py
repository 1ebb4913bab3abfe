"""A Jacobian that a gate looks at: stored, or asked for a few directions only.

Stored, J [n, p, d] takes p backward passes a row: right for a head, and the most
expensive thing of a scan for a file with thousands of outputs (a detector with d = p =
7,500). There J v comes from a double backward pass: Jᵀ u is linear in u, and its
derivative along v is J v, for any u (`models.products`).

A scan takes plain backward passes, so these are what has to be vouched for: for random
u, ⟨Jᵀ u, v⟩ by a plain pass is held against ⟨u, J v⟩. Where the two differ, or an
operator has no second derivative, the Jacobian is stored as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from audit.models.gates.subject import Subject
from audit.models.products import ByProducts, has_products

WIDE = 256  # parameters: with fewer, p passes are no more than the products
_PROBES = 4
_SEED = 7_130_211


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
    """J by its products, with the graphs that autograd kept."""

    jacobian: ByProducts

    @property
    def parameters(self) -> int:
        """p, the rows of J."""
        return self.jacobian.shape[1]

    def along(self, vectors: Tensor) -> Tensor:
        """Return J v [n, K, p] in float64."""
        return self.jacobian.matmat(vectors.mT).mT

    def moves(self) -> Tensor:
        """Return which rows move, by a random mixture of all parameters."""
        return self._mixed().any(dim=1)

    def finite(self) -> Tensor:
        """Return which rows have a finite gradient: no NaN survives a mixture."""
        return torch.isfinite(self._mixed()).all(dim=1)

    def _mixed(self) -> Tensor:
        """Return Jᵀ u [n, d] of a random u, by a plain backward pass."""
        return self.jacobian.rmatmat(_mixtures(self.jacobian.phi, 1)).squeeze(2)


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
        found = ByProducts(phi, leaf)
        return Products(found) if phi.requires_grad and _consistent(found) else None
    except (RuntimeError, NotImplementedError):
        return None  # an operator without a second derivative


def _consistent(found: ByProducts) -> bool:
    """Whether plain passes give what the double ones do."""
    generator = torch.Generator().manual_seed(_SEED)
    v = torch.randn(*found.x.shape, generator=generator, dtype=torch.float64)
    v = v.to(found.x.device).unsqueeze(2)
    return has_products(found, _mixtures(found.phi, _PROBES), v)


def _mixtures(phi: Tensor, count: int) -> Tensor:
    """Return random u [n, p, count]."""
    generator = torch.Generator().manual_seed(_SEED + 1)
    u = torch.randn(count, *phi.shape, generator=generator, dtype=torch.float64)
    return u.to(phi).permute(1, 2, 0)
