"""Planes above and below each element of a value, that functionals end at.

Where v_i ≤ A_i·u + α_i and v_i ≥ B_i·u + β_i on the ball, a functional a of v is

    a·v ≤ a·(M u + μ) + |a|·(T u + τ),     M, T = (A ± B)/2,  μ, τ = (α ± β)/2,

two products for each row, and T is 0 for every element that the ball leaves straight.
For a tournament of k elements that are affine in u it is what `funnels` says, with the
k slopes multiplied out once for all functionals, M = Σ_i slope_i J_i. The products and
sums are those of the way over the elements in another order: a term a slope_i J_i u is
rounded at most twice for each element of the value and once for each of its window, for
which γ of the elements has room, two at least for each of the value (`bounds`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.relaxation.ball import flattened
from audit.importer.relaxation.passing import Pair
from audit.importer.relaxation.planes import dot
from audit.importer.relaxation.selections import taken

_EIGHT = 8  # columns at a time: a product of matrices of others is a third slower


@dataclass(frozen=True)
class Sheets:
    """Planes over B balls; the last columns are levels, and 0 up to a multiple of 8.

    Args:
        count: m.
        middle: M and μ [B, size, m + 1 or more].
        bent: the elements of each row that are not straight, filled up with others
            [B, most]. turn: T of those [B, most, m + 1 or more].
        gap: τ [B, size].
    """

    count: int
    middle: Tensor
    bent: Tensor
    turn: Tensor
    gap: Tensor

    def carried(self, a: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return slopes [K, R, m] and levels [K, R] of functionals [K, R, *shape].

        With rows [n], ascending, they are [1, n, *shape].
        """
        flat = flattened(a, 2)
        size = flat.abs()
        if rows is None:
            found = self._of_all(flat, size).transpose(0, 1)
        else:
            one = flat.new_empty(flat.shape[1], self.middle.shape[-1])
            found = self._by_rows(flat[0], size[0], rows, one, one).unsqueeze(0)
        level = found[..., self.count] + dot(size, taken(self.gap, rows))
        return found[..., : self.count], level

    def both(self, a: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the planes of functionals [1, n, *shape] and of −a: [2, n, m], [2, n].

        With rows [n], ascending. They have their products in common.
        """
        flat = flattened(a, 2)
        size = flat.abs()
        odd = flat.new_empty(flat.shape[1], self.middle.shape[-1])
        even = self._by_rows(flat[0], size[0], rows, odd, torch.zeros_like(odd))
        even[:, self.count] += dot(size, taken(self.gap, rows))[0]
        found = torch.stack([even + odd, even - odd])
        return found[..., : self.count], found[..., self.count]

    def _of_all(self, a: Tensor, size: Tensor) -> Tensor:
        rows = len(self.middle)
        a, size = (part.expand(-1, rows, -1).transpose(0, 1) for part in (a, size))
        places = self.bent.unsqueeze(1).expand(-1, a.shape[1], -1)
        return torch.baddbmm(a @ self.middle, size.gather(2, places), self.turn)

    def _by_rows(
        self, a: Tensor, size: Tensor, rows: Tensor, straight: Tensor, turned: Tensor
    ) -> Tensor:
        """Write a M, add |a| T to the same or another tensor, and return that."""
        which, counts = torch.unique_consecutive(rows, return_counts=True)
        turning = size.gather(1, self.bent[rows])
        sizes, parts = counts.tolist(), (a, turning, straight, turned)
        of_rows = (torch.split_with_sizes(part, sizes) for part in parts)
        for row, a_of, turning_of, to, onto in zip(
            which.tolist(), *of_rows, strict=True
        ):
            torch.mm(a_of, self.middle[row], out=to)
            onto.addmm_(turning_of, self.turn[row])
        return turned


def sheets_of(pair: Pair, jacobian: Tensor) -> Sheets:
    """Return the planes of a tournament whose elements are affine in u.

    Args:
        pair: its lines: slope, turn [B, k, *out], level, gap [B, *out].
        jacobian: Jᵀ of the elements, that all rows share [k elements of out, m].
    """
    slope, turn, level, gap = (
        flattened(part, start) for part, start in zip(pair, (2, 2, 1, 1), strict=True)
    )
    _, count, size = slope.shape
    own = jacobian.reshape(count, size, -1)
    m = own.shape[-1]
    base = own.new_zeros(size, count + 1, (m // _EIGHT + 1) * _EIGHT)
    base[:, :count, :m] = own.transpose(0, 1)
    base[:, count, m] = 1
    lines = torch.cat([slope, level.unsqueeze(1)], dim=1)
    middle = (lines.permute(2, 0, 1).contiguous() @ base).transpose(0, 1)
    bent = (turn != 0).any(1)
    most = int(bent.sum(1).max())
    places = torch.argsort(bent.byte(), dim=1, descending=True)[:, :most]
    ever = bent.any(0).nonzero()[:, 0]
    turned = turn[:, :, ever].permute(2, 0, 1).contiguous() @ base[ever, :count]
    back = torch.zeros(size, dtype=torch.int64, device=ever.device)
    back[ever] = torch.arange(len(ever), device=ever.device)
    row = torch.arange(len(turn), device=ever.device)[:, None]
    straight = ~bent.gather(1, places)
    turned = turned[back[places], row].masked_fill(straight.unsqueeze(-1), 0.0)
    return Sheets(m, middle, places, turned, gap)
