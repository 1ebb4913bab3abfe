"""The statistics of very many inputs, in the memory of a few windows of them.

Up to `FEW` inputs, and of what was checked at a few, they are those of `statistics`.
Beyond, two passes: the first counts, finds the ends and draws a sample; the second adds
up, fills the histogram and finds the order statistics, which are exact (`selection`).
Sums are of deviations from the sample's median c, window by window and added without
error (`math.fsum`):

    mean = c + Σ(x − c)/n,    variance = (Σ(x − c)² − (Σ(x − c))²/n) / (n − 1)

The median is within a deviation of the mean, so that at most a bit cancels; and it is
one of the values, so that equal ones have no deviation.

Source: Chan, Golub & LeVeque, Algorithms for computing the sample variance, The
American Statistician 37 (1983).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from audit.ground.storage.mapped import let_go
from audit.reports import statistics
from audit.reports.quantities import PERCENTILES, STATISTICS
from audit.reports.selection import Ordered, Thinned, order_statistics
from audit.reports.series import Series
from audit.reports.statistics import (
    BINS,
    Histogram,
    Interval,
    Statistics,
    bins_of,
    mean_interval,
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
    added = _added(column, seen)
    known = _ordered(column, seen)
    mean, std = _moments(seen, added)
    places = places_of(PERCENTILES.values(), seen.n)
    levels = quantiles_at(known.at(places.below), known.at(places.above), places)
    numbers: dict[str, float | None] = {
        "mean": mean,
        "std": std,
        "min": seen.low,
        **dict(zip(PERCENTILES, levels, strict=True)),
        "max": seen.high,
    }
    intervals = {"mean": mean_interval(np.array([seen.low]), mean, std, seen.n)} | {
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
    sum: float
    squares: float
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


def _added(column: Series, seen: _Seen) -> _Added:
    """Add up the finite values, and fill their histogram."""
    if seen.finite_low > seen.finite_high:
        return _Added(1.0, 0.0, 0.0, 0.0, None)
    most = max(abs(seen.finite_low), abs(seen.finite_high))
    size = 2.0 ** float(np.frexp(most)[1] - 1)  # the sum of huge ones overflows
    known = seen.sample[np.isfinite(seen.sample)] / size
    shift = float(known[len(known) // 2]) if len(known) else seen.finite_low / size
    bins = bins_of(seen.finite_low, seen.finite_high)
    sums, squares, counts = [], [], np.zeros(BINS, np.int64)
    for values in _finite(column):
        moved = values / size - shift
        sums.append(float(moved.sum()))
        squares.append(float(np.square(moved).sum()))
        if bins is not None:
            counts += bins.count(values)
    histogram = None if bins is None else bins.histogram(counts)
    return _Added(size, shift, math.fsum(sums), math.fsum(squares), histogram)


def _moments(seen: _Seen, added: _Added) -> tuple[float | None, float | None]:
    """Return mean and deviation as `statistics.moments` does; ∞ where a value is."""
    if seen.plus or seen.minus:
        if seen.plus and seen.minus:
            return None, None
        mean = math.inf if seen.plus else -math.inf
        return mean, math.inf if seen.n > 1 else None
    mean = (added.shift + added.sum / seen.n) * added.size
    if seen.n < 2:
        return mean, None
    spread = max(0.0, added.squares - added.sum**2 / seen.n) / (seen.n - 1)
    return mean, math.sqrt(spread) * added.size


def _ordered(column: Series, seen: _Seen) -> Ordered:
    """Return the ranks that percentiles and their intervals take."""
    places = places_of(PERCENTILES.values(), seen.n)
    ranks = {int(rank) for rank in (*places.below, *places.above)}
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
    places = places_of(levels, n)
    ranks = {int(rank) for rank in (*places.below, *places.above)}
    known = Ordered(n, order_statistics(passes, n, ranks, sample.sorted()))
    return n, quantiles_at(known.at(places.below), known.at(places.above), places)


def _known(column: Series) -> Iterator[Floats]:
    for part in column.looked():
        yield part.numbers[~part.missing]


def _finite(column: Series) -> Iterator[Floats]:
    for part in column.looked():
        yield part.numbers[np.isfinite(part.numbers)]
