"""Planes above and below each element of a value, that functionals end at.

Where v_i ≤ A_i·u + α_i and v_i ≥ B_i·u + β_i on the ball, a functional a of v is

    a·v ≤ a⁺·(A u + α) + a⁻·(B u + β),     a⁺ = max(a, 0), a⁻ = min(a, 0),

one product for each row. For a tournament of k elements that are affine in u it is
what `funnels` says, with the k slopes multiplied out once for all functionals,
A = Σ A_i J_i. The products and sums are those of the way over the elements in another
order: a term a A_i J_i u is rounded at most once for each element of the value and of
its window, for which γ of the elements has room (`bounds`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.relaxation.passing import Pair


@dataclass(frozen=True)
class Sheets:
    """Planes over B balls: slopes and, in the last column, levels [size, B, m + 1]."""

    above: Tensor
    below: Tensor

    def carried(self, a: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return slopes [K, R, m] and levels [K, R] of functionals [K, R, *shape].

        With rows [n], ascending, they are [1, n, *shape].
        """
        flat = a.flatten(2)
        up, down = flat.clamp_min(0), flat.clamp_max(0)
        if rows is None:
            both = zip((up, down), (self.above, self.below), strict=True)
            one, two = (
                v.expand(-1, planes.shape[1], -1).transpose(0, 1) @ planes.movedim(1, 0)
                for v, planes in both
            )
            found = (one + two).transpose(0, 1)
        else:
            found = self._by_rows(up[0], down[0], rows).unsqueeze(0)
        return found[..., :-1], found[..., -1]

    def _by_rows(self, up: Tensor, down: Tensor, rows: Tensor) -> Tensor:
        found = up.new_empty(len(up), self.above.shape[-1])
        which, counts = torch.unique_consecutive(rows, return_counts=True)
        first = 0
        for row, count in zip(which.tolist(), counts.tolist(), strict=True):
            own = slice(first, first + count)
            torch.mm(up[own], self.above[:, row], out=found[own])
            found[own].addmm_(down[own], self.below[:, row])
            first += count
        return found


def sheets_of(pair: Pair, jacobian: Tensor) -> Sheets:
    """Return the planes of a tournament whose elements are affine in u.

    Args:
        pair: its lines: slope, turn [B, k, *out], level, gap [B, *out].
        jacobian: Jᵀ of the elements, that all rows share [k elements of out, m].
    """
    slope, turn, level, gap = (
        part.flatten(start) for part, start in zip(pair, (2, 2, 1, 1), strict=True)
    )
    rows, count, size = slope.shape
    own = jacobian.reshape(count, size, -1)
    base = own.new_zeros(size, count + 1, own.shape[-1] + 1)
    base[:, :count, :-1] = own.transpose(0, 1)
    base[:, count, -1] = 1
    lines = own.new_empty(size, 2, rows, count + 1)
    for side, sign in enumerate((1, -1)):
        lines[:, side, :, :count] = (slope + sign * turn).permute(2, 0, 1)
        lines[:, side, :, count] = (level + sign * gap).T
    planes = (lines.flatten(1, 2) @ base).reshape(size, 2, rows, -1)
    return Sheets(planes[:, 0], planes[:, 1])
