"""One coordinate of a target: what values it may take, and how they are reached.

A continuous coordinate is reached from an unconstrained u: θ = u (real), exp u
(positive), 1 / (1 + e^-u) (unit), low + (high − low) / (1 + e^-u) (interval). A density
q of θ is then the density q(θ(u)) |dθ/du| of u, with

    log |dθ/du| = 0,   u,   log σ(u) + log σ(−u),   the same + log(high − low).

A choice takes one of finitely many values; it is enumerated, never moved.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from audit.ground.errors import ConfigError

KINDS = ("real", "positive", "unit", "interval", "choice")
EXAMPLE = 'Write it as in --target-space "rt:positive,choice:{-1,1},w:real*3"'
MOST = 10_000  # coordinates
PART = re.compile(r"\s*+([\w.]++)\s*+:([^*]++)(?:\*\s*+(\d{1,9})\s*+)?")


@dataclass(frozen=True)
class Coordinate:
    """One coordinate of θ.

    Args:
        name: what the user calls it.
        kind: real, positive, unit (0 to 1), interval or choice.
        values: of a choice.
        low: the lower end of an interval.
        high: its upper end.
    """

    name: str
    kind: str = "real"
    values: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 1.0

    def __str__(self) -> str:
        """The coordinate as --target-space reads it."""
        if self.kind == "choice":
            return f"{self.name}:{{{','.join(map(_written, self.values))}}}"
        ends = f"({_written(self.low)},{_written(self.high)})"
        return f"{self.name}:{self.kind}{ends if self.kind == 'interval' else ''}"

    def from_unconstrained(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return θ and log |dθ/du|, both shaped as u."""
        if self.kind == "real":
            return u, torch.zeros_like(u)
        if self.kind == "positive":
            return u.exp(), u
        width = self.high - self.low
        slope = logsigmoid(u) + logsigmoid(-u) + math.log(width)
        return self.low + width * torch.sigmoid(u), slope

    @property
    def limits(self) -> tuple[float, float]:
        """The u between which doubles tell θ from the ends of its support."""
        if self.kind == "real":
            return -1e300, 1e300
        if self.kind == "positive":
            return -700.0, 700.0
        left, right = (
            36 - math.log1p(abs(e) / (self.high - self.low))
            for e in (self.low, self.high)
        )
        return (-700.0 if self.low == 0 else -left), (
            700.0 if self.high == 0 else right
        )

    def to_unconstrained(self, theta: Tensor) -> Tensor:
        """Return u; infinite or NaN where θ is outside the support."""
        if self.kind == "real":
            return theta
        if self.kind == "positive":
            return theta.log()
        return torch.logit((theta - self.low) / (self.high - self.low))


def read_coordinates(part: str, text: str) -> list[Coordinate]:
    """Read one part of the text, which may be repeated.

    Raises:
        ConfigError: it is not NAME:KIND, the kind is unknown, or its numbers are
            missing or in the wrong order.
    """
    match = PART.fullmatch(part)
    if not match:
        raise ConfigError(
            f"The target space {text!r} has the part {part.strip()!r}",
            f"Each part is NAME:KIND, with a kind of {', '.join(KINDS)}",
            EXAMPLE,
        )
    name, kind, count = match[1], match[2].strip(), match[3]
    if count is None:
        return [_coordinate(name, kind)]
    if not 1 <= int(count) <= MOST:
        raise ConfigError(
            f"The coordinate {name!r} is repeated {count} times",
            f"A repeat is at least *1 and at most *{MOST}",
            EXAMPLE,
        )
    return [_coordinate(f"{name}{i}", kind) for i in range(int(count))]


def _coordinate(name: str, kind: str) -> Coordinate:
    """Read one kind: a word, a list in braces, or interval(low,high)."""
    if kind in ("real", "positive", "unit"):
        return Coordinate(name, kind)
    if kind.startswith("{") and kind.endswith("}"):
        values = _numbers(kind[1:-1])
        if values and len(set(values)) == len(values):
            return Coordinate(name, "choice", values=values)
        _refuse(name, kind, "A choice lists different numbers, as in {-1,1}")
    if kind.startswith("interval(") and kind.endswith(")"):
        ends = _numbers(kind[9:-1])
        if len(ends) == 2 and ends[0] < ends[1]:
            return Coordinate(name, "interval", low=ends[0], high=ends[1])
        _refuse(name, kind, "An interval has a low and a higher end: interval(0,10)")
    _refuse(name, kind, "A kind is real, positive, unit, interval(LOW,HIGH) or {A,B}")
    raise AssertionError


def _written(value: float) -> str:
    """Return a number as short as it reads back."""
    return repr(value).removesuffix(".0")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    return values if all(map(math.isfinite, values)) else ()


def _refuse(name: str, kind: str, expected: str) -> None:
    raise ConfigError(f"The coordinate {name!r} is of kind {kind!r}", expected, EXAMPLE)
