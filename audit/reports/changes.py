"""The change of one quantity over paired inputs, and how sure it is.

The change is the mean of the differences, new minus old, over the inputs that both
reports measured. Pairing takes the spread between inputs out of it. A value that is ∞
in both reports has not changed; one that has become ∞ makes the change ∞. Its 95 %
interval is that of `differences`, as is that of the change as a share of the old mean,
which may be known where the former is not. Where there is neither, it has no ends, and
the change is not told from noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.reports.differences import (
    difference_interval,
    differences,
    relative_interval,
)
from audit.reports.means import Interval
from audit.reports.statistics import moments
from audit.reports.values import Floats

Pair = tuple[str, str]
MOVED = 10
UNKNOWN = (-math.inf, math.inf)


@dataclass(frozen=True)
class Change:
    """How one quantity changed."""

    divergence: str
    quantity: str
    unit: str
    n: int
    """Inputs that both reports measured."""
    old: float
    new: float
    """Means over those inputs."""
    difference: float
    """The mean of new minus old."""
    low: float
    high: float
    """95 % interval of the difference; −∞ and ∞ where none is known."""
    share: Interval | None = None
    """That of the difference as a share of |old|, where it is known."""

    @property
    def known(self) -> bool:
        """Whether the difference, or its share of the old mean, has an interval."""
        return self.share is not None or (self.low, self.high) != UNKNOWN

    @property
    def sign(self) -> str:
        """Return "+" or "-" where an interval excludes zero, else "~"."""
        low, high = (self.low, self.high)
        if (low, high) == UNKNOWN and self.share is not None:
            low, high = self.share
        if low > 0:
            return "+"
        return "-" if high < 0 else "~"


@dataclass(frozen=True)
class Moved:
    """An input whose sensitivity changed a lot."""

    index: int
    old: float
    new: float


def change_of(
    pair: Pair,
    unit: str,
    before: Floats,
    after: Floats,
    stands: Floats | None = None,
) -> Change | None:
    """Return the change of one quantity, None where no input measured it twice.

    `stands` says for how many inputs each stands [n]; None: for itself.
    """
    both = ~(np.isnan(before) | np.isnan(after))
    if not both.any():
        return None
    apart = differences(before, after)
    share = None if stands is None else stands[both]
    old, new, difference = (_mean(v[both], share) for v in (before, after, apart))
    if old is None or new is None or difference is None:  # ∞ and −∞ together
        return None
    n = int(both.sum())
    weights = np.ones(n) if share is None else share
    ends = difference_interval(apart[both], weights) or UNKNOWN
    relative = relative_interval(before[both], after[both], weights)
    return Change(*pair, unit, n, old, new, difference, *ends, relative)


def _mean(values: Floats, weights: Floats | None) -> float | None:
    if weights is None or np.isinf(values).any():
        return moments(values)[0]
    return float(weights @ values / weights.sum())


def most_moved(index: NDArray[np.int64], before: Floats, after: Floats) -> list[Moved]:
    """Return the inputs whose value changed by the largest factor."""
    usable = np.flatnonzero(
        (before > 0) & (after > 0) & (differences(before, after) != 0)
    )
    size = np.abs(np.log(after[usable] / before[usable]))
    order = usable[np.argsort(-size, kind="stable")][:MOVED]
    return [Moved(int(index[k]), float(before[k]), float(after[k])) for k in order]
