"""The change of one quantity over paired inputs, and how sure it is.

The change is the mean of the differences, new minus old, over the inputs that both
reports measured. Pairing takes the spread between inputs out of it. A value that is ∞
in both reports has not changed; one that has become ∞ makes the change ∞. Its 95 %
interval is that of `differences`; where there is none, it has no ends, and the change
is not told from noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.reports.differences import difference_interval, differences
from audit.reports.statistics import moments
from audit.reports.values import Floats

Pair = tuple[str, str]
MOVED = 10


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

    @property
    def known(self) -> bool:
        """Whether the difference has an interval."""
        return (self.low, self.high) != (-math.inf, math.inf)

    @property
    def sign(self) -> str:
        """Return "+" or "-" where the interval excludes zero, else "~"."""
        if self.low > 0:
            return "+"
        return "-" if self.high < 0 else "~"


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
    ends = difference_interval(apart[both], weights) or (-math.inf, math.inf)
    return Change(*pair, unit, n, old, new, difference, *ends)


def _mean(values: Floats, weights: Floats | None) -> float | None:
    if weights is None or np.isinf(values).any():
        return moments(values)[0]
    return float(weights @ values / weights.sum())


def most_moved(index: NDArray[np.int64], before: Floats, after: Floats) -> list[Moved]:
    """Return the inputs whose value changed by the largest factor."""
    usable = np.flatnonzero((before > 0) & (after > 0) & (before != after))
    size = np.abs(np.log(after[usable] / before[usable]))
    order = usable[np.argsort(-size, kind="stable")][:MOVED]
    return [Moved(int(index[k]), float(before[k]), float(after[k])) for k in order]
