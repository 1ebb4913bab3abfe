"""How numbers were estimated and checked, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.found import Verification
from audit.reports.report import Report
from audit.reports.roles import ERROR, LOWER, UPPER, named
from audit.reports.summaries import Divergence
from audit.reports.text import count, interval, number, percent


def verification(report: Report) -> list[str]:
    """Return one line for each attack that was checked against the exact divergence."""
    lines = []
    for name in report.ranked:
        found = report.divergences[name].verification
        order = [label for label in ("radius", *report.attacks) if label in found]
        lines += [_verified(name, label, found[label]) for label in order]
    return lines


def _verified(name: str, label: str, found: Verification) -> str:
    what = "realised / predicted" if label != "radius" else "exact / second order"
    if not found.n:
        text = f"{name} {label}: {what} known on none of {found.unknown} checked inputs"
        return text + _resting(found)
    text = f"{name} {label}: {what} {number(found.ratio_p50)} in the median"
    if found.ratio_p05 is not None and found.ratio_p95 is not None:
        ends = f"{number(found.ratio_p05)} to {number(found.ratio_p95)}"
        text += f", {ends} on nine of ten inputs"
    if found.pooled is not None:
        text += f"; {number(found.pooled)} over all"
        if found.pooled_ci95:
            text += f", 95 % interval {interval(found.pooled_ci95)}"
    parted = f"{found.parted} of {count(found.n, 'checked input')}"
    text += f"; more than 10 % apart on {parted}"
    if found.noisy:
        text += f" (on {found.noisy} more it may be noise)"
    if found.unknown > found.at_rest:
        text += f"; nothing to compare on {found.unknown - found.at_rest} more"
    return text + _resting(found)


def _resting(found: Verification) -> str:
    if not found.at_rest:
        return ""
    return (
        f"; {found.at_rest} more are at rest: there is no direction to attack along, "
        "and sampled ones moved nothing"
    )


def estimation(report: Report) -> list[str]:
    """Return how each divergence was estimated, with the Monte-Carlo error."""
    lines = []
    for name in report.ranked:
        divergence = report.divergences[name]
        how = divergence.estimator.replace("_", " ")
        if divergence.draws:
            how += f", {divergence.draws} draws an input"
        error = divergence.summary.get(named("trace", ERROR))
        trace = divergence.summary.get("trace")
        if error and trace and error.p50 and trace.p50:
            how += f", standard error of the trace {percent(error.p50 / trace.p50)}"
        how += _bracket(divergence) + _assumed(divergence)
        lines += [f"{name}: {how}", *(f"{name}: {note}" for note in divergence.notes)]
    return lines


def with_bracket(values: Mapping[str, float | None], quantity: str) -> str:
    """Return a number of one input, with its interval where it was sampled."""
    ends = [values.get(f"{quantity}_{end}") for end in ("lower", "upper")]
    lower, upper = ends
    if lower is None or upper is None:
        return number(values.get(quantity))
    return f"{number(values.get(quantity))} {interval((lower, upper))}"


def _assumed(divergence: Divergence) -> str:
    """Return which share of the trace a quantile head's constant tails are."""
    share = divergence.summary.get("tail_share")
    if share is None or share.p50 is None:
        return ""
    return f"; {percent(share.p50)} of the trace is assumed, beyond the outer levels"


def _bracket(divergence: Divergence) -> str:
    """Return the medians of a sampled eigenvalue and of the bracket it lies in."""
    found = [
        divergence.summary.get(named("eigenvalue", *end))
        for end in ((), (LOWER,), (UPPER,))
    ]
    value, lower, upper = (None if s is None else s.p50 for s in found)
    if value is None or lower is None or upper is None:
        return ""
    return f"; λ_max {number(value)} in {interval((lower, upper))} (medians)"
