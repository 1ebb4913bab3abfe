"""What became of the limits of a report, in plain words."""

from __future__ import annotations

from audit.reports.report import Check, Report
from audit.reports.text import count, interval, number


def check_line(check: Check) -> str:
    """Say what became of one limit, as "kl.trace.p95 = 0.24 > 0.2 by 20 %; ..."."""
    if check.value is None:
        return f"{check.key} was not measured, limit {check.op} {number(check.limit)}"
    upper = check.op == "<="
    keeps = check.value <= check.limit if upper else check.value >= check.limit
    relation = check.op if keeps else ">" if upper else "<"
    digits = 3 if f"{check.value:.3g}" != f"{check.limit:.3g}" else 6
    text = (
        f"{check.key} = {number(check.value, digits)} {relation} "
        f"{number(check.limit, digits)}"
    )
    if not keeps:
        text += f" by {_excess(check.value, check.limit)}"
    if check.ci95:
        text += f", 95 % interval {interval(check.ci95)}"
    if keeps and check.holds is False:
        text += " does not"
    if not check.holds and check.offenders:
        shown = ", ".join(map(str, check.offenders[:5]))
        total = "" if check.n_offending is None else f"{check.n_offending} "
        more = ", …" if len(check.offenders) > 5 else ""
        text += f"; {total}beyond it: {shown}{more}"
    if check.waiver and not check.holds:
        text += f"; {check.waiver}"
    return text


def outcome(check: Check) -> str:
    """Say what a check decided: pass, borderline (it held), warn, fail, unmeasured."""
    if check.holds is False:
        return "warn" if check.level == "warn" else "fail"
    return check.status


def _excess(value: float, limit: float) -> str:
    """Return how far a value is beyond its limit: a share of it, or the difference."""
    beyond = abs(value - limit)
    return f"{number(100 * beyond / abs(limit), 2)} %" if limit else number(beyond)


def set_by(check: Check) -> str:
    """Say where a limit was written, and whether it is waived."""
    return "; ".join(part for part in (check.source, check.waiver) if part)


def verdict_line(report: Report) -> str:
    """Say the verdict and why the exit code is what it is."""
    reasons = {4: "incomplete", 5: "nothing audited"}
    failed = sum(
        check.holds is False and check.level == "error" for check in report.checks
    )
    said = {
        "pass": f"PASS: {count(len(report.checks), 'limit')} held",
        "fail": f"FAIL: {failed} of {count(len(report.checks), 'limit')} broken",
        "none": "No limit was set, e.g. --max kl.gaussian.p95=0.05",
    }[report.verdict]
    if report.verdict == "none" and report.checks:
        said = "No limit decided"
    why = reasons.get(report.exit_code, "")
    return f"{said} · exit {report.exit_code}" + (f" ({why})" if why else "")
