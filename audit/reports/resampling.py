"""Resamples of inputs within their strata, and the intervals that they give.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 8.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from audit.ground.distinct import distinct
from audit.reports.means import Interval
from audit.reports.values import Floats

RESAMPLES, FEWER = 999, 199
MOST_RESAMPLED = 10_000
"""Of more inputs there are fewer resamples."""
_NUMBERS = 2**21  # of weights at the same time
_SEED = 20_012
_ENDS = (0.025, 0.975)


def members(strata: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the places of each stratum's inputs, by ascending stratum."""
    return [(strata == stratum).nonzero()[0] for stratum in distinct(strata)]


def redrawn(weights: Floats, strata: NDArray[np.intp]) -> Iterator[Floats]:
    """Yield what resampled inputs stand for [r, k], a few resamples at a time.

    Inputs are drawn within their strata, from a fixed seed: the same draws for every
    column of as many values.
    """
    places = members(strata)
    for counts in _drawn(tuple(map(len, places))):
        drawn = np.empty((len(counts[0]), len(weights)))
        for where, count in zip(places, counts, strict=True):
            drawn[:, where] = count
        drawn *= weights
        yield drawn


def _drawn(sizes: tuple[int, ...]) -> Iterable[list[Floats]]:
    """Return the draws of `_drawn_anew`, kept where they are few."""
    few = resamples(sum(sizes)) * sum(sizes) <= _NUMBERS
    return _kept(sizes) if few else _drawn_anew(sizes)


@lru_cache(maxsize=2)
def _kept(sizes: tuple[int, ...]) -> tuple[list[Floats], ...]:
    return tuple(_drawn_anew(sizes))


def _drawn_anew(sizes: tuple[int, ...]) -> Iterator[list[Floats]]:
    """Yield how often each member of each stratum is drawn [r, size], by stratum."""
    k = sum(sizes)
    generator = np.random.default_rng(_SEED)
    step = max(1, _NUMBERS // k)
    for first in range(0, resamples(k), step):
        rows = min(step, resamples(k) - first)
        begin = np.arange(rows)[:, None]
        yield [
            np.bincount(
                (begin * size + generator.integers(0, size, (rows, size))).ravel(),
                minlength=rows * size,
            )
            .reshape(rows, size)
            .astype(float)
            for size in sizes
        ]


def resamples(k: int) -> int:
    """Return how many resamples of k inputs are drawn."""
    return RESAMPLES if k <= MOST_RESAMPLED else FEWER


def ends(replicas: Floats) -> Interval:
    """Return the 95 % percentile interval of resampled numbers [R]."""
    ordered = np.sort(replicas)
    low, high = (ordered[round(end * (len(ordered) - 1))] for end in _ENDS)
    return float(low), float(high)
