"""What the numbers of all inputs amount to: percentiles and how sure they are.

Statistics are taken on the extended reals: ∞ takes its place among the order
statistics, and a mean with ∞ in it is ∞. What was not measured has no place; it is
counted.

The audited inputs are seen as a sample of the inputs the model will meet. The mean
gets Hall's interval with what an unseen tail may add (`means`), and none for
few values or a tail so long that the mean may not exist; a percentile gets the interval
between two order statistics, whose ranks come from the binomial law, so that it holds
for any distribution of the values:

    P(X₍ₗ₎ ≤ q_p ≤ X₍ᵤ₎) ≥ 0.95,    number of values below q_p ~ Binomial(n, p)

Columns that were measured on a sample of the inputs are in `sampling`.

Reference:
    David & Nagaraja, Order Statistics (2003), section 7.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit.reports.means import Interval, mean_interval, size_of
from audit.reports.quantities import PERCENTILES, STATISTICS
from audit.reports.values import Floats, Values

BINS = 24
SMALLEST_SPAN, LARGEST_SPAN = 1e-300, 1e300
"""Below the one values count as equal, above the other bins would overflow."""
_TAIL = 0.025


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins between `low` and `high`, on a `linear` or `log` scale."""

    scale: str
    low: float
    high: float
    counts: list[int]


@dataclass(frozen=True)
class Statistics:
    """One quantity of N inputs in a few numbers; None: not computable.

    Args:
        n: those with a value; the other counts are of all N.
        values, intervals: by the name of the statistic.
        histogram: of the finite values.
    """

    n: int
    n_infinite: int
    n_at_rest: int
    n_not_measured: int
    values: dict[str, float | None]
    intervals: dict[str, Interval | None]
    histogram: Histogram | None


def summarise(column: Values) -> Statistics:
    """Return the statistics of the values of N inputs."""
    values = np.sort(column.numbers[~column.missing])
    if not len(values):
        return described(column, len(column), dict.fromkeys(STATISTICS), {})
    mean, std = moments(values)
    numbers = {
        "mean": mean,
        "std": std,
        "min": float(values[0]),
        **dict(zip(PERCENTILES, quantiles(values, PERCENTILES.values()), strict=True)),
        "max": float(values[-1]),
    }
    intervals = {"mean": mean_interval(values)} | {
        name: percentile_interval(values, p) for name, p in PERCENTILES.items()
    }
    return described(column, len(column), numbers, intervals)


def described(
    known: Values,
    total: int,
    numbers: dict[str, float | None],
    intervals: dict[str, Interval | None],
) -> Statistics:
    """Return statistics with the counts and the histogram of their column.

    Args:
        known: all its values, or those that were looked at.
        total: how many inputs there are; those that were not looked at have no value.
        numbers: by the name of the statistic.
        intervals: alike.
    """
    n = int((~known.missing).sum())
    finite = np.sort(known.numbers[np.isfinite(known.numbers)])
    return Statistics(
        n,
        int(known.infinite.sum()),
        int(known.rest.sum()),
        total - n,
        numbers,
        {name: intervals.get(name) for name in ("mean", *PERCENTILES)},
        histogram(finite) if len(finite) else None,
    )


def moments(values: Floats) -> tuple[float | None, float | None]:
    """Return mean and standard deviation of values without NaN; ∞ where one is.

    They are None where they do not exist: one value has no deviation, ∞ − ∞ no mean.
    """
    if np.isinf(values).any():
        one_sign = len(np.unique(values[np.isinf(values)])) == 1
        mean = float(values[np.isinf(values)][0]) if one_sign else None
        return mean, math.inf if mean is not None and len(values) > 1 else None
    size = size_of(float(np.abs(values).max()))
    scaled = values / size
    with np.errstate(over="ignore"):
        std = float(scaled.std(ddof=1) * size) if len(values) > 1 else None
        return float(scaled.mean() * size), std


def quantiles(values: Floats, levels: Iterable[float]) -> list[float | None]:
    """Return quantiles of ascending values, linear between two finite neighbours."""
    places = places_of(tuple(levels), len(values))
    return quantiles_at(values[places.below], values[places.above], places)


class Places(NamedTuple):
    """Between which ranks quantiles lie, and how far on the way."""

    below: NDArray[np.intp]
    above: NDArray[np.intp]
    share: Floats


