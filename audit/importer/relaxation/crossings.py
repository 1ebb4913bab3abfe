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
from audit.importer.relaxation.joint import Joint
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
from audit.importer.relaxation.tape import Bend, Larger, Tape
from audit.importer.relaxation.tournaments import funnels_of, windowed


@dataclass
class Crossings:
    """The lines and planes of a tape over balls.

    Args:
        tape: the function. spans: what is known of its values so far.
        alive: the entries that anything is made of.
        pairs: of curves. middle: level and gap of sums of products.
        narrow: of tournaments. sheets: planes of tournaments.
    """

    tape: Tape
    spans: Spans
    alive: Set[int]
    pairs: dict[int, Pair] = field(default_factory=dict)
    middle: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
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

    def joined(
        self, index: int, entry: Joint, a: Tensor, some: Some
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Replace sums of products by their planes: functionals of both factors."""
        one, two = (self.tape.values[i] for i in entry.inputs)
        if index not in self.middle:
            least, most = self.spans.left(index)
            gap = (most - least) / 2 + self.spans.rounding(index)
            self.middle[index] = (most + least) / 2 - entry.run(one, two), gap
        level, gap = (taken(part, some) for part in self.middle[index])
        parts = entry.back(a, (taken(one, some), taken(two, some)))
        return parts, dot(a, level) + dot(a.abs(), gap)

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
