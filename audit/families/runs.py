"""The integers that carry laws: runs of those that follow each other, with gaps.

A count that is 0 or about a million is known by a hundred terms and some ten thousand,
and not by a million. What is summed over a law's integers takes those of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 4_000_000  # numbers at once
SHORT = 4096  # terms, up to which rows are summed together


@dataclass(frozen=True)
class Runs:
    """Integers that follow each other, in up to J runs of each row.

    Shapes: first, count [M, J], the runs apart and ascending; count may be 0.
    """

    first: Tensor
    count: Tensor

    @classmethod
    def of(cls, first: Tensor, last: Tensor) -> Runs:
        """Return the runs that cover windows [M, J], which may overlap."""
        first, order = first.sort(-1)
        last = last.gather(-1, order)
        covered = last.cummax(-1).values
        begin = first.clone()
        begin[:, 1:] = torch.maximum(first[:, 1:], covered[:, :-1] + 1)
        return cls(begin, (last - begin + 1).clamp_min(0))

    @property
    def length(self) -> Tensor:
        """Integers of each row [M]."""
        return self.count.sum(-1)

    def without(self, rows: Tensor) -> Runs:
        """Return them with some rows [M] as the integer 1 alone."""
        rows = rows.unsqueeze(-1)
        one = torch.zeros_like(self.count)
        one[:, 0] = 1
        return Runs(
            self.first.masked_fill(rows, 1.0), torch.where(rows, one, self.count)
        )

    def integers(self, rows: Tensor, most: int) -> Tensor:
        """Return those of some rows [m], as many for each [m, most].

        Where a row has fewer they go on behind its last.
        """
        first, ends = self.first[rows], self.count[rows].cumsum(-1)
        place = torch.arange(most, dtype=first.dtype, device=first.device)
        if first.shape[1] == 1:
            return first + place
        place = place.expand(len(first), -1)
        run = torch.searchsorted(ends, place.contiguous(), right=True)
        last = (self.count[rows] > 0).cumsum(-1).argmax(-1, keepdim=True)
        run = torch.minimum(run, last)
        begun = torch.nn.functional.pad(ends, (1, 0))
        return first.gather(-1, run) + place - begun.gather(-1, run)


def alike(lengths: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Yield rows [m] whose sums are taken together, by their terms [M], and the most.

    A row is padded to four times its own terms at most, where these are many.
    """
    kinds = (lengths.clamp_min(SHORT).log2() / 2).ceil()
    for kind in sorted(set(kinds.tolist())):
        rows = (kinds == kind).nonzero()[:, 0]
        longest = int(lengths[rows].max())
        for some in rows.split(max(1, CHUNK // longest)):
            yield some, longest
