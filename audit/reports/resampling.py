"""Resamples of inputs within their strata, and the intervals that they give.

The N inputs are a sample themselves, of what the model will meet. Another N would have
other numbers of inputs in each stratum: (N₁', N₂', …) ~ Multinomial(N, N_h/N). So what
a drawn input of stratum h stands for is multiplied by N_h'/N_h. Without that the m
worst inputs would be as many in every resample, and a percentile among them as good as
known: b of them lie beyond it, with the variance b (1 − b/m) within the stratum, and

    b (1 − b/m) + (b/m)² m (1 − m/N) = b (1 − b/N)

with the factor, that of a binomial number out of N.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 8.3; Rao &
Wu, Resampling inference with complex survey data, JASA 83 (1988), for scaled weights.
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
    sizes = np.array([weights[place].sum() for place in places])
    generator = np.random.default_rng(_SEED)
    for counts in _drawn(tuple(map(len, places))):
        drawn = np.empty((len(counts[0]), len(weights)))
        factors = _other_sizes(generator, sizes, len(drawn))
        for where, count, factor in zip(places, counts, factors, strict=True):
            drawn[:, where] = count * factor[:, None]
        drawn *= weights
        yield drawn


def _other_sizes(generator: np.random.Generator, sizes: Floats, count: int) -> Floats:
    """Return the sizes of the strata of other inputs, relative to these [h, count]."""
    share = sizes / sizes.sum()
    total = max(1, round(float(sizes.sum())))
    found: Floats = generator.multinomial(total, share, count).T / (
        total * share[:, None]
    )
    return found


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
