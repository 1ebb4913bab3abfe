"""The gate: limits on numbers of a report, the verdict and the exit code.

The measured value decides, unless `gate` is `upper`. When its 95 % interval straddles
the limit the check is `borderline`: another sample of inputs may decide otherwise.

Exit codes, first that applies: 5 nothing audited, 4 too many inputs skipped, a limit
on a number that is null, a derivative or a mean over draws estimated too coarsely, a
run that lacks parts,
1 a limit failed, 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from audit.config import Threshold
from audit.errors import ConfigError
from audit.registry import unknown
from audit.reports.keys import split_key
from audit.reports.report import Check, Interval, Report, Status, Summary

PASS, FAIL, INCOMPLETE, NOTHING = 0, 1, 4, 5
PARTIAL = "partial"
UNTRUSTED = frozenset(
    {
        "finite_difference_error",
        "monte_carlo_error",
        "score_mean",
        "normalisation",
        PARTIAL,
    }
)
"""Warnings that leave no verdict to trust."""
SHOWN_OFFENDERS = 10
EMPTY = Summary(unit="", n=0)
Verdict = Literal["pass", "fail", "none"]


def judge(
    report: Report,
    thresholds: Sequence[Threshold],
    max_skipped: int = 0,
    exit_zero: bool = False,
    gate: str = "point",
) -> Report:
    """Return the report with its checks, verdict and exit code set.

    Args:
        report: what was found.
        thresholds: the limits; none gives the verdict "none".
        max_skipped: how many inputs may be skipped before the audit is incomplete.
        exit_zero: a failed limit exits 0 (the verdict stays "fail").
        gate: `point` holds the value against a limit; `upper` the end of its 95 %
            interval nearest to breaking it, where there is an interval.

    Raises:
        ConfigError: a key names a number the report does not have.
    """
    checks = [check(report, threshold, gate) for threshold in thresholds]
    verdict = _verdict(checks)
    complete = report.data.n_skipped <= max_skipped
    measured = all(one.holds is not None for one in checks if one.level == "error")
    trusted = UNTRUSTED.isdisjoint(warning.code for warning in report.warnings)
    if report.data.n_audited == 0:
        code = NOTHING
    elif not (complete and measured and trusted):
        code = INCOMPLETE
    else:
        code = FAIL if verdict == "fail" and not exit_zero else PASS
    return report.model_copy(
        update={"checks": checks, "verdict": verdict, "exit_code": code}
    )


def check(report: Report, threshold: Threshold, gate: str = "point") -> Check:
    """Hold one limit against the report."""
    divergence, quantity, statistic = split_key(threshold.key)
    nothing = report.data.n_audited == 0
    summary = EMPTY if nothing else find(report, threshold.key, divergence, quantity)
    value: float | None = getattr(summary, statistic)
    interval: Interval = getattr(summary.ci95, statistic, None)
    upper = threshold.op == "<="
    judged = value
    if interval and gate == "upper":
        judged = interval[1] if upper else interval[0]
    holds = None if judged is None else _keeps(judged, threshold.limit, upper)
    offenders = (
        []
        if value is None
        else _offenders(report, divergence, quantity, threshold.limit, upper)
    )
    return Check.model_validate(
        {
            "key": threshold.key,
            "op": threshold.op,
            "limit": threshold.limit,
            "value": value,
            "ci95": interval,
            "holds": holds,
            "status": _status(holds, interval, threshold.limit, upper),
            "level": threshold.level,
            "source": threshold.source,
            "waiver": threshold.waiver,
            "offenders": offenders[:SHOWN_OFFENDERS],
            "n_offending": _count(report, offenders),
        }
    )


def _keeps(value: float, limit: float, upper: bool) -> bool:
    return value <= limit if upper else value >= limit


def _status(
    holds: bool | None, interval: Interval, limit: float, upper: bool
) -> Status:
    if holds is None:
        return "unmeasured"
    if interval and len({_keeps(end, limit, upper) for end in interval}) == 2:
        return "borderline"
    return "pass" if holds else "fail"


def _verdict(checks: Iterable[Check]) -> Verdict:
    deciding = [one for one in checks if one.level == "error"]
    if any(one.holds is False for one in deciding):
        return "fail"
    return "pass" if deciding and all(one.holds for one in deciding) else "none"


def find(report: Report, key: str, divergence: str, quantity: str) -> Summary:
    """Return the summary a key speaks of.

    Raises:
        ConfigError: the report has none; the message names the nearest.
    """
    if divergence not in report.divergences:
        _refuse(key, "divergences", divergence, report.divergences)
    summary = report.divergences[divergence].summary
    if quantity not in summary:
        _refuse(key, f"quantities of {divergence}", quantity, summary)
    return summary[quantity]


def _refuse(key: str, kind: str, name: str, names: Iterable[str]) -> None:
    given, expected, hint = unknown(kind, name, dict.fromkeys(names))
    raise ConfigError(f"The report has no '{key}': {given}", expected, hint)


def _offenders(
    report: Report, divergence: str, quantity: str, limit: float, upper: bool
) -> list[int]:
    """Return the inputs beyond the limit, the farthest first, among those listed."""
    if report.inputs is not None:
        column = report.inputs.columns[divergence][quantity]
        pairs = zip(report.inputs.index, column, strict=True)
    else:
        pairs = zip(
            [one.index for one in report.worst],
            [one.values.get(divergence, {}).get(quantity) for one in report.worst],
            strict=True,
        )
    beyond = [
        (value, index)
        for index, value in pairs
        if value is not None and not _keeps(value, limit, upper)
    ]
    return [index for _, index in sorted(beyond, reverse=upper)]


def _count(report: Report, offenders: list[int]) -> int | None:
    return len(offenders) if report.inputs is not None else None
