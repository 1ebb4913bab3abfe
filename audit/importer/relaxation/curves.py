"""Functions of one number between two lines on an interval, proven.

For f on [l, u] two lines are wanted, s v + t ≥ f(v) ≥ s' v + t'. The slopes may be any
numbers: good ones are guessed (chords, tangents, the hull of a few points). What is
proven is t, an upper bound on g(v) = f(v) − s v over [l, u], and t' likewise for −f.

**Smooth f.** R is cut where the sign of f'' changes, at known points. On a convex
piece [a, b] the maximum of g is at an end. On a concave one, for *any* z in it,

    g(v) ≤ g(z) + g'(z)(v − z) ≤ g(z) + max(g'(z)(a − z), g'(z)(b − z)),

so where z comes from does not matter for the proof: it is found by bisection of
f'(z) = s, and the bound is off by its last step times the width. Where all of [l, u]
is convex this gives the chord above and the tangent at the middle below.

**Rounding.** Values of f and f' are good to a few units of float64, so t is raised by
2⁻⁴⁹ (|f| + (1 + |s|) max(|l|, |u|)), which is 16 roundings of each term that makes it.
An inflection point that is off by one rounding changes g by less than 1e-40.

Source: Zhang et al., Efficient Neural Network Robustness Certification with General
Activation Functions, arXiv:1811.00866.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from audit.importer.relaxation.hulls import hull_slopes

Function = Callable[[Tensor], Tensor]
Most = Callable[[Tensor, Tensor, Tensor, float], Tensor]
_SLACK = 2.0**-49
_TINY = 2.0**-1000  # more than is lost where a value is too small for a float64
_STEPS = 30


class Lines(NamedTuple):
    """Two lines around a function: slopes and levels, each [B, *shape]."""

    above: Tensor
    above_level: Tensor
    below: Tensor
    below_level: Tensor


@dataclass(frozen=True)
class Curve(ABC):
    """A function of one number.

    Args:
        name: as the table calls it.
        value: f. slope: f'.
        breaks: where f'' changes its sign, or where f has knots, ascending.
        domain: open ends of where f is defined.
        rising: whether f never falls.
        least: what f is never below; −∞ where that is not said.
        falling: whether f never rises.
        relative: whether computed f(v) is good to a few units of itself, however large
            v is; else to a few of v, too.
    """

    name: str
    value: Function
    slope: Function
    breaks: tuple[float, ...] = ()
    domain: tuple[float, float] = (-torch.inf, torch.inf)
    rising: bool = False
    least: float = field(default=-torch.inf, kw_only=True)
    falling: bool = field(default=False, kw_only=True)
    relative: bool = field(default=False, kw_only=True)
    cornered: ClassVar[bool] = False

    @property
    def everywhere(self) -> bool:
        """Whether f is defined for all numbers."""
        return self.domain == (-torch.inf, torch.inf)

    def secant(self, low: Tensor, high: Tensor, at: Tensor) -> Tensor:
        """Return a slope that f has on [low, high] as a whole, near `at` if smooth."""
        return self.slope(at)

    def beyond(
        self, k: Tensor, low: Tensor, high: Tensor, lines: Callable[[], Lines]
    ) -> tuple[Tensor, Tensor]:
        """Return an interval that holds f(v) − k v on [low, high], by lines there."""
        found = lines()
        above, below = found.above - k, found.below - k
        most = torch.maximum(above * low, above * high) + found.above_level
        least = torch.minimum(below * low, below * high) + found.below_level
        slope = torch.maximum(found.above.abs(), found.below.abs()) + k.abs()
        level = torch.maximum(found.above_level.abs(), found.below_level.abs())
        far = torch.maximum(low.abs(), high.abs())
        slack = _SLACK * (slope * far + level)
        return least - slack, most + slack

    def range(
        self, low: Tensor, high: Tensor, lines: Callable[[], Lines]
    ) -> tuple[Tensor, Tensor]:
        """Return an interval that holds f on [low, high]."""
        if not self.rising and not self.falling:
            ends = self.beyond(torch.zeros_like(low), low, high, lines)
            return ends[0].clamp_min(self.least), ends[1]
        least, most = self.value(low), self.value(high)
        if self.falling:
            known = (low > self.domain[0]) & (high < self.domain[1])
            least, most = (torch.where(known, end, torch.nan) for end in (most, least))
        slack = _SLACK * torch.maximum(least.abs(), most.abs())
        return least - slack, most + slack

    def lines(self, low: Tensor, high: Tensor) -> Lines:
        """Return lines around f on [low, high]; NaN where f is not defined there."""
        known = (low > self.domain[0]) & (high < self.domain[1])
        if bool(known.all()):
            return self._raised(low, high, self._lines(low, high))
        inside = 0.5 if self.domain[0] == 0 else 0.0
        ends = (torch.where(known, end, inside) for end in (low, high))
        found = self._raised(low, high, self._lines(*ends))
        return Lines(*(torch.where(known, part, torch.nan) for part in found))

    def undecided(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Tell where another end, low or high, would change the lines [B, *shape]."""
        every = torch.ones_like(low, dtype=torch.bool)
        return every, every

    def _raised(self, low: Tensor, high: Tensor, lines: Lines) -> Lines:
        far = torch.maximum(low.abs(), high.abs())
        level = torch.maximum(self.value(low).abs(), self.value(high).abs())
        own = 0.0 if self.relative else 1.0
        above = _SLACK * (
            level + lines.above_level.abs() + (own + lines.above.abs()) * far
        )
        below = _SLACK * (
            level + lines.below_level.abs() + (own + lines.below.abs()) * far
        )
        return lines._replace(
            above_level=lines.above_level + (above + _TINY),
            below_level=lines.below_level - (below + _TINY),
        )

    @abstractmethod
    def _lines(self, low: Tensor, high: Tensor) -> Lines:
        """Return lines, up to rounding."""

    def _pieces(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return on which piece each end lies, [B, *shape] of whole numbers."""
        first = torch.zeros_like(low, dtype=torch.int64)
        last = torch.zeros_like(first)
        for point in self.breaks:
            first += low >= point
            last += high > point
        return first, torch.maximum(first, last)

    def _of_one_sign(self, low: Tensor, high: Tensor, convex: Tensor) -> Lines:
        """Return lines where f is convex on all of [low, high], or else concave."""
        middle = low + (high - low) / 2
        chord, tangent = self._chord(low, high), self.slope(middle)
        over = torch.maximum(
            self.value(low) - chord * low, self.value(high) - chord * high
        )
        under = torch.minimum(
            self.value(low) - chord * low, self.value(high) - chord * high
        )
        at_middle = self.value(middle) - tangent * middle
        return Lines(
            torch.where(convex, chord, tangent),
            torch.where(convex, over, at_middle),
            torch.where(convex, tangent, chord),
            torch.where(convex, at_middle, under),
        )

    def _hull(self, low: Tensor, high: Tensor, most: Most) -> Lines:
        """Return lines along f's hull on intervals [M], of any sign of f''.

        Args:
            low: their lower ends.
            high: their upper ends.
            most: (low, high, s, sign) -> an upper bound on sign f(v) − s v there.
        """
        above, below = hull_slopes(self.value, self.slope, low, high)
        levels = most(low, high, above, 1.0), most(low, high, -below, -1.0)
        return Lines(above, levels[0], below, -levels[1])

    def _chord(self, low: Tensor, high: Tensor) -> Tensor:
        rise = (self.value(high) - self.value(low)) / (high - low)
        return torch.where(high > low, rise, self.slope(low))


@dataclass(frozen=True)
class Smooth(Curve):
    """A curve with two derivatives.

    Args:
        convex: whether it is so below the first of its inflection points.
    """

    convex: bool = True

    def _lines(self, low: Tensor, high: Tensor) -> Lines:
        first, last = self._pieces(low, high)
        lines = self._of_one_sign(low, high, (first % 2 == 0) == self.convex)
        mixed = first != last
        if not bool(mixed.any()):
            return lines
        inside = self._hull(low[mixed], high[mixed], self._most)
        for part, found in zip(lines, inside, strict=True):
            part[mixed] = found
        return lines

    def _most(self, low: Tensor, high: Tensor, s: Tensor, sign: float) -> Tensor:
        """Return an upper bound on sign f(v) − s v over the intervals [M]."""
        found = torch.maximum(
            sign * self.value(low) - s * low, sign * self.value(high) - s * high
        )
        ends = (-torch.inf, *self.breaks, torch.inf)
        for index, (a, b) in enumerate(pairwise(ends)):
            left, right = low.clamp_min(a), high.clamp_max(b)
            inside = left < right
            convex = (index % 2 == 0) == (self.convex if sign > 0 else not self.convex)
            if not bool(inside.any()):
                continue
            parts = left[inside], right[inside], s[inside]
            bound = self._on_convex if convex else self._on_concave
            found[inside] = torch.maximum(found[inside], bound(*parts, sign))
        return found

    def _on_convex(self, a: Tensor, b: Tensor, s: Tensor, sign: float) -> Tensor:
        return torch.maximum(sign * self.value(a) - s * a, sign * self.value(b) - s * b)

    def _on_concave(self, a: Tensor, b: Tensor, s: Tensor, sign: float) -> Tensor:
        left, right = a, b
        for _ in range(_STEPS):
            middle = left + (right - left) / 2
            rising = sign * self.slope(middle) > s
            left = torch.where(rising, middle, left)
            right = torch.where(rising, right, middle)
        z = left + (right - left) / 2
        g, dg = sign * self.value(z) - s * z, sign * self.slope(z) - s
        return g + torch.maximum(dg * (a - z), dg * (b - z))
