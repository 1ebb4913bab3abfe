"""How far a percentile may lie beyond what the drawn inputs have shown of its tail.

Of N inputs m worst ones are all looked at, and n of the R = N − m others. A p-quantile
lies above U with a chance of less than 2.5 in 100 if at most k of the N values do, k
from the binomial law (`statistics.order_ranks`). Among the worst they are counted. Of
the others n draws hardly see a tail of so few, and a resample holds none that the draws
have missed: where the order of the worst foretells that of the values badly, an end by
resampling alone lay too low in up to 60 of 100 samples. So their number is

    R (j + 2 √j) / n           where j ≥ K of the n lie above U,
    (1 + 2 / √K) R K / n · e^(−(f(U) − f₀) / a)      where fewer do,

the tail of the draws continued as an exponential law of f = log, a Pareto law, from the
K largest: f₀ is f of the next one below, and a the mean of f − f₀ (Hill). The factor is
two standard errors of a count of K. f is the identity where values are not of one sign.

The upper end is the smallest value U that has at most k above it by both, and no lower
than resampling says; there is none where no value has. A lower tail is mirrored.

Source: Hill, A simple general approach to inference about the tail of a distribution,
Annals of Statistics 3 (1975); Woodruff, Confidence intervals for medians and other
position measures, JASA 47 (1952), for ends by counts.
"""

from __future__ import annotations

import math

import numpy as np

from audit.reports.means import Interval
from audit.reports.statistics import order_ranks
from audit.reports.values import Floats

TAIL = 8
"""K, the largest of the draws, that show how the tail goes on."""


def reaching(
    interval: Interval, values: Floats, weights: Floats, p: float
) -> Interval | None:
    """Return the interval of a percentile as far out as its tail may go.

    Args:
        interval: by resamples.
        values: of the sample [k], ascending.
        weights: how many inputs each stands for [k]; 1 of those that are all looked at.
        p: the percentile's share.

    Returns:
        None where no value is surely beyond it.
    """
    if p == 0.5 or (weights > 1).all() or (weights == 1).all():
        return interval
    low, high = interval
    if p > 0.5:
        end = _upper_end(values, weights, p)
        return None if end is None else (low, max(high, end))
    end = _upper_end(-values[::-1], weights[::-1], 1 - p)
    return None if end is None else (min(low, -end), high)


def _upper_end(values: Floats, weights: Floats, p: float) -> float | None:
    total = max(1, round(float(weights.sum())))
    ranks, drawn = order_ranks(total, p), weights > 1
    if ranks is None or np.count_nonzero(drawn) <= TAIL:
        return None
    above = len(values) - values.searchsorted(values, "right")
    others = values[drawn]
    seen = len(others) - others.searchsorted(values, "right")
    each = float(weights[drawn].sum()) / len(others)
    unseen = each * np.where(
        seen < TAIL, _continued(values, others), seen + 2 * np.sqrt(seen)
    )
    unseen = np.where(np.isposinf(values), 0.0, unseen)  # nothing lies above ∞
    few = above - seen + unseen <= total - 1 - ranks[1] + 0.5
    return float(values[few.argmax()]) if few.any() else None


def _continued(values: Floats, others: Floats) -> Floats:
    """Return how many of the draws would lie above each value, as their tail goes on.

    ∞ where the tail does not tell.
    """
    with np.errstate(all="ignore"):
        largest, scaled = _scaled(others[-TAIL - 1 :]), _scaled(values)
        excess = largest[1:].mean() - largest[0]
        share = np.exp(-(scaled - largest[0]) / excess)
    if excess == 0:  # all of them are equal
        share = np.where(values > others[-1], 0.0, np.inf)
    share = np.where(np.isnan(share), np.inf, share)
    found: Floats = (1 + 2 / math.sqrt(TAIL)) * TAIL * share
    return found


def _scaled(values: Floats) -> Floats:
    """Return the logarithm of their size, ascending as they do; else themselves."""
    if values[0] > 0:
        return np.log(values)
    return -np.log(-values) if values[-1] < 0 else values
