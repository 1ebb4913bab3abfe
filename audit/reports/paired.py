"""The change of a number of a report from a baseline: what `--max-increase` limits.

Two models on the same inputs are compared input by input. Any statistic s has the
change s(new) − s(old) over the inputs in both reports, and its interval is a percentile
bootstrap that draws inputs, not numbers: what both models find hard, both find hard in
every resample. So a model has changed by nothing from itself, and by nothing surely.

Where the inputs differ, or exact values were taken at different ones, there are no
pairs. Then each report's own number and interval are taken, and the ends are put
together as those of independent estimates (Zou & Donner):

    L = d − √((new − new_l)² + (old_u − old)²)
    U = d + √((new_u − new)² + (old − old_l)²)

References:
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    Zou & Donner, Construction of confidence limits about effect measures, Statistics in
    Medicine 27 (2008).
"""

from __future__ import annotations

import math

import numpy as np

from audit.config import Threshold
from audit.reports.baseline import allowed
from audit.reports.changes import (
    MOST_RESAMPLED,
    bootstrap_interval,
    differences,
    normal_interval,
    resamples,
)
from audit.reports.keys import split_key
from audit.reports.quantities import PERCENTILES
from audit.reports.report import Change, Interval, Number, Report
from audit.reports.sampling import ends, redrawn, weighted_quantiles
from audit.reports.statistics import moments, order_ranks, quantiles
from audit.reports.stored import Stored
from audit.reports.values import Floats


def change_from(old: Stored, new: Stored, limit: Threshold) -> Change:
    """Return how the number that a limit names changed from a baseline.

    Args:
        old: the baseline.
        new: the report that is judged.
        limit: on the change; its `step` says what is allowed.
    """
    divergence, quantity, statistic = split_key(limit.key)
    why = _unpaired(old, new, divergence, quantity)
    if why:
        key = divergence, quantity, statistic
        found = _unlike(old.report, new.report, key, why)
    else:
        found = _alike(*_common(old, new, divergence, quantity), statistic)
    return found.model_copy(update={"allowed": allowed(limit.step, found.old)})


def _unpaired(old: Stored, new: Stored, divergence: str, quantity: str) -> str:
    """Return why the inputs of two reports cannot be paired; "" if they can."""
    if not (len(old.index) and len(new.index)):
        return "a report lists no inputs, and its rows file is not beside it"
    reports = (old.report, new.report)
    if old.report.data.sha256 != new.report.data.sha256:
        return "the baseline audited other data"
    if not len(np.intersect1d(old.index, new.index)):
        return "no input is in both reports"
    checked = [r.divergences[divergence].summary[quantity].n_checked for r in reports]
    if checked != [None, None] and old.report.checked != new.report.checked:
        return "exact values were taken at other inputs; --verify all takes them at all"
    return ""


def _common(
    old: Stored, new: Stored, divergence: str, quantity: str
) -> tuple[Floats, Floats, Floats]:
    """Return old and new values of the inputs in both, and what each stands for."""
    index, *places = np.intersect1d(old.index, new.index, True, return_indices=True)
    before = old.column(divergence, quantity)[places[0]]
    after = new.column(divergence, quantity)[places[1]]
    weights = np.ones(len(index))
    checked = new.report.checked
    summary = new.report.divergences[divergence].summary[quantity]
    if checked is not None and summary.n_checked is not None:
        stands = dict(zip(checked.index, checked.weights, strict=True))
        weights = np.array([stands.get(one, 0.0) for one in index.tolist()])
    both = ~(np.isnan(before) | np.isnan(after)) & (weights > 0)
    return before[both], after[both], weights[both]


def _alike(before: Floats, after: Floats, weights: Floats, statistic: str) -> Change:
    """Return the change over pairs [n]."""
    n = len(before)
    if not n:
        why = "no input has a value in both reports"
        return Change(old=None, change=None, ci95=None, allowed=0, n=0, unpaired=why)
    old, new = (_statistic(v, weights, statistic) for v in (before, after))
    change = None if old is None or new is None else 0.0 if old == new else new - old
    apart = differences(before, after)
    interval: Interval = (0.0, 0.0)
    if apart.any():
        interval = _interval(before, after, weights, statistic)
    if statistic == "mean":
        change = moments(apart)[0] if (weights == 1).all() else change
    return Change(old=old, change=change, ci95=interval, allowed=0, n=n)


def _statistic(values: Floats, weights: Floats, statistic: str) -> Number:
    if statistic in PERCENTILES:
        order = np.argsort(values, kind="stable")
        level = PERCENTILES[statistic]
        if (weights == 1).all():
            return quantiles(values[order], [level])[0]
        found = weighted_quantiles(values[order], weights[order][None], [level])
        return float(found[0, 0])
    if statistic == "mean" and not (weights == 1).all():
        return float(weights @ values / weights.sum())
    mean, std = moments(values)
    low, high = float(values.min()), float(values.max())
    return {"mean": mean, "std": std, "min": low, "max": high}[statistic]


def _interval(
    before: Floats, after: Floats, weights: Floats, statistic: str
) -> Interval:
    """Return the 95 % interval of a change; None where there is none to be had."""
    n = len(before)
    if statistic == "mean" and (weights == 1).all():
        apart = differences(before, after)
        if n < 2:
            return None
        many = n > MOST_RESAMPLED
        return (
            normal_interval(apart) if many else bootstrap_interval(apart, resamples(n))
        )
    if statistic not in PERCENTILES or order_ranks(n, PERCENTILES[statistic]) is None:
        return None
    level = PERCENTILES[statistic]
    one, other = (np.argsort(v, kind="stable") for v in (before, after))
    moves = [
        differences(
            weighted_quantiles(before[one], drawn[:, one], [level])[:, 0],
            weighted_quantiles(after[other], drawn[:, other], [level])[:, 0],
        )
        for drawn in redrawn(weights, np.unique(weights, return_inverse=True)[1])
    ]
    return ends(np.concatenate(moves))


def _unlike(old: Report, new: Report, key: tuple[str, str, str], why: str) -> Change:
    """Return the change between two numbers that have no inputs in common."""
    divergence, quantity, statistic = key
    summaries = [r.divergences[divergence].summary[quantity] for r in (old, new)]
    before, after = (getattr(s, statistic) for s in summaries)
    spans = [getattr(s.ci95, statistic, None) for s in summaries]
    n = min(summary.n for summary in summaries)
    if before is None or after is None:
        return Change(old=before, change=None, ci95=None, allowed=0, n=n, unpaired=why)
    change = 0.0 if before == after else after - before
    interval, (first, second) = None, spans
    if first and second and all(map(math.isfinite, (*first, *second, change))):
        below = math.hypot(after - second[0], first[1] - before)
        above = math.hypot(second[1] - after, before - first[0])
        interval = change - below, change + above
    return Change(
        old=before, change=change, ci95=interval, allowed=0, n=n, unpaired=why
    )
