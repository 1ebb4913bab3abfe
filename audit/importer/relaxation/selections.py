"""What functionals are of: all rows of a batch, some of them, or single windows.

A tournament of maxima treats the windows of a row alike, and each by itself: a number
that it makes depends on the k elements of one window. A functional of such a number is
k coefficients and the window's place, instead of as many as there are elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.relaxation.ball import flattened


@dataclass(frozen=True)
class Windows:
    """One window of one row for each of n functionals.

    Args:
        at: the place of the elements [B, k, *out] on the tape.
        rows: of the batch [n].
        spots: of the windows, among the flattened elements of *out [n].
    """

    at: int
    rows: Tensor
    spots: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Return values [R, c, *out] in the windows [n, c], R = 1 or B."""
        flat = flattened(values, 2)
        if len(flat) == 1:
            return flat[0].mT[self.spots]
        return flat[self.rows, :, self.spots]

    def summed(self, a: Tensor, matrix: Tensor) -> Tensor:
        """Return a·M [1, n, m] for a [1, n, k] and M [elements of a row, m]."""
        places = self._places(a.shape[-1], len(matrix))
        found = functional.embedding_bag(
            places, matrix, per_sample_weights=a[0], mode="sum"
        )
        return found.unsqueeze(0)

    def spread(self, a: Tensor, shape: torch.Size) -> Tensor:
        """Return a [1, n, k] as functionals [1, n, *shape] of whole rows."""
        flat = a.new_zeros(len(self.rows), shape.numel())
        places = self._places(a.shape[-1], shape.numel())
        return flat.scatter_(1, places, a[0]).reshape(1, -1, *shape)

    def _places(self, count: int, size: int) -> Tensor:
        """Return which elements of a row are in the windows [n, k]."""
        first = torch.arange(0, size, size // count, device=self.spots.device)
        return first + self.spots[:, None]


Some: TypeAlias = "Tensor | Windows | None"  # None: all rows


def taken(values: Tensor, some: Some) -> Tensor:
    """Return values [R, *shape] for what functionals are of; what all share as it is.

    For rows [n] they are [n, *shape], for windows [n, c] of [R, c, *out].
    """
    if isinstance(some, Windows):
        return some.of(values)
    return values if some is None or values.shape[0] == 1 else values[some]


def rows_of(some: Some) -> Tensor | None:
    """Return which rows functionals are of [n]; None for all."""
    return some.rows if isinstance(some, Windows) else some
