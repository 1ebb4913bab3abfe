"""What a report says, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable

from audit.reports.doubts import CRITICAL, close, doubt
from audit.reports.quantities import is_attack
from audit.reports.report import Report
from audit.reports.roles import ALONG, REALISED, named
from audit.reports.summaries import Divergence, Summary
from audit.reports.text import count, number


def tau(report: Report) -> float:
    """Return the move that `radius` asks for."""
    setting = report.config.get("tau")
    return float(setting.value) if setting else 1.0


def headline(report: Report) -> str:
    """Say how sensitive the model is, by its first divergence."""
    if not report.data.n_audited:
        return "No input was audited."
    name = report.ranked[0]
    divergence = report.divergences[name]
    parts = [_radius(report, divergence), _attack(report, name)]
    text = "; ".join(part for part in parts if part)
    said = f"{text[0].upper()}{text[1:]}." if text else f"{name} was measured."
    return " ".join([said, *_extremes(report, divergence)])


def _radius(report: Report, divergence: Divergence) -> str:
    """Say how far an input has to move: exactly, where that is known."""
    exact = divergence.summary.get(CRITICAL)
    local = divergence.summary.get("radius")
    if exact is None or exact.p50 is None:
        return _local_radius(report, divergence, local)
    moved = f"moves the prediction by {number(tau(report))}{_of(divergence)}"
    checked = exact.n_checked or exact.n
    least = number(exact.min)
    searched = named(CRITICAL, ALONG) in divergence.summary
    where = "" if searched else " along the worst direction"
    said = f"{_norm(report, exact.p50)}{where} {moved} on half of the inputs, {least} "
    said += "on the most sensitive one"
    if exact.p50 == 0:
        said = f"any perturbation, however small, {moved} on half of the inputs"
    if exact.p50 == math.inf:
        said = f"no perturbation that was tried {moved} on half of the inputs"
        said += f", {least} does on the most sensitive one" * (exact.min != math.inf)
    total = count(report.data.n_audited, "input")
    said += f" (exact values, {checked} of {total} checked"
    if local is not None and local.p50 is not None:
        said += f"; second order says {number(local.p50)} and {number(local.min)}"
    return f"{said})"


def _norm(report: Report, size: float) -> str:
    known = {"std": " standard deviations", "mad": " scaled median deviations"}
    units = known.get(report.data.units, "")
    if report.data.units.partition(":")[0] == "row":
        units = " times an input's own level"
    return f"a perturbation of norm {number(size)}{units}"


def _local_radius(report: Report, divergence: Divergence, local: Summary | None) -> str:
    if local is None or local.p50 is None:
        return ""
    moved = f"by {number(tau(report))}{_of(divergence)}"
    if local.p50 == math.inf:
        return (
            f"to second order no perturbation moves half of the predictions {moved}, "
            f"one of norm {number(local.min)} the most sensitive one (not checked)"
        )
    return (
        f"to second order {_norm(report, local.p50)} (median) moves the prediction "
        f"{moved} along its worst direction, {number(local.min)} on the most sensitive "
        "input (not checked)"
    )


def _attack(report: Report, name: str) -> str:
    """Say what the first attack costs: as realised where the report doubts itself."""
    divergence = report.divergences[name]
    for label, spec in report.attacks.items():
        said = doubt(report, name, label) or _all_at_rest(divergence, label)
        said = said or _tail_apart(divergence, label)
        quantity = named(label, REALISED) if said else label
        found = divergence.summary.get(quantity)
        if found and found.mean is not None:
            text = (
                f"{spec} costs {number(found.mean)}{_of(divergence)} on average, "
                f"{number(found.p95)} at the 95th percentile"
            )
            local = divergence.summary.get(label)
            if said and local:
                text += f" (realised; second order says {number(local.mean)})"
            return text
    return ""


def _tail_apart(divergence: Divergence, label: str) -> str:
    """Say that most inputs cost what is predicted, and the 95th percentile does not."""
    summary = divergence.summary
    local, exact = summary.get(label), summary.get(named(label, REALISED))
    if local is None or exact is None or exact.n_checked is not None:
        return ""
    ends = local.p95, exact.p95
    same = None in ends or close(exact.p95 or 0.0, local.p95 or 0.0)
    return "" if same else "apart at the 95th percentile"


def _all_at_rest(divergence: Divergence, label: str) -> str:
    """Say that a prediction is zero at every input: only what is realised counts."""
    found = divergence.summary.get(label)
    still = found is not None and found.n > 0 and found.n_at_rest == found.n
    return "at rest at every input" if still else ""


def _extremes(report: Report, divergence: Divergence) -> list[str]:
    """Say on how many inputs the form is zero or infinite."""
    found = divergence.summary.get("eigenvalue") or divergence.summary.get("linear")
    if found is None:
        return []
    total, said = count(report.data.n_audited, "input"), []
    if found.n_at_rest:
        said.append(
            f"{found.n_at_rest} of {total} are at rest: nothing moves there to second "
            "order, whatever the direction."
        )
    if found.n_infinite:
        said.append(
            f"On {found.n_infinite} of {total} the divergence is infinite, however "
            "small the perturbation."
        )
    return said


def counts(report: Report, name: str, quantities: Iterable[str]) -> list[str]:
    """Return which statistics are not of all audited inputs, or not of finite ones."""
    groups: dict[tuple[str, int, str], list[str]] = {}
    for quantity in quantities:
        summary = report.divergences[name].summary[quantity]
        why, beyond = summary.reason or "", summary.infinite_reason or ""
        if summary.n_checked is not None:
            found = [("checked", summary.n_checked, "and weighted to all")]
            lost = summary.n_checked - summary.n
            found += [("checked without a value", lost, why)]
        else:
            found = [("not measured", summary.n_not_measured, why)]
        found += [("infinite", summary.n_infinite, beyond)]
        found += [("at rest", summary.n_at_rest, "")]
        for kind, n, reason in found:
            if n:
                groups.setdefault((kind, n, reason), []).append(quantity)
    total = count(report.data.n_audited, "input")
    return [
        f"{kind} on {n} of {total}{f' ({why})' if why else ''}: {', '.join(members)}"
        for (kind, n, why), members in groups.items()
    ]


def _of(divergence: Divergence) -> str:
    """Return the unit after a number; nothing where there is none."""
    return "" if divergence.unit == "1" else f" {divergence.unit}"


def quantity_order(report: Report, divergence: Divergence) -> list[str]:
    """Return the quantities worth a line: the main ones, then the attacks, the rest."""
    labels = report.attacks
    main = [CRITICAL, "radius", "eigenvalue", "trace"]
    attacks = [name for name in divergence.summary if is_attack(name, labels)]
    attacks.sort(key=lambda name: list(labels).index(name) if name in labels else 99)
    rest = [name for name in divergence.summary if name not in (*main, *attacks)]
    return [n for n in (*main, *attacks) if n in divergence.summary] + sorted(rest)
