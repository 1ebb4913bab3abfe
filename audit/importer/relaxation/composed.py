"""Curves that a graph spells out, f(v) = an expression of sums, products and curves.

What is made of one number alone is bounded as one curve: v tanh(log(1 + eᵛ)) between
two lines, not a product of two enclosures that know nothing of each other. The levels
of lines are proven by jets (`jets`). With [F], [F₁], [F₂] those over a piece [a, b] of
middle m and half width h, and g(v) = f(v) − s v, each of these is an upper bound on g
there, whatever s is:

    F̄ − min(s a, s b)
    f(m) − s m + max |F₁ − s| h
    f(m) − s m + max over |t| ≤ h of  d t + F̄₂ t² / 2,      d = f'(m) − s

For the last one d is taken at its larger size |d|, and the maximum over t is d²/(2|F̄₂|)
where −F̄₂ h > |d|, else |d| h + F̄₂ h²/2. The smallest counts. An interval is cut into
pieces; one whose bound is above all values that were met by more than a hundredth of
what they differ by is cut again, a few times. A jump or a knot of f needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.importer.relaxation.curves import Curve, Lines
from audit.importer.relaxation.expressions import Dual, Expression, Itself
from audit.importer.relaxation.intervals import Interval
from audit.importer.relaxation.jets import Jet

_SLACK = 2.0**-49
_PIECES, _CUTS, _ROUNDS = 8, 4, 5
_NEAR = 0.01  # of how much the values differ
_AT_ONCE = 2**15  # intervals


@dataclass(frozen=True)
class Composed(Curve):
    """A curve by its expression.

    Args:
        expression: of v.
    """

    expression: Expression = field(default_factory=Itself)

    @staticmethod
    def of(expression: Expression) -> Composed:
        """Return the curve of an expression."""

        def dual(v: Tensor) -> Dual:
            return expression.at(Dual(v, torch.ones_like(v)))

        return Composed(
            "composed",
            lambda v: dual(v).value,
            lambda v: dual(v).slope,
            expression=expression,
        )

    def _lines(self, low: Tensor, high: Tensor) -> Lines:
        """Return those of a convex or concave f where the jet says that it is."""
        bend = self.expression.over(Jet.variable(low, high)).bend
        convex = bend.low >= 0
        lines, doubt = self._of_one_sign(low, high, convex), self._doubt(low, high)
        lines = lines._replace(
            above_level=lines.above_level + doubt, below_level=lines.below_level - doubt
        )
        places = (~convex & ~(bend.high <= 0)).reshape(-1).nonzero()[:, 0]
        for some in torch.split(places, _AT_ONCE):
            parts = self._hull(low.take(some), high.take(some), self._most)
            for whole, part in zip(lines, parts, strict=True):
                whole.put_(some, part)
        return lines

    def _doubt(self, low: Tensor, high: Tensor) -> Tensor:
        """Return how far lines of one sign are off for the rounding of f and f'."""
        middle = low + (high - low) / 2
        points = torch.stack([low, middle, high])
        value, here = self.value(points), self.expression.over(Jet.point(points))
        off = torch.maximum(here.value.high - value, value - here.value.low).amax(0)
        slope = Interval(*(end[1] for end in here.slope))
        return off + _off(slope, self.slope(middle)) * (high - low)

    def _most(self, low: Tensor, high: Tensor, s: Tensor, sign: float) -> Tensor:
        """Return an upper bound on sign f(v) − s v over the intervals [M]."""
        ends = _cut(low, high, _PIECES)
        of = torch.arange(len(low), device=low.device).repeat_interleave(_PIECES)
        found = torch.full_like(low, -torch.inf)
        met, spread = self._met(low, high, s, sign)
        for turn in range(_ROUNDS):
            bound = self._bound(*ends, s[of], sign)
            wide = bound > (met + _NEAR * spread)[of]
            if turn == _ROUNDS - 1:
                wide = torch.zeros_like(wide)
            found.scatter_reduce_(0, of[~wide], bound[~wide], "amax")
            if not bool(wide.any()):
                break
            ends = _cut(ends[0][wide], ends[1][wide], _CUTS)
            of = of[wide].repeat_interleave(_CUTS)
        return found

    def _met(
        self, low: Tensor, high: Tensor, s: Tensor, sign: float
    ) -> tuple[Tensor, Tensor]:
        """Return the largest of some values of g [M], and by how much they differ."""
        share = torch.arange(4 * _PIECES + 1).to(low) / (4 * _PIECES)
        v = low[:, None] + (high - low)[:, None] * share
        g = sign * self.value(v) - s[:, None] * v
        far = torch.maximum(low.abs(), high.abs())
        rounded = _SLACK * (self.value(v).abs().amax(1) + s.abs() * far)
        most = g.amax(1)
        return most + 8 * rounded, most - g.amin(1)

    def _bound(self, a: Tensor, b: Tensor, s: Tensor, sign: float) -> Tensor:
        """Return an upper bound on sign f(v) − s v over pieces [P]."""
        value, slope, bend = self.expression.over(Jet.variable(a, b)).scaled(sign)
        middle = a + (b - a) / 2
        half = torch.maximum(middle - a, b - middle) * (1 + _SLACK)
        here = self.expression.over(Jet.point(middle)).scaled(sign)
        steep, d, most = _off(slope, s), _off(here.slope, s), bend.high
        curved = most * half.square() / 2
        inner = torch.where(
            -most * half > d, d.square() / (-2 * most), d * half + curved
        )
        far = torch.maximum(a.abs(), b.abs())
        plain = value.high - torch.minimum(s * a, s * b)
        plain = plain + 4 * _SLACK * (value.high.abs() + s.abs() * far)
        level = here.value.high - s * middle
        level = level + 4 * _SLACK * (here.value.high.abs() + s.abs() * far)
        first = level + steep * half * (1 + 4 * _SLACK)
        second = level + inner + 4 * _SLACK * (d * half + curved.abs())
        found = torch.fmin(torch.fmin(plain, first), second)
        return found.nan_to_num(torch.inf, torch.inf, torch.inf)


def _off(slope: Interval, s: Tensor) -> Tensor:
    return torch.maximum((slope.high - s).abs(), (slope.low - s).abs())


def _cut(low: Tensor, high: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ends of `count` pieces of each interval, in their order."""
    share = torch.arange(1, count).to(low) / count
    inner = low[:, None] + (high - low)[:, None] * share
    points = torch.cat([low[:, None], inner, high[:, None]], dim=1)
    return points[:, :-1].reshape(-1), points[:, 1:].reshape(-1)
