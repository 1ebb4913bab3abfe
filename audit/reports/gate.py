"""The gate: limits on numbers of a report, the verdict and the exit code.

The measured value decides, unless `gate` is `upper`. When its 95 % interval straddles
the limit the check is `borderline`: another sample of inputs may decide otherwise.

A limit decides nothing on a number that does not exist, that leaves out more inputs
than may be skipped, or that the same report does not believe (`doubts`). ∞ is a number:
it breaks any maximum.

Exit codes, first that applies: 5 nothing audited; 4 too many inputs skipped, a limit
that decides nothing, a derivative or a mean over draws estimated too coarsely, a run
that lacks parts; 1 a limit failed; 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from audit.config import ScanConfig, Threshold
from audit.ground.errors import ConfigError
from audit.ground.registry import unknown
from audit.reports.doubts import cautions, contradiction, doubt, unseen
from audit.reports.judged import Change, Check, Status
from audit.reports.keys import split_key
from audit.reports.report import Report
from audit.reports.subjects import Subject, of_change, of_value
from audit.reports.summaries import Summary
from audit.reports.text import count

PASS, FAIL, INCOMPLETE, NOTHING = 0, 1, 4, 5
PARTIAL = "partial"
UNTRUSTED = frozenset(
    {
        "finite_difference_error",
        "monte_carlo_error",
        "derivative_unverified",
        "score_mean",
        "normalisation",
        PARTIAL,
    }
)
"""Warnings that leave no verdict to trust."""
SHOWN_OFFENDERS = 10
EMPTY = Summary(unit="", n=0)
Verdict = Literal["pass", "fail", "none"]


@dataclass(frozen=True)
class Rules:
    """What a report is judged by.

    Args:
        limits: none gives the verdict "none".
        max_skipped: how many inputs may be skipped, or be without a limited number.
        exit_zero: a failed limit exits 0 (the verdict stays "fail").
        gate: `point` holds the value against a limit; `upper` the end of its 95 %
            interval nearest to breaking it.
        accept_unverified: numbers that the report does not believe decide too.
        changes: (key, op) -> how a number changed from the baseline, for limits on
            that.
        own: whether they are those of the scan itself. A number that it could not
            measure then decides nothing, and the report is kept; elsewhere it is an
            error to ask for one that a report does not have.
    """

    limits: Sequence[Threshold] = ()
    max_skipped: int = 0
    exit_zero: bool = False
    gate: str = "point"
    accept_unverified: bool = False
    changes: Mapping[Any, Change] = field(default_factory=dict)
    own: bool = False

    @classmethod
    def of(
        cls,
        config: ScanConfig,
        changes: Mapping[Any, Change] | None = None,
        own: bool = False,
    ) -> Rules:
        """Return the rules of a configuration."""
        return cls(
            config.thresholds,
            config.max_skipped,
            config.exit_zero,
            config.gate,
            config.accept_unverified,
            changes or {},
            own,
        )


def judge(report: Report, rules: Rules) -> Report:
    """Return the report with its checks, verdict and exit code set.

    Raises:
        ConfigError: a key names a number the report does not have.
    """
    checks = [check(report, limit, rules) for limit in rules.limits]
    verdict = _verdict(checks)
    complete = report.data.n_skipped <= rules.max_skipped
    decided = all(one.holds is not None for one in checks if one.level == "error")
    trusted = UNTRUSTED.isdisjoint(warning.code for warning in report.warnings)
    if report.data.n_audited == 0:
        code = NOTHING
    elif not (complete and decided and trusted):
        code = INCOMPLETE
    else:
        code = FAIL if verdict == "fail" and not rules.exit_zero else PASS
    known = {warning.code for warning in report.warnings}
    new = [one for one in cautions(report, rules.limits) if one.code not in known]
    return report.model_copy(
        update={
            "checks": checks,
            "verdict": verdict,
            "exit_code": code,
            "warnings": [*report.warnings, *new],
        }
    )


def check(report: Report, limit: Threshold, rules: Rules) -> Check:
    """Hold one limit against the report."""
    divergence, quantity, statistic = split_key(limit.key)
    lacking = lacks(report, limit.key) if rules.own else ""
    nothing = report.data.n_audited == 0 or bool(lacking)
    summary = EMPTY.model_copy(update={"reason": lacking or None})
    if not nothing:
        summary = find(report, limit.key, divergence, quantity)
    change = rules.changes.get((limit.key, limit.op)) if limit.step else None
    checked = summary.n_checked is not None
    subject = of_value(summary, limit)
    if change:
        subject = of_change(change, limit, checked)
    judged, absent = subject.judged(rules.gate)
    absent = absent or _left_out(report, summary, rules.max_skipped)
    said = "" if nothing else doubt(report, divergence, quantity)
    if not (said or nothing or change):
        said = contradiction(report, (divergence, quantity, statistic), subject.keeps)
    said = said or unseen(summary, statistic, limit.op, subject)
    decides = not absent and (rules.accept_unverified or not said)
    holds = subject.keeps(judged) if decides and judged is not None else None
    offenders = [] if nothing else _offenders(report, limit)
    return Check(
        key=limit.key,
        op="<=" if limit.op == "<=" else ">=",
        limit=limit.limit,
        value=getattr(summary, statistic),
        ci95=getattr(summary.ci95, statistic, None),
        holds=holds,
        status=_status(holds, subject, bool(absent)),
        doubt=absent or said,
        accepted=bool(said) and not absent and rules.accept_unverified,
        change=change,
        level="warn" if limit.level == "warn" else "error",
        source=limit.source,
        waiver=limit.waiver,
        offenders=offenders[:SHOWN_OFFENDERS],
        n_offending=len(offenders) if report.inputs is not None else None,
    )


def _status(holds: bool | None, subject: Subject, absent: bool) -> Status:
    if holds is None:
        return "unmeasured" if absent else "undecided"
    ends = subject.interval
    if ends and len({subject.keeps(end) for end in ends}) == 2:
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


def lacks(report: Report, key: str) -> str:
    """Return why a report does not have the number of a key; "" if it does."""
    divergence, quantity, _ = split_key(key)
    if divergence not in report.divergences:
        return f"this scan did not measure {divergence}"
    there = quantity in report.divergences[divergence].summary
    return "" if there else f"this scan did not measure {divergence}.{quantity}"


def _refuse(key: str, kind: str, name: str, names: Iterable[str]) -> None:
    given, expected, hint = unknown(kind, name, dict.fromkeys(names))
    raise ConfigError(f"The report has no '{key}': {given}", expected, hint)


def _left_out(report: Report, summary: Summary, max_skipped: int) -> str:
    """Return why a number leaves out too many inputs; "" if it does not."""
    drawn = summary.n + summary.n_not_measured
    missing = (drawn if summary.n_checked is None else summary.n_checked) - summary.n
    if missing == 0 or missing + report.data.n_skipped <= max_skipped:
        return ""
    noun = "input" if summary.n_checked is None else "checked input"
    return (
        f"{count(missing, noun)} without a value, and --max-skipped allows "
        f"{max_skipped} ({summary.reason})"
    )


def _offenders(report: Report, limit: Threshold) -> list[int]:
    """Return the inputs beyond the limit, the farthest first, among those listed."""
    divergence, quantity, _ = split_key(limit.key)
    if report.inputs is not None:
        column = report.inputs.columns[divergence][quantity]
        pairs = zip(report.inputs.index, column, strict=True)
    else:
        pairs = zip(
            [one.index for one in report.worst],
            [one.values.get(divergence, {}).get(quantity) for one in report.worst],
            strict=True,
        )
    sign = -1 if limit.op == "<=" else 1
    beyond = [
        (sign * value, index)
        for index, value in pairs
        if value is not None and sign * value < sign * limit.limit
    ]
    return [index for _, index in sorted(beyond)]
