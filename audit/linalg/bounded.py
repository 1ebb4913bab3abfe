"""Roots with infinite entries: 0 · ∞ = 0, and anything else times ∞ is infinite.

A metric tensor may be infinite in some of the law's parameters: a probability of zero,
a second moment that does not exist. Its pull-back δᵀ Jᵀ Bᵀ B J δ is infinite only if δ
moves such a parameter. Where no δ does, because the parameter's row of J is zero, the
parameter has no part in the form: p = 0 with dp = 0 adds nothing, since dp²/p -> 0
along with p. So a root is split into its finite entries and the places of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.operators import LinearOperator, Matrix, Stored


@dataclass(frozen=True)
class Bounded:
    """An operator without its infinite entries.

    Args:
        operator: the finite entries, zero in place of the others.
        unbounded: [N], which of the matrices had others.
    """

    operator: LinearOperator
    unbounded: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, rows, columns)."""
        return self.operator.shape

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        return self.operator.matmat(vectors)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U."""
        return self.operator.rmatmat(vectors)

    def dense(self) -> Tensor:
        """Return A."""
        return self.operator.dense()

    def gram(self) -> Tensor:
        """Return A Aᵀ."""
        return self.operator.gram()

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> Bounded:
        """Return the operator with its finite entries changed."""
        stored = self.operator
        assert isinstance(stored, Stored)
        return Bounded(stored.map_entries(change), change(self.unbounded))


def bounded(
    root: LinearOperator, inner: LinearOperator, phi: Tensor
) -> tuple[LinearOperator, Tensor | None]:
    """Return a root without infinite entries, and where root · inner is infinite.

    Args:
        root: B [N, r, p]; NaN counts as infinite.
        inner: J [N, p, d], finite.
        phi: [N, p], where they are.

    Returns:
        The root, as it was if it is finite; and [N], None for nowhere.
    """
    sums = root.matmat(torch.ones_like(phi).unsqueeze(-1))
    finite = torch.isfinite(sums).flatten(1).all(dim=1)
    if bool(finite.all()):
        return root, None
    stored = root if isinstance(root, Stored) else Matrix(root.dense())
    open_ = stored.map_entries(lambda entries: (~torch.isfinite(entries)).to(entries))
    kept = stored.map_entries(
        lambda entries: torch.where(torch.isfinite(entries), entries, 0.0)
    )
    moved = (inner.dense().abs().amax(dim=2) > 0).to(phi)
    infinite = open_.matmat(moved.unsqueeze(-1)).flatten(1).amax(dim=1) > 0
    return Bounded(kept, ~finite), infinite

    return root.rmatmat(torch.zeros(root.shape[0], root.shape[1], 0)).device
