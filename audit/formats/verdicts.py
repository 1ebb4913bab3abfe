"""What became of the limits of a report, in plain words."""

from __future__ import annotations

import math

from audit.reports.doubts import CRITICAL
from audit.reports.judged import Change, Check
from audit.reports.keys import split_key
from audit.reports.quantities import robust_side
from audit.reports.record import Interval
from audit.reports.report import Report
from audit.reports.text import count, interval, number


def check_line(check: Check) -> str:
    """Say what became of one limit, as "kl.trace.p95 = 0.24 > 0.2 by 20 %; ..."."""
    if check.change is not None:
        text = _changed(check, check.change)
    elif check.value is None:
        text = f"{check.key} has no value, limit {check.op} {number(check.limit)}"
    else:
        text = _held(check.key, check.value, check.op, check.limit, check.ci95)
    if check.holds is False and not _broken(check):
        text += " does not keep it"
    if check.holds is None:
        text += f"; it decides nothing: {check.doubt}"
    elif check.accepted:
        text += f"; decided by --accept-unverified although {check.doubt}"
    if not check.holds and check.offenders:
        shown = ", ".join(map(str, check.offenders[:5]))
        total = "" if check.n_offending is None else f"{check.n_offending} "
        more = ", …" if len(check.offenders) > 5 else ""
        text += f"; {total}beyond it: {shown}{more}"
    if check.waiver and not check.holds:
        text += f"; {check.waiver}"
    return text + (_OTHER_SIDE[check.op] if beside_the_point(check) else "")


_OTHER_SIDE = {
    "<=": ", where more is more robust: --min or --max-decrease keep a model from "
    "getting worse",
    ">=": ", where less is more robust: --max or --max-increase keep a model from "
    "getting worse",
}


def beside_the_point(check: Check) -> bool:
    """Tell whether a limit is one that a more sensitive model keeps more easily."""
    _, quantity, statistic = split_key(check.key)
    side = robust_side(quantity)
    return statistic != "std" and side not in ("", check.op)


def _held(
    what: str, value: float, op: str, limit: float, ends: Interval, unit: str = ""
) -> str:
    """Say how a number stands to a limit, with its interval."""
    keeps = value <= limit if op == "<=" else value >= limit
    relation = op if keeps else ">" if op == "<=" else "<"
    digits = 3 if f"{value:.3g}" != f"{limit:.3g}" else 6
    text = f"{what} = {number(value, digits)}{unit} {relation} "
    text += f"{number(limit, digits)}{unit}"
    if not keeps and not unit and math.isfinite(value):
        text += f" by {_excess(value, limit)}"
    if ends:
        text += f", 95 % interval {interval(ends)}{unit}"
    return text


def _changed(check: Check, change: Change) -> str:
    """Say how a number changed from the baseline, in the unit of the limit."""
    grows = check.op == "<="
    if change.change is None:
        return f"{check.key} cannot be compared with the baseline"
    scale, unit = (100.0, " %") if change.relative else (1.0, "")
    allowed = (change.allowed if grows else -change.allowed) * scale
    ends = change.ci95 and (change.ci95[0] * scale, change.ci95[1] * scale)
    moved = change.change * scale
    what = f"{check.key} = {number(check.value)}{_on_shared(check, change)}, was "
    what += f"{number(change.old)}: change"
    text = _held(what, moved, check.op, allowed, ends, unit)
    how = f"not paired: {change.unpaired}" if change.unpaired else "paired"
    some = change.n_old is not None and change.n_old > change.n
    of_all = f" of the baseline's {change.n_old}" if some else ""
    return f"{text} ({how}, {count(change.n, 'input')}{of_all})"


def _on_shared(check: Check, change: Change) -> str:
    """Say what the number is on the inputs of both reports, where that is another."""
    old, moved = change.old, change.change
    if change.unpaired or None in (old, moved, check.value):
        return ""
    new = (old or 0.0) + (moved or 0.0) * (abs(old or 0.0) if change.relative else 1.0)
    if not math.isfinite(new) or f"{new:.3g}" == f"{check.value:.3g}":
        return ""
    return f" ({number(new)} on the inputs in both)"


def _broken(check: Check) -> bool:
    """Tell whether the number itself breaks a limit, and not an end of its interval."""
    if check.change is not None and check.change.change is not None:
        grows = check.op == "<="
        bound = check.change.allowed
        return check.change.change > bound if grows else check.change.change < -bound
    if check.value is None:
        return False
    upper = check.op == "<="
    return check.value > check.limit if upper else check.value < check.limit


def outcome(check: Check) -> str:
    """Say what a check decided: pass, borderline (it held), warn, fail, or nothing."""
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
    said = "No limit was set, e.g. --max kl.gaussian.p95=0.05"
    if report.checks:
        said = _tally(report)
    why = {4: "incomplete", 5: "nothing audited"}.get(report.exit_code, "")
    return f"{said} · exit {report.exit_code}" + (f" ({why})" if why else "")


def _tally(report: Report) -> str:
    """Say how many limits broke, decided nothing, or held: never more than did."""
    checks, total = report.checks, count(len(report.checks), "limit")
    if report.verdict == "fail":
        failed = sum(c.holds is False and c.level == "error" for c in checks)
        return f"FAIL: {failed} of {total} broken"
    open_ = sum(check.holds is None for check in checks)
    if report.verdict == "none" and open_:
        return f"{open_} of {total} decided nothing"
    held = sum(check.holds is True for check in checks)
    word = "PASS" if report.verdict == "pass" else "No verdict"
    if held == len(checks):
        all_ = all(map(beside_the_point, checks))
        but = ", none that a more sensitive model would break" if all_ else ""
        return f"{word}: {total} held{but}"
    others = f"{len(checks) - held} of level warn did not"
    return f"{word}: {held} of {total} held, {others}"


def answer(report: Report) -> str:
    """Say the verdict; where no limit was set, what the numbers rest on."""
    if report.verdict != "none" or report.checks:
        return verdict_line(report)
    return f"{evidence(report)} · no limit was set"


def evidence(report: Report) -> str:
    """Say on how many inputs the first divergence is exact, and what is elsewhere."""
    total = report.data.n_audited
    if not report.ranked or not total:
        return "Nothing was audited"
    exact = report.divergences[report.ranked[0]].summary.get(CRITICAL)
    checked = 0 if exact is None else exact.n_checked or exact.n
    if not checked:
        return f"Second order on {count(total, 'input')}, none of them checked"
    if checked >= total:
        return f"Exact on {count(total, 'input')}"
    return f"Exact on {checked} of {count(total, 'input')}, second order elsewhere"
