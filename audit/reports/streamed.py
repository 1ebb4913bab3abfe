"""The statistics of very many inputs, in the memory of a few windows of them.

Up to `FEW` inputs, and of what was checked at a few, they are those of `statistics`.
Beyond, three passes: the first counts, finds the ends and draws a sample; the second
finds the order statistics, which are exact (`selection`); the third fills the histogram
and adds up. Sums are of powers of deviations from the sample's median c, and of what
the tails have beyond their thresholds, window by window and added without error
(`math.fsum`). With s_j = Σ(x − c)^j / n and e = s₁,

    mean = c + e,                    variance = (s₂ − e²) n/(n − 1),
    m₃ = s₃ − 3 e s₂ + 2 e³,         m₄ = s₄ − 4 e s₃ + 6 e² s₂ − 3 e⁴.

The median is within a deviation of the mean, so that few bits cancel; and it is one of
the values, so that equal ones have no deviation. A window is a number of rows and knows
of no block, worker or engine, and nothing else decides in what order is added.

Source: Chan, Golub & LeVeque, Algorithms for computing the sample variance, The
American Statistician 37 (1983).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from audit.ground.means import Stratum, Tail
from audit.ground.storage.mapped import let_go
from audit.reports import statistics
from audit.reports.means import (
    Interval,
    Sums,
    Tails,
    scaled_interval,
    size_of,
    tail_ranks,
)
from audit.reports.quantities import PERCENTILES, STATISTICS
from audit.reports.selection import Ordered, Thinned, order_statistics
from audit.reports.series import Series
from audit.reports.statistics import (
    BINS,
    Histogram,
    Statistics,
    bins_of,
    order_ranks,
    places_of,
    quantiles_at,
)
from audit.reports.values import FEW, WINDOW, Floats


def summarise(column: Series) -> Statistics:
    """Return the statistics of the values of N inputs."""
    if len(column) <= FEW:
        return statistics.summarise(column.whole())
    seen = _first_pass(column)
    if not seen.n:
        return seen.statistics(dict.fromkeys(STATISTICS), {}, None)
    known = _ordered(column, seen)
    added = _added(column, seen, known)
    mean, std = _moments(seen, added)
    places = places_of(tuple(PERCENTILES.values()), seen.n)
    levels = quantiles_at(known.at(places.below), known.at(places.above), places)
    numbers: dict[str, float | None] = {
        "mean": mean,
        "std": std,
        "min": seen.low,
        **dict(zip(PERCENTILES, levels, strict=True)),
        "max": seen.high,
    }
    intervals = {"mean": _mean_interval(seen, added)} | {
        name: _between(known, order_ranks(seen.n, p)) for name, p in PERCENTILES.items()
    }
    return seen.statistics(numbers, intervals, added.histogram)


@dataclass
class _Seen:
    """What the first pass finds of N inputs: counts, ends and a sample."""

    total: int
    n: int = 0
    n_infinite: int = 0
    n_at_rest: int = 0
    plus: bool = False
    minus: bool = False
    low: float = math.inf
    high: float = -math.inf
    finite_low: float = math.inf
    finite_high: float = -math.inf
    sample: Floats = field(default_factory=lambda: np.zeros(0))

    def statistics(
        self,
        numbers: dict[str, float | None],
        intervals: dict[str, Interval | None],
        histogram: Histogram | None,
    ) -> Statistics:
        return Statistics(
            self.n,
            self.n_infinite,
            self.n_at_rest,
            self.total - self.n,
            numbers,
            {name: intervals.get(name) for name in ("mean", *PERCENTILES)},
            histogram,
        )


@dataclass(frozen=True)
class _Added:
    """What the second pass adds up, of values divided by `size`."""

    size: float
    shift: float
    sums: tuple[float, ...]
    """Of the first four powers."""
    tails: tuple[Tail, Tail] | None
    histogram: Histogram | None


def _first_pass(column: Series) -> _Seen:
    found, sample = _Seen(len(column)), Thinned(len(column))
    for part in column.looked():
        values = part.numbers[~part.missing]
        found.n += len(values)
        found.n_infinite += int(part.infinite.sum())
        found.n_at_rest += int(part.rest.sum())
        if not len(values):
            continue
        found.low = min(found.low, float(values.min()))
        found.high = max(found.high, float(values.max()))
        finite = values[np.isfinite(values)]
        if len(finite):
            found.finite_low = min(found.finite_low, float(finite.min()))
            found.finite_high = max(found.finite_high, float(finite.max()))
        sample.add(values)
    found.plus, found.minus = found.high == math.inf, found.low == -math.inf
    found.sample = sample.sorted()
    return found


def _added(column: Series, seen: _Seen, known: Ordered) -> _Added:
    """Add up the finite values and their tails, and fill their histogram."""
    if seen.finite_low > seen.finite_high:
        return _Added(1.0, 0.0, (0.0,) * 4, None, None)
    size = size_of(max(abs(seen.finite_low), abs(seen.finite_high)))
    sample = seen.sample[np.isfinite(seen.sample)] / size
    shift = float(sample[len(sample) // 2]) if len(sample) else seen.finite_low / size
    bins = bins_of(seen.finite_low, seen.finite_high)
    sums, counts = Sums(), np.zeros(BINS, np.int64)
    tails = None
    if not (seen.plus or seen.minus):
        tails = Tails.beyond(known.at(tail_ranks(seen.n)) / size)
    for values in _finite(column):
        scaled = values / size
        moved = scaled - shift
        squares = moved * moved
        sums.add(moved, squares, squares * moved, squares * squares)
        if tails is not None:
            tails.add(scaled)
        if bins is not None:
            counts += bins.count(values)
    histogram = None if bins is None else bins.histogram(counts)
    both = None if tails is None else tails.both()
    return _Added(size, shift, sums.total(), both, histogram)


def _mean_interval(seen: _Seen, added: _Added) -> Interval | None:
    """Return the interval of the mean, by the central moments and the tails."""
    if added.tails is None:
        return None
    mean, second, third, fourth = (total / seen.n for total in added.sums)
    powers = (
        max(0.0, second - mean**2),
        third - 3 * mean * second + 2 * mean**3,
        fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4,
    )
    stratum = Stratum(seen.n, added.shift + mean, powers, added.tails)
    return scaled_interval([stratum], added.size, seen.low)


def _moments(seen: _Seen, added: _Added) -> tuple[float | None, float | None]:
    """Return mean and deviation as `statistics.moments` does; ∞ where a value is."""
    if seen.plus or seen.minus:
        if seen.plus and seen.minus:
            return None, None
        mean = math.inf if seen.plus else -math.inf
        return mean, math.inf if seen.n > 1 else None
    mean = (added.shift + added.sums[0] / seen.n) * added.size
    if seen.n < 2:
        return mean, None
    spread = max(0.0, added.sums[1] - added.sums[0] ** 2 / seen.n) / (seen.n - 1)
    return mean, math.sqrt(spread) * added.size


def _ordered(column: Series, seen: _Seen) -> Ordered:
    """Return the ranks that percentiles and their intervals take."""
    places = places_of(tuple(PERCENTILES.values()), seen.n)
    ranks = {int(rank) for rank in (*places.below, *places.above)}
    ranks |= set(tail_ranks(seen.n))
    for p in PERCENTILES.values():
        ranks |= set(order_ranks(seen.n, p) or ())
    found = order_statistics(lambda: _known(column), seen.n, ranks, seen.sample)
    return Ordered(seen.n, found)


def _between(known: Ordered, ranks: tuple[int, int] | None) -> Interval | None:
    if ranks is None:
        return None
    low, high = known.at(ranks)
    return float(low), float(high)


def percentiles(
    numbers: Floats, levels: Sequence[float]
) -> tuple[int, list[float | None]]:
    """Return how many of N numbers are none of NaN, and their quantiles.

    Args:
        numbers: [N], mapped or in memory.
        levels: of the quantiles; they are None where there is no number.
    """

    def passes() -> Iterator[Floats]:
        for first in range(0, len(numbers), WINDOW):
            part = np.array(numbers[first : first + WINDOW])
            yield part[~np.isnan(part)]
            let_go(numbers)

    sample, n = Thinned(len(numbers)), 0
    for part in passes():
        n += len(part)
        sample.add(part)
    if not n:
        return 0, [None] * len(levels)
    places = places_of(tuple(levels), n)
    ranks = {int(rank) for rank in (*places.below, *places.above)}
    known = Ordered(n, order_statistics(passes, n, ranks, sample.sorted()))
    return n, quantiles_at(known.at(places.below), known.at(places.above), places)


def _known(column: Series) -> Iterator[Floats]:
    for part in column.looked():
        yield part.numbers[~part.missing]


def _finite(column: Series) -> Iterator[Floats]:
    for part in column.looked():
        yield part.numbers[np.isfinite(part.numbers)]
