"""Roots with entries that are no numbers: 0 · ∞ = 0, all else times ∞ is infinite.

A metric tensor may be infinite in some of the law's parameters: a probability of zero,
a second moment that does not exist. Its pull-back δᵀ Jᵀ Bᵀ B J δ is infinite only if δ
moves such a parameter. Where no δ does, because the parameter's row of J is zero, the
parameter has no part in the form: p = 0 with dp = 0 adds nothing, since dp²/p -> 0
along with p. The same holds for entries that are not known (NaN), where no sum and no
quadrature resolves the law. So a root is split into its numbers and, for each of the N
matrices, what lies beyond them: 0, ∞ or NaN, which is added to every value of the form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.averaged import Averaged, Sampled
from audit.linalg.matrix_free import free_part
from audit.linalg.stored import LinearOperator, Matrix, Stored, Wrapped


@dataclass(frozen=True)
class Bounded(Wrapped):
    """An operator without the entries that are no numbers.

    Args:
        operator: the finite entries, zero in place of the others.
        beyond: [N], 0, or ∞ or NaN where the matrix had such entries.
    """

    beyond: Tensor

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
        return Bounded(stored.map_entries(change), change(self.beyond))


def bounded(
    root: LinearOperator, inner: LinearOperator, phi: Tensor
) -> tuple[LinearOperator, Tensor | None]:
    """Return a root without entries that are no numbers, and what root · inner lacks.

    Args:
        root: B [N, r, p].
        inner: J [N, p, d], finite.
        phi: of the device and type of the entries.

    Returns:
        The root, as it was if it is finite; and what lies beyond root · inner [N], None
        for nothing.
    """
    if isinstance(root, Sampled) and root.is_tall and _finite(root.square):
        return root, None
    every = phi.new_ones(root.shape[0], root.shape[2])
    sums = root.matmat(every.unsqueeze(-1))
    if bool(torch.isfinite(sums).all()):
        return root, None
    stored = root if isinstance(root, Stored) else Matrix(root.dense())
    free = free_part(inner)
    rows = inner.dense().abs().amax(dim=2) > 0 if free is None else free.moves()
    moved = rows.to(phi)
    beyond = _beyond(stored, moved)
    kept = stored.map_entries(lambda e: torch.where(torch.isfinite(e), e, 0.0))
    whole = _beyond(stored, every)
    if isinstance(kept, Averaged):
        return kept.without(whole), beyond
    return Bounded(kept, whole), beyond


def _finite(squares: Tensor) -> bool:
    """Whether BᵀB [N, p, p] is finite; then so is B: its diagonal is a sum of squares.

    A square may overflow where B does not: then B is looked at itself.
    """
    return bool(torch.isfinite(squares.diagonal(dim1=1, dim2=2)).all())


def _beyond(root: Stored, columns: Tensor) -> Tensor:
    """Return ∞ or NaN [N] where there is such an entry in marked columns [N, p]."""

    def meets(is_one: Callable[[Tensor], Tensor]) -> Tensor:
        marked = root.map_entries(lambda entries: is_one(entries).to(entries))
        return marked.matmat(columns.unsqueeze(-1)).flatten(1).amax(dim=1) > 0

    found = torch.zeros_like(columns[:, 0])
    found = found.masked_fill(meets(torch.isnan), torch.nan)
    return found.masked_fill(meets(torch.isinf), torch.inf)
