"""Curves of straight pieces between two lines: the best of a few slopes, exact levels.

The largest of f(v) − s v over [l, u] is at l, u or a knot between them, so any slope
has its level exactly. Slopes are those of the pieces and of chords; the one whose line
is nearest to f at the middle is taken, the first of equals: rounding chooses none. For
a rectifier that is the chord above, and below the line v or 0, whichever side of the
knot is wider.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from audit.importer.relaxation.curves import Curve, Lines

_SLACK = 2.0**-49
_NEARER = 1e-12  # of the interval's width
_MATTERS = 0.25  # of the interval: an end changes the lines where the other is farther


@dataclass(frozen=True)
class Kinked(Curve):
    """A continuous curve of straight pieces, with its knots in `breaks`."""

    cornered: ClassVar[bool] = True

    def secant(self, low: Tensor, high: Tensor, at: Tensor) -> Tensor:
        """Return the chord's slope where a knot is inside, else that of the piece."""
        places = self._inside(low, high).reshape(-1).nonzero()[:, 0]
        chord = self._chord(low.take(places), high.take(places))
        return self.slope(at).put_(places, chord)

    def beyond(
        self, k: Tensor, low: Tensor, high: Tensor, lines: Callable[[], Lines]
    ) -> tuple[Tensor, Tensor]:
        """Return the range of f(v) − k v on [low, high]: it is at ends and knots."""
        points = [low, high]
        points += [low.clamp_min(knot).minimum(high) for knot in self.breaks]
        values = [self.value(v) for v in points]
        found = [y - k * v for y, v in zip(values, points, strict=True)]
        least, most = (
            functools.reduce(pick, found) for pick in (torch.minimum, torch.maximum)
        )
        size = functools.reduce(torch.maximum, (y.abs() for y in values))
        slack = _SLACK * (size + k.abs() * torch.maximum(low.abs(), high.abs()))
        return least - slack, most + slack

    def undecided(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Tell where a knot is inside, and which end matters [B, *shape].

        Between the lines of one knot in [−l, h] there is l h / (l + h) at most, which
        changes with l by (h / (l + h))², with h by (l / (l + h))².
        """
        found = self._inside(low, high)
        if len(self.breaks) != 1:
            return found, found
        (knot,) = self.breaks
        share = (high - knot) / (high - low)
        return found & (share > _MATTERS), found & (share < 1 - _MATTERS)

    def _inside(self, low: Tensor, high: Tensor) -> Tensor:
        found = torch.zeros_like(low, dtype=torch.bool)
        for knot in self.breaks:
            found |= (low < knot) & (high > knot)
        return found

    def _lines(self, low: Tensor, high: Tensor) -> Lines:
        """Return the piece itself where no knot is inside, which are the most."""
        slope = self.slope(low + (high - low) / 2)
        ends = [self.value(v) - slope * v for v in (low, high)]
        found = Lines(slope, torch.maximum(*ends), slope.clone(), torch.minimum(*ends))
        places = self._inside(low, high).reshape(-1).nonzero()[:, 0]
        parts = self._over_knots(low.take(places), high.take(places))
        for whole, part in zip(found, parts, strict=True):
            whole.put_(places, part)
        return found

    def _over_knots(self, low: Tensor, high: Tensor) -> Lines:
        """Return the best lines on intervals [M] with knots inside."""
        points = [low, high]
        points += [low.clamp_min(knot).minimum(high) for knot in self.breaks]
        slopes = [self._chord(low, high)]
        slopes += [self.slope(low), self.slope(high), *self._inner(low, high)]
        above, over = self._best(points, slopes, 1.0, low, high)
        below, under = self._best(points, slopes, -1.0, low, high)
        return Lines(above, over, below, under)

    def _inner(self, low: Tensor, high: Tensor) -> list[Tensor]:
        """Return the slopes between two knots, and the chords to each knot."""
        between = [
            self.slope(torch.full_like(low, (a + b) / 2))
            for a, b in zip(self.breaks[:-1], self.breaks[1:], strict=True)
        ]
        knots = [low.clamp_min(knot).minimum(high) for knot in self.breaks]
        if len(knots) < 2:
            return between
        return between + [self._chord(low, knot) for knot in knots]

    def _best(
        self,
        points: list[Tensor],
        slopes: list[Tensor],
        sign: float,
        low: Tensor,
        high: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the slope whose line is nearest to f at the middle, and its level."""
        middle, best = low + (high - low) / 2, slopes[0]
        known = [(v, self.value(v)) for v in points]
        level = _level(known, best, sign)
        for slope in slopes[1:]:
            other = _level(known, slope, sign)
            gain = sign * (level + best * middle - other - slope * middle)
            nearer = gain > _NEARER * (high - low)
            best = torch.where(nearer, slope, best)
            level = torch.where(nearer, other, level)
        return best, level


def _level(known: list[tuple[Tensor, Tensor]], slope: Tensor, sign: float) -> Tensor:
    """Return the extreme of f(v) − s v over some points, given with their values."""
    levels = [y - slope * v for v, y in known]
    return functools.reduce(torch.maximum if sign > 0 else torch.minimum, levels)
