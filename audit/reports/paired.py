"""The change of a number of a report from a baseline: what `--max-increase` limits.

Two models on the same inputs are compared input by input. Any statistic s has the
change s(new) − s(old) over the inputs in both reports, or that as a share of |s(old)|.
The interval of a mean is that of paired differences (`differences`), that of a
percentile a percentile bootstrap that draws inputs, not numbers: what both models find
hard, both find hard in every resample. Of a sample there is none where it does not
resolve the percentile of either model (`sampling`). So a model has changed by nothing
from itself, and by nothing surely; one that is 12 % worse everywhere, by 12 %. Inputs
that are ∞ in both have not changed.

Where the inputs differ, or exact values were taken at different ones, there are no
pairs (`unpaired`).

Reference:
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.config import Threshold
from audit.reports.alike import other_inputs
from audit.reports.baseline import Step
from audit.reports.differences import (
    difference_interval,
    differences,
    relative_interval,
)
from audit.reports.judged import Change
from audit.reports.keys import split_key
from audit.reports.quantities import PERCENTILES
from audit.reports.record import Interval, Number
from audit.reports.resampling import ends, redrawn
from audit.reports.sampling import Sample, Weighted
from audit.reports.statistics import moments, order_ranks, quantiles
from audit.reports.stored import Places, Stored, in_both, stands_for
from audit.reports.unpaired import change_of_numbers, moved
from audit.reports.values import Floats
from audit.reports.weighted import weighted_quantiles


def change_from(old: Stored, new: Stored, limit: Threshold) -> Change:
    """Return how the number that a limit names changed from a baseline.

    Args:
        old: the baseline.
        new: the report that is judged.
        limit: on the change; its `step` says what is allowed.
    """
    divergence, quantity, statistic = split_key(limit.key)
    step, why = Step.read(limit.step), _unpaired(old, new, divergence, quantity)
    if not why:
        before, after, weights = _common(old, new, divergence, quantity)
        if len(before):
            found = _Pairs(before, after, weights, statistic, step).change()
            measured = old.report.divergences[divergence].summary[quantity].n
            return found.model_copy(update={"n_old": measured})
        why = "no input has a value in both reports"
    summaries = [r.report.divergences[divergence].summary[quantity] for r in (old, new)]
    return change_of_numbers(summaries[0], summaries[1], statistic, step, why)


def _unpaired(old: Stored, new: Stored, divergence: str, quantity: str) -> str:
    """Return why the inputs of two reports cannot be paired; "" if they can."""
    if not (len(old.index) and len(new.index)):
        return "a report lists no inputs, and its rows file is not beside it"
    reports = (old.report, new.report)
    if other_inputs(*reports):
        return "the baseline audited other data"
    if not len(in_both(old, new)[0]):
        return "no input is in both reports"
    checked = [r.divergences[divergence].summary[quantity].n_checked for r in reports]
    if checked != [None, None] and old.report.checked != new.report.checked:
        return "exact values were taken at other inputs; --verify all takes them at all"
    return ""


def _common(
    old: Stored, new: Stored, divergence: str, quantity: str
) -> tuple[Floats, Floats, Floats]:
    """Return old and new values of the inputs in both, and what each stands for."""
    index, *places = in_both(old, new)
    before = old.column(divergence, quantity)[places[0]]
    after = new.column(divergence, quantity)[places[1]]
    after = np.where(differences(before, after) == 0, before, after)
    summary = new.report.divergences[divergence].summary[quantity]
    stands = None if summary.n_checked is None else stands_for(new.report, index)
    weights = np.ones(len(index)) if stands is None else stands
    both = ~(np.isnan(before) | np.isnan(after)) & (weights > 0)
    return before[both], after[both], weights[both]


@dataclass(frozen=True)
class _Pairs:
    """Old and new values of n inputs [n], and what each stands for [n].

    Args:
        statistic: that is compared. step: what its change is measured in.
    """

    before: Floats
    after: Floats
    weights: Floats
    statistic: str
    step: Step

    def change(self) -> Change:
        """Return the change of the statistic with its interval."""
        old, new = self._of(self.before), self._of(self.after)
        found = None
        if old is not None and new is not None:
            found = float(moved(self.step, np.array([old]), np.array([new]))[0])
        if self.statistic == "mean":
            found = float(self._moved_mean(self.weights[None])[0])
        return Change(
            old=old,
            change=found,
            ci95=self._interval(),
            allowed=self.step.allowed,
            relative=self.step.share,
            n=len(self.before),
        )

    def _of(self, values: Floats) -> Number:
        if self.statistic in PERCENTILES:
            order = np.argsort(values, kind="stable")
            level = PERCENTILES[self.statistic]
            if (self.weights == 1).all():
                return quantiles(values[order], [level])[0]
            weights = self.weights[order][None]
            return float(weighted_quantiles(values[order], weights, [level])[0, 0])
        if self.statistic == "mean" and np.isfinite(values).all():
            return float(self.weights @ values / self.weights.sum())
        mean, std = moments(values)
        low, high = float(values.min()), float(values.max())
        return {"mean": mean, "std": std, "min": low, "max": high}[self.statistic]

    def _interval(self) -> Interval:
        """Return the 95 % interval of the change; None where there is none."""
        if (self.before == self.after).all():
            return (0.0, 0.0)
        if self.statistic == "mean":
            return self._interval_of_mean()
        level = PERCENTILES.get(self.statistic)
        if level is None or not order_ranks(len(self.before), level):
            return None
        strata = np.unique(self.weights, return_inverse=True)[1]
        orders = [np.argsort(v, kind="stable") for v in (self.before, self.after)]
        if not self._told(level, orders, strata):
            return None
        drawn = redrawn(self.weights, strata)
        moves = []
        for weights in drawn:
            found = [
                weighted_quantiles(values[order], weights[:, order], [level])
                for values, order in zip((self.before, self.after), orders, strict=True)
            ]
            moves.append(moved(self.step, found[0][:, 0], found[1][:, 0]))
        return ends(np.concatenate(moves))

    def _told(self, level: float, orders: list[Places], strata: Places) -> bool:
        """Tell whether inputs that stand for others see beyond both percentiles."""
        if (self.weights == 1).all():
            return True
        return all(
            Weighted(v[rows], Sample(rows, self.weights[rows], strata[rows])).tells(
                level
            )
            for v, rows in zip((self.before, self.after), orders, strict=True)
        )

    def _interval_of_mean(self) -> Interval:
        if not self.step.share:
            apart = differences(self.before, self.after)
            return difference_interval(apart, self.weights)
        kept = ~(np.isinf(self.before) & (self.before == self.after))
        found = self.before[kept], self.after[kept], self.weights[kept]
        return relative_interval(*found)

    def _moved_mean(self, weights: Floats) -> Floats:
        """Return the change of the mean [R] for weights [R, n]."""
        kept = ~(np.isinf(self.before) & (self.before == self.after))
        sums = [_weighed(weights[:, kept], v[kept]) for v in (self.before, self.after)]
        total = weights.sum(axis=1) if not self.step.share else 1.0
        return moved(self.step, sums[0] / total, sums[1] / total)


def _weighed(weights: Floats, values: Floats) -> Floats:
    """Return weighted sums [R]; ∞ where a value with a weight is."""
    finite = np.isfinite(values)
    sums = weights @ np.where(finite, values, 0.0)
    there = (weights[:, ~finite] > 0).any(axis=1)
    return np.where(there, np.inf, sums)
