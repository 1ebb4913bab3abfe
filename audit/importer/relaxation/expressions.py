"""Functions of one number by their expressions: at points, and over intervals.

At a point an expression gives its value and its slope (forward differentiation), over
an interval a jet (`jets`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.jets import Jet


class Dual(NamedTuple):
    """A function and its slope, at points."""

    value: Tensor
    slope: Tensor


class Expression(Protocol):
    """A function of one number."""

    def at(self, v: Dual) -> Dual:
        """Return it of a number, and its slope."""
        ...

    def over(self, v: Jet) -> Jet:
        """Return what encloses it and its derivatives."""
        ...


@dataclass(frozen=True)
class Itself:
    """V."""

    def at(self, v: Dual) -> Dual:
        """Return the number."""
        return v

    def over(self, v: Jet) -> Jet:
        """Return the jet."""
        return v


@dataclass(frozen=True)
class Line:
    """Factor · g + shift."""

    inner: Expression
    factor: float
    shift: float

    def at(self, v: Dual) -> Dual:
        """Return the line of a number."""
        value, slope = self.inner.at(v)
        return Dual(value * self.factor + self.shift, slope * self.factor)

    def over(self, v: Jet) -> Jet:
        """Return the line of a jet."""
        return self.inner.over(v).scaled(self.factor, self.shift)


@dataclass(frozen=True)
class Through:
    """A curve of g."""

    inner: Expression
    curve: Curve

    def at(self, v: Dual) -> Dual:
        """Return the curve of a number."""
        value, slope = self.inner.at(v)
        return Dual(self.curve.value(value), self.curve.slope(value) * slope)

    def over(self, v: Jet) -> Jet:
        """Return the curve of a jet."""
        return self.inner.over(v).through(self.curve)


@dataclass(frozen=True)
class Within:
    """An expression of g."""

    outer: Expression
    inner: Expression

    def at(self, v: Dual) -> Dual:
        """Return it at a number."""
        return self.outer.at(self.inner.at(v))

    def over(self, v: Jet) -> Jet:
        """Return it of a jet."""
        return self.outer.over(self.inner.over(v))


@dataclass(frozen=True)
class Sum:
    """The sum of ± g, ± h, and so on."""

    parts: tuple[Expression, ...]
    signs: tuple[float, ...]

    def at(self, v: Dual) -> Dual:
        """Return the sum at a number."""
        found = [
            (sign * value, sign * slope)
            for sign, (value, slope) in zip(
                self.signs, (part.at(v) for part in self.parts), strict=True
            )
        ]
        values, slopes = zip(*found, strict=True)
        return Dual(torch.stack(values).sum(0), torch.stack(slopes).sum(0))

    def over(self, v: Jet) -> Jet:
        """Return the sum of jets."""
        first, *rest = (
            part.over(v).scaled(sign)
            for part, sign in zip(self.parts, self.signs, strict=True)
        )
        for other in rest:
            first = first.plus(other)
        return first


@dataclass(frozen=True)
class Product:
    """g · h."""

    one: Expression
    two: Expression

    def at(self, v: Dual) -> Dual:
        """Return the product at a number."""
        (f, df), (g, dg) = self.one.at(v), self.two.at(v)
        return Dual(f * g, df * g + f * dg)

    def over(self, v: Jet) -> Jet:
        """Return the product of jets."""
        return self.one.over(v).product(self.two.over(v))
