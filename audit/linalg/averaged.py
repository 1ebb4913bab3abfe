"""Roots that are averages: over weighted nodes, or over random draws.

Their rows are what is averaged, and AᵀA is the average. They stay averages, with their
centre and their units, when columns are picked or a map is pulled back through them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from audit.linalg.stored import LinearOperator, Matrix
from audit.linalg.wide import by_parts, columns_gram, copies

_LARGEST_SQUARE = 256
"""Columns: three squares of more would take more memory than the rows."""


@dataclass(frozen=True)
class Averaged(Matrix):
    """A root that is an average: AᵀA = Σ_s w_s s_s s_sᵀ over nodes s with weights w_s.

    Args:
        entries: rows √w_s s_s [N, S, columns].
        center: what was subtracted from every s_s [N, columns]; None if nothing was.
        checks: what was found while averaging, by name, each [N].
        beyond: [N], see `Bounded`; None where every entry is a number.
    """

    center: Tensor | None = None
    checks: Mapping[str, Tensor] = field(default_factory=dict)
    beyond: Tensor | None = None

    def without(self, beyond: Tensor) -> Self:
        """Return the average with what its entries, now numbers, leave out."""
        center = self.center
        if center is not None:
            center = torch.where(torch.isfinite(center), center, 0.0)
        return replace(self, center=center, beyond=beyond)

    def select(self, columns: Tensor, unit: Tensor) -> Self:
        """Return A S for the columns that S keeps, each times its unit."""
        whole = len(columns) == self.entries.shape[2]
        if whole and bool((unit == 1).all()):
            return self
        center = None if self.center is None else self.center[:, columns] * unit
        entries = self.entries[:, :, columns] * unit.unsqueeze(-2)
        return replace(self, entries=entries, center=center)

    def pulled(self, inner: LinearOperator) -> Self:
        """Return A times another operator, row by row, with the rows stored."""
        center = self.center
        if center is not None:
            center = inner.rmatmat(center.unsqueeze(-1)).squeeze(-1)
        rows = inner.rmatmat(self.dense().mT).mT
        return replace(self, entries=rows, center=center)


@dataclass(frozen=True)
class Sampled(Averaged):
    """An average over random draws: what is computed from it has a standard error.

    Every draw has the weight one over their number. Draws come in units that are
    independent of each other, and so can be split in halves: single draws, antithetic
    pairs, the points of one randomised net, the batches of a chain.

    Args:
        draw: rows of one draw, e.g. the coordinates of θ.
        unit: draws of one unit; they follow each other.
    """

    draw: int = 1
    unit: int = 1

    @property
    def draws(self) -> int:
        """The number of draws, S."""
        return self.entries.shape[1] // self.draw

    @property
    def group(self) -> int:
        """The number of rows of a unit."""
        return self.draw * self.unit

    @property
    def units(self) -> Tensor:
        """The rows by their units [N, U, group, p]."""
        n, rows, p = self.entries.shape
        return self.entries.reshape(n, rows // self.group, self.group, p)

    def half(self, first: int) -> Tensor:
        """Return every other unit [N, U / 2, group, p], from one of the two on."""
        return self.units[:, first::2]

    @property
    def is_tall(self) -> bool:
        """Whether each half has more rows than columns, so that squares are smaller."""
        rows, columns = self.units.shape[1] // 2 * self.group, self.entries.shape[2]
        return columns < rows and columns <= _LARGEST_SQUARE

    @property
    def squares(self) -> Tensor:
        """Σ b bᵀ over the rows b of either half of the units [N, 2, p, p]."""
        return self.remembered("squares", lambda: self._halved[0])

    @property
    def draw_squares(self) -> Tensor:
        """Σ |b|² over the rows b of each draw [N, S]."""
        if self.is_tall:
            return self.remembered("draws", lambda: self._halved[1])
        each = self.remembered("draws", lambda: by_parts(self._lengths, self.units))
        return each.flatten(1)

    @property
    def square(self) -> Tensor:
        """BᵀB [N, p, p]."""
        return self.remembered("square", lambda: self.squares.sum(dim=1))

    @cached_property
    def _halved(self) -> tuple[Tensor, Tensor]:
        """The squares of the halves and of the draws, in one pass."""
        n, _, p = self.entries.shape
        squares = self.entries.new_empty(n, 2, p, p, dtype=torch.float64)
        each = squares.new_empty(n, self.draws // self.unit, self.unit)
        for first in (0, 1):
            for part, units in copies(self.half(first)):
                squares[part, first] = columns_gram(units.flatten(1, 2))
                each[part, first::2] = self._lengths(units)
        return squares, each.flatten(1)

    def _lengths(self, units: Tensor) -> Tensor:
        """Return the squares of the draws [n, U, unit] of units [n, U, group, p]."""
        n, count, _, p = units.shape
        draws = units.reshape(n, count, self.unit, self.draw * p)
        length: Tensor = torch.linalg.vector_norm(draws, dim=-1)
        return length.square_()
