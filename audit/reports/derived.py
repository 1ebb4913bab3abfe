"""Do the statistics of a saved report follow from the inputs that it lists?

A verdict rests on a summary, and a summary on the numbers of the inputs, which stand in
the same report (up to 10,000). Whoever edits one of the two, or joins two reports, is
found out here: n, mean, standard deviation, extremes and percentiles are taken once
more, of checked inputs by what each stands for (`sampling`). That is arithmetic of a
few thousand numbers, so it is done without numpy, which a check of a report does not
load. Intervals are not taken again: another version may have other ones; but each holds
the number that it belongs to.

The quantile at level p is linear between values at the levels of
`weighted.weighted_quantiles`, which are i/(k − 1) for equal weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, pairwise
from operator import itemgetter

from audit.ground.errors import ConfigError
from audit.reports.doubts import exact_of
from audit.reports.keys import split_key
from audit.reports.listed import MOST
from audit.reports.quantities import PERCENTILES
from audit.reports.record import Interval
from audit.reports.report import Report
from audit.reports.summaries import Summary
from audit.reports.text import count, number

Pairs = list[tuple[float, float]]
"""Values, ascending, and how many inputs each stands for."""

_ROUNDING = 1e-6  # of a number; and of the way from one value to the next
_CANCELLED = 1e-12  # of the largest value


def refuse_edited(report: Report, path: str, keys: Iterable[str]) -> None:
    """Refuse a report whose statistics are not those of its inputs.

    Args:
        report: that lists its inputs; larger ones cannot be held against them.
        path: of it.
        keys: of the numbers that will be judged, whose exact values are looked at too;
            what the report lacks is passed over.

    Raises:
        ConfigError: one of them does not follow, or the inputs have been taken out.
    """
    if report.inputs is None and 0 < report.data.n_audited <= MOST:
        raise ConfigError(
            f"The report '{path}' lists none of its {report.data.n_audited} inputs",
            f"Expected every number of them: a report of up to {MOST} has them all",
            "Scan again, or take the report as it was written",
        )
    _refuse_listed_twice(report, path)
    for key in keys:
        divergence, quantity, statistic = split_key(key)
        _refuse_if_sample_unknown(report, path, divergence, quantity)
        for name in filter(None, (quantity, exact_of(report, quantity))):
            _refuse_if_edited(report, path, (divergence, name, statistic))


def _refuse_listed_twice(report: Report, path: str) -> None:
    """Refuse a report that lists an input more than once."""
    for listed in (report.inputs, report.checked):
        twice = sorted(seen_twice(listed.index if listed else ()))
        if twice:
            raise ConfigError(
                f"The report '{path}' lists input {twice[0]} more than once",
                "Expected each of its inputs once, as robaudit scan wrote them",
                "Scan again, or take the report as it was written",
            )


def seen_twice(index: Iterable[int]) -> set[int]:
    """Return what occurs more than once among some indices."""
    return {one for one, times in Counter(index).items() if times > 1}


def _refuse_if_sample_unknown(
    report: Report, path: str, divergence: str, quantity: str
) -> None:
    """Refuse a report that does not list the inputs that a number was checked at."""
    known = report.divergences.get(divergence)
    for name in (quantity, exact_of(report, quantity)):
        summary = known and known.summary.get(name or "")
        said = summary.n_checked if summary else None
        if said is None or report.schema_version == "1.0":  # that listed none
            continue
        listed = len(report.checked.index) if report.checked else 0
        if listed != said:
            what = f"{divergence}.{name} was taken at {count(said, 'checked input')}"
            raise ConfigError(
                f"The report '{path}' contradicts itself: {what}, and it lists "
                f"{listed} of them",
                "Expected which inputs were checked, and how many each stands for",
                "Scan again, or take the report as it was written",
            )


def _refuse_if_edited(report: Report, path: str, key: tuple[str, str, str]) -> None:
    divergence, quantity, statistic = key
    known = report.divergences.get(divergence)
    summary = known and known.summary.get(quantity)
    pairs = summary and _pairs(report, divergence, quantity, summary)
    if not (summary and pairs):
        return
    said = getattr(summary, statistic)
    own = _statistic(pairs, statistic, summary.n_checked is None)
    what = ".".join(key)
    _refuse_if_beyond(getattr(summary.ci95, statistic, None), said, path, what)
    if len(pairs) != summary.n:
        said, own, what = summary.n, len(pairs), f"n of {divergence}.{quantity}"
    if said is None or own is None or _same(said, own, pairs):
        return
    by = f"by the inputs that it lists {number(own, 6)}"
    raise _contradicts(path, what, said, by)


def _refuse_if_beyond(
    interval: Interval, said: float | None, path: str, what: str
) -> None:
    """Refuse a report with a number beyond its own interval."""
    if interval is None or said is None or not math.isfinite(said):
        return
    slack = _ROUNDING * abs(said)
    if interval[0] - slack <= said <= interval[1] + slack:
        return
    ends = " to ".join(number(end, 6) for end in interval)
    raise _contradicts(path, what, said, f"its own interval goes from {ends}")


def _contradicts(path: str, what: str, said: float, other: str) -> ConfigError:
    return ConfigError(
        f"The report '{path}' contradicts itself: {what} is {number(said, 6)}, and "
        + other,
        "Expected the numbers that robaudit scan wrote",
        "Scan again, or take the report as it was written",
    )


def _pairs(
    report: Report, divergence: str, quantity: str, summary: Summary
) -> Pairs | None:
    """Return the values of a quantity; None where the report does not list them."""
    if report.inputs is None:
        return None
    column = report.inputs.columns.get(divergence, {}).get(quantity)
    if column is None:
        return None
    stands = dict.fromkeys(report.inputs.index, 1.0)
    if summary.n_checked is not None:
        if report.checked is None:
            return None
        stands = dict(zip(report.checked.index, report.checked.weights, strict=True))
    listed = zip(report.inputs.index, column, strict=True)
    found = [(v, stands.get(index, 0.0)) for index, v in listed if v is not None]
    return sorted(found, key=itemgetter(0))  # the weights of equal ones as listed


def _statistic(pairs: Pairs, statistic: str, whole: bool) -> float | None:
    """Return a statistic of all inputs; None where it is not told."""
    if statistic in PERCENTILES:
        return _quantile(pairs, PERCENTILES[statistic])
    if statistic in ("min", "max"):
        return pairs[0 if statistic == "min" else -1][0]
    size = max(abs(pairs[0][0]), abs(pairs[-1][0]))
    if math.isinf(size) or not size:
        return None if size else 0.0
    total = math.fsum(weight for _, weight in pairs)
    scaled = [(value / size, weight) for value, weight in pairs]
    mean = math.fsum(value * weight for value, weight in scaled) / total
    if statistic == "mean":
        return mean * size
    apart = math.fsum(weight * (value - mean) ** 2 for value, weight in scaled)
    return math.sqrt(apart / (total - 1)) * size if whole and total > 1 else None


def _quantile(pairs: Pairs, level: float) -> float | None:
    """Return the quantile at a level, linear between values."""
    sums = accumulate(weight for _, weight in pairs)
    middles = [
        total - weight / 2 for total, (_, weight) in zip(sums, pairs, strict=True)
    ]
    target = middles[0] + level * (middles[-1] - middles[0])
    for (low, high), (start, end) in zip(
        pairwise(value for value, _ in pairs), pairwise(middles), strict=True
    ):
        if target > end:
            continue
        share = (target - start) / (end - start)
        if share < _ROUNDING or low == high:
            return low
        return low * (1 - share) + high * share
    return pairs[-1][0]


def _same(said: float, own: float, pairs: Pairs) -> bool:
    """Tell whether two numbers are one but for rounding, also where much cancels."""
    size = max(abs(pairs[0][0]), abs(pairs[-1][0]))
    small = _CANCELLED * size if math.isfinite(size) else 0.0
    return said == own or abs(said - own) <= max(small, _ROUNDING * abs(own))
