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
        chord = self._chord(low.take(places), high.take(places))
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
        found = [(low < knot) & (high > knot) for knot in self.breaks]
        none = torch.zeros_like(low, dtype=torch.bool)
        return functools.reduce(torch.logical_or, found) if found else none

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
        """Return the best lines on intervals [M] with knots inside."""
        points = self._points(low, high)
        slopes = [self._chord(low, high), self.slope(low), self.slope(high)]
        candidates = torch.stack([*slopes, *self._inner(low, points[2:])])
        levels = self.value(points) - candidates.unsqueeze(1) * points
        above = _nearest(candidates, levels.amax(1), 1.0, low, high)
        return Lines(*above, *_nearest(candidates, levels.amin(1), -1.0, low, high))

    def _inner(self, low: Tensor, knots: Tensor) -> list[Tensor]:
        """Return the slopes between two knots, and the chords to each knot."""
        between = [
            self.slope(torch.full_like(low, (a + b) / 2))
            for a, b in pairwise(self.breaks)
        ]
        if len(knots) < 2:
            return between
        return between + [self._chord(low, knot) for knot in knots]


def _nearest(
    slopes: Tensor, levels: Tensor, sign: float, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the first of S lines [S, M] that are nearest to f at the middle.

    All are on one side of it: the lowest of those above (sign 1), the highest of those
    below (sign −1).
    """
    heights = sign * (levels + slopes * (low + (high - low) / 2))
    near = heights <= heights.amin(0) + _NEARER * (high - low)
    first = near.byte().argmax(0, keepdim=True)
    return slopes.gather(0, first)[0], levels.gather(0, first)[0]
