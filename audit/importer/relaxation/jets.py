"""Enclosures of a function and of its two derivatives, over intervals of numbers.

A jet is three intervals that hold g, g' and g'' at all points of [a, b]. Sums and
products of jets are those of Taylor polynomials, and through a curve

    f(g)' = f'(g) g',     f(g)'' = f''(g) g'² + f'(g) g''.

f, f' and f'' of the curves below are monotone between the points of their tables, so
their ranges are between their values at the ends and at the points inside. Of a curve
of straight pieces f'' is 0, and unknown where a knot is inside. ±∞ says that nothing is
known.

Values of the functions are good to a few units of the float64 of their size, or of 1
(1 − tanh² has digits of 1 alone), and ranges are widened by 2⁻⁴⁹ of both.

Source: Moore, Kearfott & Cloud, Introduction to Interval Analysis (2009).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.intervals import Interval, covering
from audit.importer.relaxation.kinked import Kinked

Function = Callable[[Tensor], Tensor]
Known: TypeAlias = "tuple[Function, tuple[float, ...]]"


class Jet(NamedTuple):
    """Enclosures of a function, of its slope and of its second derivative."""

    value: Interval
    slope: Interval
    bend: Interval

    @staticmethod
    def variable(low: Tensor, high: Tensor) -> Jet:
        """Return that of v itself over [low, high]."""
        one, zero = torch.ones_like(low), torch.zeros_like(low)
        return Jet(Interval(low, high), Interval(one, one), Interval(zero, zero))

    @staticmethod
    def point(v: Tensor) -> Jet:
        """Return that of v at numbers."""
        return Jet.variable(v, v)

    def plus(self, other: Jet) -> Jet:
        """Return that of the sum."""
        pairs = zip(self, other, strict=True)
        return Jet(*(one + two for one, two in pairs))

    def scaled(self, factor: float, shift: float = 0.0) -> Jet:
        """Return that of factor · g + shift."""
        value, slope, bend = self
        return Jet(value.times(factor, shift), slope.times(factor), bend.times(factor))

    def product(self, other: Jet) -> Jet:
        """Return that of the product."""
        (f, f1, f2), (g, g1, g2) = self, other
        cross = (f1 * g1).times(2.0)
        return Jet(f * g, f1 * g + f * g1, f2 * g + cross + f * g2)

    def through(self, curve: Curve) -> Jet:
        """Return that of a curve of it, which is one of those that are `followed`."""
        if isinstance(curve, Kinked):
            value, slope, bend = _over_knots(curve, self.value)
        else:
            value, slope, bend = (_range(p, self.value) for p in _TABLE[curve.name])
        square = self.slope * self.slope
        return Jet(value, slope * self.slope, bend * square + slope * self.bend)


def followed(curve: Curve) -> bool:
    """Tell whether jets pass a curve."""
    return isinstance(curve, Kinked) or curve.name in _TABLE


def _range(known: Known, over: Interval) -> Interval:
    """Return the range of a function that is monotone between some points."""
    function, points = known
    low, high = over
    ends = [function(low), function(high)]
    ends += [function(low.clamp_min(point).minimum(high)) for point in points]
    return covering(ends, 1.0)


def _over_knots(curve: Kinked, over: Interval) -> tuple[Interval, Interval, Interval]:
    """Return the ranges of a curve of straight pieces, and of its derivatives."""
    low, high = over
    knots = curve.breaks
    values = [low, high, *(low.clamp_min(knot).minimum(high) for knot in knots)]
    value = covering([curve.value(v) for v in values])
    inside = [(low <= knot) & (high >= knot) for knot in knots]
    middle = low + (high - low) / 2
    slopes = [curve.slope(middle), curve.slope(low), curve.slope(high)]
    for place, holds in zip(_between(knots), _touched(inside), strict=True):
        slopes.append(
            torch.where(holds, curve.slope(torch.full_like(low, place)), slopes[0])
        )
    zero = torch.zeros_like(low)
    crossed = torch.stack(inside).any(0) if inside else zero.bool()
    infinite = torch.where(crossed, torch.inf, 0.0)
    return value, covering(slopes), Interval(-infinite, infinite)


def _between(knots: tuple[float, ...]) -> list[float]:
    """Return a point of each piece."""
    if not knots:
        return []
    inner = [(a + b) / 2 for a, b in pairwise(knots)]
    return [knots[0] - 1, *inner, knots[-1] + 1]


def _touched(inside: list[Tensor]) -> list[Tensor]:
    """Tell which pieces are beside a knot that is inside."""
    if not inside:
        return []
    pairs = [a | b for a, b in pairwise(inside)]
    return [inside[0], *pairs, inside[-1]]


def _tanh_slope(v: Tensor) -> Tensor:
    return 1 - torch.tanh(v).square()


def _gate_slope(v: Tensor) -> Tensor:
    return torch.sigmoid(v) * torch.sigmoid(-v)


def _bell(v: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * (-v.square()).exp()


def _softplus(v: Tensor) -> Tensor:
    rest: Tensor = torch.log1p((-v.abs()).exp())
    return v.clamp_min(0) + rest


def _inverse(v: Tensor, k: int) -> Tensor:
    """Return v^−k; no number for what is not positive."""
    return torch.where(v > 0, v ** (-k), torch.nan)


_TANH = math.atanh(math.sqrt(1 / 3))
_GATE = math.log(2 + math.sqrt(3))
_TABLE: dict[str, tuple[Known, Known, Known]] = {
    "exp": ((torch.exp, ()), (torch.exp, ()), (torch.exp, ())),
    "tanh": (
        (torch.tanh, ()),
        (_tanh_slope, (0.0,)),
        (lambda v: -2 * torch.tanh(v) * _tanh_slope(v), (-_TANH, _TANH)),
    ),
    "sigmoid": (
        (torch.sigmoid, ()),
        (_gate_slope, (0.0,)),
        (lambda v: -_gate_slope(v) * torch.tanh(v / 2), (-_GATE, _GATE)),
    ),
    "erf": (
        (torch.erf, ()),
        (_bell, (0.0,)),
        (lambda v: -2 * v * _bell(v), (-math.sqrt(0.5), math.sqrt(0.5))),
    ),
    "softplus": ((_softplus, ()), (torch.sigmoid, ()), (_gate_slope, (0.0,))),
    "square": (
        (torch.square, (0.0,)),
        (lambda v: 2 * v, ()),
        (lambda v: torch.full_like(v, 2.0), ()),
    ),
    "cube": (
        (lambda v: v**3, ()),
        (lambda v: 3 * v**2, (0.0,)),
        (lambda v: 6 * v, ()),
    ),
    "reciprocal": (
        (lambda v: _inverse(v, 1), ()),
        (lambda v: -_inverse(v, 2), ()),
        (lambda v: 2 * _inverse(v, 3), ()),
    ),
}