@lru_cache(maxsize=256)
def places_of(levels: tuple[float, ...], n: int) -> Places:
    """Return where the quantiles of n values lie."""
    places = np.round(np.array(levels) * (n - 1), 9)
    below = np.floor(places).astype(int)
    return Places(below, np.minimum(below + 1, n - 1), places - below)


def quantiles_at(low: Floats, high: Floats, places: Places) -> list[float | None]:
    """Return quantiles from the values of the ranks below and above them."""
    found = between(low, high, places.share)
    return [None if math.isnan(value) else value for value in found.tolist()]


def between(low: Floats, high: Floats, share: Floats) -> Floats:
    """Return low + share · (high − low) on the extended reals.

    Anything on the way to ∞ is ∞, as soon as it has left the finite end.
    """
    with np.errstate(invalid="ignore"):
        mixed = np.clip(low * (1 - share) + high * share, low, high)
    return np.where(share == 0, low, np.where(low == high, high, mixed))


def percentile_interval(values: Floats, p: float) -> Interval | None:
    """Return the 95 % interval of the p-quantile from ascending `values`."""
    ranks = order_ranks(len(values), p)
    return ranks and (float(values[ranks[0]]), float(values[ranks[1]]))


@lru_cache(maxsize=256)
def order_ranks(n: int, p: float) -> tuple[int, int] | None:
    """Return the two ranks (from 0) that bracket the p-quantile of n draws.

    None when n is too small: 72 values are needed for p95, 368 for p99.
    """
    reach = 12 * math.sqrt(n * p * (1 - p)) + 12
    first, last = max(0, math.floor(n * p - reach)), min(n, math.ceil(n * p + reach))
    k = np.arange(first, last)
    log_start = (
        math.lgamma(n + 1)
        - math.lgamma(first + 1)
        - math.lgamma(n - first + 1)
        + first * math.log(p)
        + (n - first) * math.log1p(-p)
    )
    steps = np.log((n - k) / (k + 1)) + math.log(p / (1 - p))
    below = np.cumsum(np.exp(log_start + np.concatenate([[0.0], np.cumsum(steps)])))
    # below[i] = P(B <= first + i). The l-th smallest value (from 1) exceeds the
    # quantile with probability P(B <= l - 1); the u-th lies below it with P(B >= u).
    low = first + int(np.searchsorted(below, _TAIL, side="right"))
    high = first + 1 + int(np.searchsorted(below, 1 - _TAIL, side="left"))
    return (low - 1, high - 1) if low >= 1 and high <= n else None


def histogram(values: Floats) -> Histogram | None:
    """Return counts of ascending `values`, on a log scale when they span 20 times."""
    bins = bins_of(float(values[0]), float(values[-1]))
    return None if bins is None else bins.histogram(bins.count(values))


@dataclass(frozen=True)
class Bins:
    """Equal bins between two finite ends, on a scale; one bin where all are equal."""

    scale: str
    low: float
    high: float

    def count(self, values: Floats) -> NDArray[np.int64]:
        """Return how many values lie in each bin [BINS]; none lies beyond the ends."""
        if self.scale == "equal":
            return np.bincount(np.zeros(len(values), int), minlength=BINS)
        log = self.scale == "log"
        ends = np.log([self.low, self.high]) if log else np.array([self.low, self.high])
        spread = np.clip(np.log(values), *ends) if log else values
        edges = np.linspace(float(ends[0]), float(ends[1]), BINS + 1)[1:-1]
        return np.bincount(edges.searchsorted(spread, "right"), minlength=BINS)

    def histogram(self, counts: NDArray[np.int64]) -> Histogram:
        """Return the counts [BINS] with their bins."""
        if self.scale == "equal":
            return Histogram("linear", self.low, self.high, [int(counts.sum())])
        return Histogram(self.scale, self.low, self.high, counts.tolist())


def bins_of(low: float, high: float) -> Bins | None:
    """Return the bins of values between two ends; None where they span too much."""
    if not high - low < LARGEST_SPAN:
        return None
    if high - low <= max(1e-9 * max(abs(low), abs(high)), SMALLEST_SPAN):
        return Bins("equal", low, high)
    return Bins("log" if low > 0 and high / low > 20 else "linear", low, high)
