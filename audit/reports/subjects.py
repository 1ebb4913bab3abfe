"""What a limit is held against: a number of a report, or its change from a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass

from audit.config import Threshold
from audit.reports.judged import Change
from audit.reports.keys import split_key
from audit.reports.quantities import FEWEST_VALUES, PERCENTILES
from audit.reports.record import Interval, Number
from audit.reports.summaries import Summary
from audit.reports.text import count

_TAIL = 0.025
_ROUNDING = 1e-6
"""Of a baseline's number: what the rounding of another machine can make of it."""


@dataclass(frozen=True)
class Subject:
    """A number under a limit.

    Args:
        value, interval: of the number; absent: why there is no value.
        bound: what it has to keep; upper: from below.
        needed: what an interval would take, in words.
        changed: whether it is a change.
    """

    value: Number
    interval: Interval
    absent: str
    bound: float
    upper: bool
    needed: str
    changed: bool = False

    def keeps(self, value: float) -> bool:
        """Tell whether a value keeps the bound."""
        return value <= self.bound if self.upper else value >= self.bound

    def judged(self, gate: str) -> tuple[Number, str]:
        """Return the number that decides, and why there is none.

        Where the upper gate finds no interval, the value can still break the limit,
        but not keep it.
        """
        if self.value is None or gate == "point":
            return self.value, self.absent
        if self.interval is not None:
            return self.interval[1 if self.upper else 0], ""
        if not self.keeps(self.value):
            return self.value, ""
        return None, f"--gate upper needs a 95 % interval: {self.needed}"


def of_value(summary: Summary, limit: Threshold) -> Subject:
    """Return the number of a report that a limit is on."""
    *_, statistic = split_key(limit.key)
    value: Number = getattr(summary, statistic)
    absent = f"{statistic} does not exist for {count(summary.n, 'value')}"
    if not summary.n:
        absent = f"it has no value ({summary.reason or 'nothing was audited'})"
    return Subject(
        value,
        getattr(summary.ci95, statistic, None),
        absent if value is None else "",
        limit.limit,
        limit.op == "<=",
        _needed(statistic, summary.n, summary.n_checked is not None),
    )


def of_change(change: Change, limit: Threshold, checked: bool) -> Subject:
    """Return the change that a limit is on; one within rounding is none.

    `checked`: it is of some of the inputs, which stand for all.
    """
    *_, statistic = split_key(limit.key)
    upper = limit.op == "<="
    size = 1.0 if change.relative else abs(change.old or 0.0)
    allowed = change.allowed + _ROUNDING * (size if math.isfinite(size) else 0.0)
    return Subject(
        change.change,
        change.ci95,
        "" if change.change is not None else "it has no change from the baseline",
        allowed if upper else -allowed,
        upper,
        _needed(statistic, change.n, checked and not change.unpaired),
        changed=True,
    )


def _needed(statistic: str, n: int, checked: bool) -> str:
    """Say what a 95 % interval of a statistic would take.

    A percentile p lies between two of n values with that probability only if p^n and
    (1 − p)^n are at most 2.5 %.
    """
    if checked and statistic in (*PERCENTILES, "mean"):
        values = count(n, "checked input")
        infinite = ", or one of them is ∞" if statistic == "mean" else ""
        return f"{values} do not resolve {statistic}{infinite}; pass --verify all"
    if statistic in PERCENTILES:
        p = PERCENTILES[statistic]
        least = math.ceil(math.log(_TAIL) / math.log(max(p, 1 - p)))
        return f"{statistic} needs {least} inputs, there are {n}"
    if statistic != "mean":
        return (
            f"{statistic} has none, however many inputs; limit a percentile or the mean"
        )
    if n >= FEWEST_VALUES:
        return (
            f"a mean has none with ∞ in it, or a tail so long that {n} inputs do not "
            "tell it; limit a percentile"
        )
    return f"a mean needs {FEWEST_VALUES} inputs, there are {n}"
