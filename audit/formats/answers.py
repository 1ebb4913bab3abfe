"""What a reader asks first, each answered in a line, by the report's own numbers.

Which input is worst, and how far it may be pushed, along which features; why there; is
it the model or the data; may it be trusted, and how much was checked; what the limit
was; what a unit means; what to do next. A question that a report cannot answer is left
out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from audit.formats import attacked, classes, features, reading, verdicts
from audit.reports.doubts import CRITICAL
from audit.reports.listed import WorstInput
from audit.reports.portraits import Portrait
from audit.reports.report import Report
from audit.reports.text import count, number

MOST_FEATURES = 3
_HALF = 0.5
LIMIT = "Limit"
"""Left out where all limits stand in a table beside."""
FACTORS = (
    ("model_norm", "the law's sensitivity to its parameters (‖F‖)"),
    ("map_norm", "the network's to its input (‖JJᵀ‖)"),
)
_SAVED = " (saved with -o report.json)"
"""What the commands read, which a scan writes only where it is asked to."""
_UNITS = {
    "input": "the inputs' own units",
    "std": "standard deviations of each feature",
    "row": "an input's own level",
    "mad": "scaled median deviations of each feature",
}


def answers(report: Report) -> list[tuple[str, str]]:
    """Return (question in a word or two, answer) of those that can be answered."""
    if not report.ranked or not report.data.n_audited:
        return []
    name = report.ranked[0]
    asked = {
        "Worst input": _worst(report, name),
        "Why there": _why(report, name),
        "Model or data": "; ".join(_whose(report, name)),
        "Trust": _trust(report),
        LIMIT: _limit(report),
        "Units": _units(report, name),
        "Next": _next(report),
    }
    return [(question, said) for question, said in asked.items() if said]


def _worst(report: Report, name: str) -> str:
    """Say which input is worst, how far it may be pushed, and along what."""
    if not report.worst:
        return ""
    worst, unit = report.worst[0], report.divergences[name].unit
    values = worst.values.get(name, {})
    exact, local = values.get(CRITICAL), values.get("radius")
    radius, how = (exact, "") if exact is not None else (local, ", to second order")
    move = f"{number(reading.tau(report))}{'' if unit == '1' else f' {unit}'}"
    said = f"input {worst.index}"
    if radius is not None and math.isfinite(radius):
        said += f", moved by {move} at δ of norm {number(radius)}{how}"
    elif exact == math.inf:
        said += f", not moved by {move} by any perturbation that was tried"
    return said + _along(report, worst, name)


def _along(report: Report, worst: WorstInput, name: str) -> str:
    """Say along which features, and what becomes of a classifier's answer.

    δ itself where it is known, of unit norm in the units of the perturbation; else the
    worst direction of second order.
    """
    portrait = next((p for p in report.portraits if p.index == worst.index), None)
    directions = worst.directions.get(name)
    found = _direction(portrait) if portrait else None
    found = directions[0] if found is None and directions else found
    top = [] if found is None else features.largest(report.data, found, MOST_FEATURES)
    said = [f"most along {', '.join(f'{label} {v:+.2f}' for label, v in top)}"]
    said = said if top else []
    if portrait and (change := classes.becomes(report, portrait)):
        said.append(change)
    return "".join(f", {part}" for part in said)


def _direction(found: Portrait) -> list[Any] | None:
    """Return δ / |δ| in the units of the perturbation; None where it is not kept."""
    if not isinstance(found.delta, list):
        return None
    steps = _steps(found.delta, found.unit)
    length = math.hypot(*features.entries(steps))
    whole: list[Any] = _times(steps, 1 / length if length else 1.0)
    return whole


def _steps(delta: Any, unit: Any) -> Any:  # noqa: ANN401 (nested lists)
    """Return δ in units of each feature; 0 where a feature may not move."""
    if isinstance(delta, list):
        units = unit if isinstance(unit, list) else [unit] * len(delta)
        return [_steps(part, own) for part, own in zip(delta, units, strict=True)]
    return delta if unit is None else delta / unit if unit else 0.0


def _times(values: Any, factor: float) -> Any:  # noqa: ANN401 (nested lists)
    """Return nested lists of numbers, each times a factor."""
    if isinstance(values, list):
        return [_times(part, factor) for part in values]
    return values * factor


def _why(report: Report, name: str) -> str:
    """Say whether the law or the network is what is more sensitive at the worst input.

    λ₁ ≤ ‖F‖ ‖J Jᵀ‖: both factors, against their medians over all inputs.
    """
    if not report.worst:
        return ""
    values = report.worst[0].values.get(name, {})
    summary, told = report.divergences[name].summary, []
    for quantity, what in FACTORS:
        own = values.get(quantity)
        median = summary[quantity].p50 if quantity in summary else None
        if own is None or not median or not math.isfinite(own) or median == math.inf:
            return ""
        told.append(f"{what} {number(own / median)} times its median")
    return ", ".join(told)


def _whose(report: Report, name: str) -> Iterator[str]:
    """Say what all inputs have in common, and whether the data go that way."""
    divergence = report.divergences[name]
    found = divergence.universal
    if found is not None and found.universality is not None:
        share = f"{100 * found.universality:.0f} % of what each input's own does"
        whose = "the model" if found.universality >= _HALF else "single inputs"
        yield f"{whose}: one direction for all reaches {share}"
    inside = divergence.summary.get("principal_share")
    if inside is not None and inside.p50 is not None:
        only = "" if inside.p50 >= _HALF else "only "
        share = f"{only}{100 * inside.p50:.0f} %"
        yield f"{share} of the worst direction lies where the data vary"
    cost = attacked.cost(divergence)
    if cost:
        yield cost


def _trust(report: Report) -> str:
    """Say what the numbers rest on, of how much of the data, and what warns."""
    data = report.data
    warned = count(len(report.warnings), "warning") if report.warnings else "no warning"
    audited = f"{data.n_audited} of {count(data.n_total, 'input')} audited"
    said = verdicts.evidence(report)
    return f"{said[0].lower()}{said[1:]} ({audited}); {warned}"


def _limit(report: Report) -> str:
    """Say what the gate decided, and by which limit: the first that does not hold."""
    if not report.checks:
        return "none was set"
    order = sorted(report.checks, key=lambda check: check.holds is True)
    line = f"{verdicts.outcome(order[0])}: {verdicts.check_line(order[0])}"
    if len(order) == 1:
        return line
    held = sum(check.holds is True for check in order)
    return f"{held} of {len(order)} limits held; {line}"


def _units(report: Report, name: str) -> str:
    """Say what δ is measured in, and what a move of the prediction means."""
    kind = report.data.units.partition(":")[0]
    words = (
        "times an input's own level" if kind == "row" else _UNITS.get(kind, "a file's")
    )
    said = f"δ in {words}"
    if name == "kl":
        tau = reading.tau(report)
        sigma = number(math.sqrt(2 * tau))
        said += f"; {number(tau)} nat: as a normal law moved by {sigma} of its widths σ"
    return said


def _next(report: Report) -> str:
    """Say what to do: look at what breaks a limit, check more, set a limit, keep it."""
    failed = [check for check in report.checks if check.holds is False]
    if failed:
        at = failed[0].offenders or [worst.index for worst in report.worst]
        return f"robaudit show report.json --index {at[0]}{_SAVED}" if at else ""
    doubts = [check.doubt or "" for check in report.checks if check.holds is None]
    if any("limit " in doubt for doubt in doubts):
        return "limit the checked number that the limit's own line names"
    if doubts:
        return "check more inputs: --verify all"
    if not report.checks:
        return f"set a limit: robaudit init --from report.json{_SAVED}"
    return f"hold a new model against this: robaudit diff report.json new.json{_SAVED}"
