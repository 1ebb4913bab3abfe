"""The interval of the mean of a column of zeros and ones: a share of the inputs.

Where every input was looked at it is Clopper and Pearson's (`ground.shares`). Of a
sample whose values all are the same there is none: a mean without spread would call
certain what one more input may refute. Other shares of samples are means (`sampling`).
"""

from __future__ import annotations

from audit.ground.shares import share_interval
from audit.reports.means import Interval
from audit.reports.roles import PARTED, parsed
from audit.reports.statistics import Statistics


def is_share(quantity: str) -> bool:
    """Tell whether a column holds zeros and ones."""
    return parsed(quantity)[1][-1:] == (PARTED,)


def share_intervals(found: Statistics, whole: bool) -> dict[str, Interval | None]:
    """Return the intervals of the statistics of zeros and ones, by name.

    Args:
        found: the statistics.
        whole: whether every input was looked at.
    """
    mean = found.values["mean"]
    if mean is None:
        return found.intervals
    ends = found.intervals["mean"]
    if whole:
        ends = share_interval(round(mean * found.n), found.n)
    elif found.values["min"] == found.values["max"]:
        ends = None
    return {**found.intervals, "mean": ends}
