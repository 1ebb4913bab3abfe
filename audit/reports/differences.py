"""Intervals of the mean of paired differences, and of that as a share of the old mean.

The mean of the differences d = new − old has the interval of `ground.means`, of strata
where inputs stand for others (`sampling`). Where the values know of none, there is
none: fewer than 32 pairs, or a tail so long that the mean may not exist. A bootstrap of
so few or so skewed differences misses with one end in 7 to 28 of 100 samples, not in
2.5. What has changed nowhere has changed by nothing, surely; with d = ∞ at an input the
mean is ∞, surely.

A change by the share c of |B|, B the mean of the old values b, leaves differences

    e(c) = new − old − c sign(B) old

of mean zero. The interval is of all c for which that of the mean of e(c) holds zero
(Fieller). An end solves u(c) = 0 for an end u of the latter, by c ← c + u(c)/|B|, which
takes off what would remain if e(c) moved with B alone; it converges where B itself is
told from zero, and otherwise there is no interval. A share that is the same at all
inputs leaves nothing but rounding, which counts as zero.

Source: Fieller, Some problems in interval estimation, J. R. Statist. Soc. B 16 (1954).
"""

from __future__ import annotations

import math

import numpy as np

from audit.reports.means import Interval, mean_interval
from audit.reports.sampling import Sample, stratified_interval
from audit.reports.values import Floats

_STEPS = 200
_CLOSE = 1e-9  # of a share, or of one where that is more
_ROUNDING = 1e-13  # of the values that are taken from each other


def differences(before: Floats, after: Floats) -> Floats:
    """Return new minus old [n]; zero where they are the same but for rounding.

    One infinity is the same as itself.
    """
    with np.errstate(invalid="ignore"):
        apart = after - before
        alike = np.abs(apart) <= _ROUNDING * (np.abs(after) + np.abs(before))
        return np.where((before == after) | (alike & np.isfinite(apart)), 0.0, apart)


def difference_interval(apart: Floats, weights: Floats) -> Interval | None:
    """Return the 95 % interval of the mean of differences; None where none is known.

    Args:
        apart: new minus old [n].
        weights: for how many inputs each stands [n]; alike in a stratum.
    """
    if not apart.any():
        return 0.0, 0.0
    infinite = np.unique(apart[np.isinf(apart)])
    if len(infinite):
        sure = float(infinite[0])
        return (sure, sure) if len(infinite) == 1 else None
    if (weights == weights[0]).all():
        return mean_interval(np.sort(apart), signed=True)
    order = np.argsort(apart, kind="stable")
    strata = np.unique(weights, return_inverse=True)[1]
    sample = Sample(order, weights[order], strata[order])
    return stratified_interval(apart[order], sample, signed=True)


def relative_interval(
    before: Floats, after: Floats, weights: Floats
) -> Interval | None:
    """Return the 95 % interval of the change of a mean, as a share of the old |mean|.

    Args:
        before: old values [n].
        after: new ones [n].
        weights: for how many inputs each stands [n]; alike in a stratum.
    """
    mean = float(weights @ before / weights.sum())
    if not (np.isfinite(after).all() and 0 < abs(mean) < math.inf):
        return None
    start = float(weights @ differences(before, after) / weights.sum()) / abs(mean)
    low, high = (_end(before, after, weights, (mean, start), side) for side in (0, 1))
    return None if low is None or high is None else (low, high)


def _end(
    before: Floats,
    after: Floats,
    weights: Floats,
    known: tuple[float, float],
    side: int,
) -> float | None:
    """Return the lower or upper end of the share, from the mean and its change."""
    mean, share = known
    for _ in range(_STEPS):
        old = (1 + math.copysign(1.0, mean) * share) * before
        left = after - old
        rounding = np.abs(left) <= _ROUNDING * (np.abs(after) + np.abs(old))
        found = difference_interval(np.where(rounding, 0.0, left), weights)
        if found is None:
            return None
        step = found[side] / abs(mean)
        share += step
        if not abs(step) > _CLOSE * max(1.0, abs(share)):
            return share if math.isfinite(share) else None
    return None
