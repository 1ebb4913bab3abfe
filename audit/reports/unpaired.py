"""The change between two numbers of reports that have no inputs to pair.

Each report's own number and interval are taken, and the ends are put together as those
of independent estimates:

    L = d − √((new − new_l)² + (old_u − old)²)
    U = d + √((new_u − new)² + (old − old_l)²)

For a share, d and the ends are logarithms.

Reference:
    Zou & Donner, Construction of confidence limits about effect measures, Statistics in
    Medicine 27 (2008).
"""

from __future__ import annotations

import math

import numpy as np

from audit.reports.baseline import Step
from audit.reports.judged import Change
from audit.reports.record import Interval
from audit.reports.summaries import Summary
from audit.reports.values import Floats


def moved(step: Step, old: Floats, new: Floats) -> Floats:
    """Return the changes [R] from old to new numbers [R], in the step's measure.

    What is the same has not changed, ∞ and 0 included.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        found = new - old
        if step.share:
            found = np.where(np.isinf(old), -1.0, found / np.abs(old))
    return np.where(old == new, 0.0, found)


def change_of_numbers(
    old: Summary, new: Summary, statistic: str, step: Step, why: str
) -> Change:
    """Return how a statistic changed between two summaries.

    Args:
        old: of the baseline.
        new: of the report that is judged.
        statistic: of both.
        step: what the change is measured in.
        why: there are no pairs.
    """
    before, after = getattr(old, statistic), getattr(new, statistic)
    found, interval = None, None
    if before is not None and after is not None:
        found = float(moved(step, np.array([before]), np.array([after]))[0])
        first, second = (getattr(s.ci95, statistic, None) for s in (old, new))
        if first and second:
            interval = _interval(step, (before, after), first, second)
    return Change(
        old=before,
        change=found,
        ci95=interval,
        allowed=step.allowed,
        relative=step.share,
        n=min(old.n, new.n),
        unpaired=why,
    )


def _interval(
    step: Step,
    numbers: tuple[float, float],
    first: tuple[float, float],
    second: tuple[float, float],
) -> Interval:
    known = (*numbers, *first, *second)
    if not all(map(math.isfinite, known)) or (step.share and min(known) <= 0):
        return None
    scaled = [math.log(value) if step.share else value for value in known]
    before, after, low, high, below, above = scaled
    middle = after - before
    ends = (
        middle - math.hypot(after - below, high - before),
        middle + math.hypot(above - after, before - low),
    )
    return (math.expm1(ends[0]), math.expm1(ends[1])) if step.share else ends
