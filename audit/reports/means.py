"""The interval of the mean of a column, from all its values or from sums over windows.

The mathematics is that of `ground.means`; here are scale, ends and windows. Values are
divided by a power of two, so that no power of them overflows. Few values are looked at
at once (`mean_interval`); of very many, `Sums` and `Tails` add up windows one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from audit.ground.means import Stratum, Tail, bulk, bulk_ranks, joined, tail_size
from audit.ground.means import mean_interval as interval_of
from audit.reports.quantities import FEWEST_VALUES
from audit.reports.values import Floats

Interval = tuple[float, float]


def size_of(most: float) -> float:
    """Return the power of two by which to divide, so that no sum of powers overflows.

    Args:
        most: the largest absolute value.
    """
    return math.ldexp(1.0, math.frexp(most)[1] - 1)


def mean_interval(values: Floats, signed: bool = False) -> Interval | None:
    """Return the 95 % interval of the mean of ascending values; see `scaled_interval`.

    None with ∞ among them. `signed` ones may be negative, also where none is.
    """
    if len(values) < FEWEST_VALUES or not np.isfinite(values[[0, -1]]).all():
        return None
    size = size_of(float(np.abs(values[[0, -1]]).max()))
    least = -math.inf if signed else float(values[0])
    return scaled_interval([Stratum.of(values / size)], size, least)


def scaled_interval(
    strata: Sequence[Stratum], size: float, least: float, inputs: float = math.inf
) -> Interval | None:
    """Return the 95 % interval of a mean; not below 0 when no value is.

    None where the values know of none, and where an end overflows.

    Args:
        strata: of values divided by `size`.
        size: see `size_of`.
        least: of the values, or that there may be.
        inputs: that were parted into strata.
    """
    found = interval_of(strata, inputs=inputs)
    if found is None:
        return None
    low, high = found[0] * size, found[1] * size
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return (max(low, 0.0) if least >= 0 else low, high)


class Sums:
    """Sums over windows, one of each column, added without error."""

    def __init__(self) -> None:
        self._parts: list[list[float]] = []

    def add(self, *columns: Floats) -> None:
        """Take one window of each column."""
        self._parts.append([float(column.sum()) for column in columns])

    def total(self) -> tuple[float, ...]:
        """Return the sums of the columns."""
        return tuple(map(math.fsum, zip(*self._parts, strict=True)))


@dataclass(frozen=True)
class Tails:
    """What the tails of values add up to: of the lower one, mirrored, and the upper.

    Args:
        ends: of the bulk.
        thresholds: the values next to the tails.
    """

    ends: tuple[float, float]
    thresholds: tuple[float, float]
    found: tuple[list[Tail], list[Tail]] = field(default_factory=lambda: ([], []))

    @classmethod
    def beyond(cls, known: Floats) -> Tails:
        """Return tails, empty yet, by values of the ranks `tail_ranks` [6]."""
        low, high = known[4:].tolist()
        return cls(bulk(known[:4]), (low, high))

    def add(self, values: Floats) -> None:
        """Take some of the values."""
        (begin, end), (low, high) = self.ends, self.thresholds
        self.found[0].append(Tail.of(-values[values < low], -low, -end))
        self.found[1].append(Tail.of(values[values > high], high, begin))

    def both(self) -> tuple[Tail, Tail]:
        """Return the whole tails."""
        below, above = map(joined, self.found)
        return below, above


def tail_ranks(n: int) -> tuple[int, ...]:
    """Return the ranks of n values that `Tails.beyond` asks for."""
    k = tail_size(n)
    return (*bulk_ranks(n), k, n - k - 1)
