"""What functionals cross on their way back: curves, and tournaments of maxima.

The lines around a curve, those of all steps of a tournament as one (`funnels`) and the
planes of one whose elements go straight to u (`sheets`) are made when a functional
first gets there, from what is known by then, and kept.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.importer.relaxation.funnels import passed
from audit.importer.relaxation.passing import (
    Pair,
    Passed,
    paired,
    read_by_curves_alone,
)
from audit.importer.relaxation.planes import dot
from audit.importer.relaxation.selections import Some, taken
from audit.importer.relaxation.sheets import Sheets, sheets_of
from audit.importer.relaxation.spans import Spans
from audit.importer.relaxation.surfaces import Surface
from audit.importer.relaxation.tape import Bend, Larger, Tape
from audit.importer.relaxation.tournaments import funnels_of, windowed


@dataclass
class Crossings:
    """The lines and planes of a tape over balls.

    Args:
        tape: the function. spans: what is known of its values so far.
        alive: the entries that anything is made of.
        pairs: of curves. middle: planes of surfaces.
        narrow: of tournaments. sheets: planes of tournaments.
    """

    tape: Tape
    spans: Spans
    alive: Set[int]
    pairs: dict[int, Pair] = field(default_factory=dict)
    middle: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    narrow: dict[int, Pair] = field(default_factory=dict)
    sheets: dict[int, Sheets] = field(default_factory=dict)

    def __post_init__(self) -> None:
        slopes = self.spans.slopes
        straight = set[int]() if slopes is None else slopes.straight
        self.paid = read_by_curves_alone(self.tape) - straight
        self.funnels = funnels_of(self.tape, self.alive)
        self.windowed = windowed(self.tape, self.funnels.values())
        self.maxima = {
            entry.inputs[1]: index
            for index, entry in enumerate(self.tape.entries)
            if isinstance(entry, Larger)
        }

    def over(self, index: int, _: Bend, a: Tensor, some: Some) -> Passed:
        """Replace a curve by the line above or below it, by the sign of a."""
        if index not in self.pairs:
            reader = self.maxima.get(index)
            self.pairs[index] = paired(self.tape, index, self.paid, self.spans, reader)
        return _over(a, self.pairs[index], some)

    def tangential(
        self, index: int, entry: Surface, a: Tensor, some: Some
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Replace a surface by its planes: functionals of what it reads.

        Where the rest is wider than its range, the planes are level.
        """
        values = tuple(self.tape.values[i] for i in entry.inputs)
        if index not in self.middle:
            self.middle[index] = self._planes(index, entry, values)
        tilted, level, gap = (taken(part, some) for part in self.middle[index])
        parts = entry.back(a * tilted, tuple(taken(v, some) for v in values))
        return parts, dot(a, level) + dot(a.abs(), gap)

    def _planes(
        self, index: int, entry: Surface, values: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return where planes are tilted (1) or level (0), their level and gap."""
        least, most = self.spans.left(index)
        low, high = self.spans.intervals[index]
        one = tuple(value.unsqueeze(0) for value in values)
        start = self.tape.values[index] - entry.along(values, one)[0]
        tilted = ~(most - least >= high - low)
        level = torch.where(tilted, (most + least) / 2 + start, (high + low) / 2)
        gap = torch.where(tilted, most - least, high - low) / 2
        gap = gap + self.spans.rounding(index)
        return tilted.to(level), level, gap

    def narrowed(self, index: int, a: Tensor, rows: Tensor | None) -> Passed:
        """Replace a tournament by functionals of its elements."""
        lines = self._lines(index)
        a = a.reshape(*a.shape[:2], *lines.level.shape[1:])
        return _over(a, lines, rows)

    def planes(self, index: int) -> Sheets | None:
        """Return the planes of a tournament of values from which all goes to u."""
        if index not in self.sheets:
            straight = self.spans.direct(self.funnels[index].at)
            if straight is None:
                return None
            self.sheets[index] = sheets_of(self._lines(index), straight[0])
        return self.sheets[index]

    def _lines(self, index: int) -> Pair:
        """Return the lines of a tournament."""
        if index not in self.narrow:
            funnel = self.funnels[index]
            straight = self.spans.direct(funnel.at)
            form = None if straight is None else straight[1:]
            self.narrow[index] = passed(funnel, self.spans, form)
        return self.narrow[index]


def _over(a: Tensor, pair: Pair, some: Some) -> Passed:
    """Return what functionals become beyond two lines, and their level.

    Those of a tournament have an axis of elements more.
    """
    slope, turn, level, gap = (taken(part, some) for part in pair)
    size = a.abs()
    added = dot(a, level) + dot(size, gap)
    if slope.dim() > level.dim():
        a, size = a.unsqueeze(2), size.unsqueeze(2)
    return torch.addcmul(a * slope, size, turn), added
