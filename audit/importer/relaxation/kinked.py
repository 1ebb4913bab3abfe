"""Curves of straight pieces between two lines: the best of a few slopes, exact levels.

The largest of f(v) − s v over [l, u] is at l, u or a knot between them, so any slope
has its level exactly. Without a knot between them f is its own line, whose level is
that at the middle. Slopes are those of the pieces and of chords; the one whose line
is nearest to f at the middle is taken, the first of equals: rounding chooses none. For
a rectifier that is the chord above, and below the line v or 0, whichever side of the
knot is wider.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
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
        low, high = low.take(places), high.take(places)
        chord = (self.value(high) - self.value(low)) / (high - low)
        return self.slope(at).put_(places, chord)

    def beyond(
        self, k: Tensor, low: Tensor, high: Tensor, lines: Callable[[], Lines]
    ) -> tuple[Tensor, Tensor]:
        """Return the range of f(v) − k v on [low, high]: it is at ends and knots."""
        points = self._points(low, high)
        values = self.value(points)
        found = values - k * points
        size, far = values.abs().amax(0), torch.maximum(low.abs(), high.abs())
        slack = _SLACK * (size + k.abs() * far)
        return found.amin(0) - slack, found.amax(0) + slack

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
        if not self.breaks:
            return torch.zeros_like(low, dtype=torch.bool)
        found = ((low < knot) & (high > knot) for knot in self.breaks)
        return functools.reduce(torch.logical_or, found)

    def _points(self, low: Tensor, high: Tensor) -> Tensor:
        """Return both ends and the knots between them [P, *shape]."""
        knots = [low.clamp_min(knot).minimum(high) for knot in self.breaks]
        return torch.stack([low, high, *knots])

    def _lines(self, low: Tensor, high: Tensor) -> Lines:
        """Return the piece itself where no knot is inside, which are the most."""
        middle = low + (high - low) / 2
        slope = self.slope(middle)
        level = self.value(middle) - slope * middle
        found = Lines(slope, level, slope.clone(), level.clone())
        places = self._inside(low, high).reshape(-1).nonzero()[:, 0]
        parts = self._over_knots(low.take(places), high.take(places))
        for whole, part in zip(found, parts, strict=True):
            whole.put_(places, part)
        return found

    def _over_knots(self, low: Tensor, high: Tensor) -> Lines:
        """Return the best lines on intervals [M] with knots inside.

        That is the first of those that are nearest to f at the middle: the lowest of
        the lines above, the highest of the lines below.
        """
        points, width = self._points(low, high), high - low
        values = self.value(points)
        chord = (values[1:2] - values[:1]) / width
        inner = self._inner(low, points[2:])
        slopes = torch.cat([chord, self.slope(points[:2]), *inner])
        levels = values - slopes.unsqueeze(1) * points
        levels = torch.stack([levels.amax(1), levels.amin(1)])
        heights = levels + slopes * (low + width / 2)
        heights[1] *= -1
        near = heights <= heights.amin(1, keepdim=True) + _NEARER * width
        first = near.byte().argmax(1)
        above, below = slopes.gather(0, first)
        over, under = levels.gather(1, first.unsqueeze(1)).squeeze(1)
        return Lines(above, over, below, under)

    def _inner(self, low: Tensor, knots: Tensor) -> list[Tensor]:
        """Return the slopes between two knots, and the chords to each knot [1, M]."""
        between = [
            self.slope(torch.full_like(low, (a + b) / 2).unsqueeze(0))
            for a, b in pairwise(self.breaks)
        ]
        if len(knots) < 2:
            return between
        return between + [self._chord(low, knot).unsqueeze(0) for knot in knots]
