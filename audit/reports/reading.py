"""What a report says, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.quantities import is_attack
from audit.reports.report import Divergence, Report
from audit.reports.text import count, interval, number, percent


def attack_labels(report: Report) -> dict[str, str]:
    """Return label -> specification of the attacks of a report."""
    setting = report.config.get("attacks")
    specs = [str(spec) for spec in setting.value] if setting else []
    found: dict[str, str] = {}
    for spec in specs:
        label, equals, kind = spec.partition(":")[0].partition("=")
        found[label] = spec[len(label) + 1 :] if equals and kind else spec
    return found


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
    parts = [_radius(report, divergence), _attack(report, divergence)]
    text = "; ".join(part for part in parts if part)
    return f"{text[0].upper()}{text[1:]}." if text else f"{name} was measured."


def _radius(report: Report, divergence: Divergence) -> str:
    radius = divergence.summary.get("radius")
    if radius is None or radius.p50 is None:
        return ""
    units = " standard deviations" if report.data.units == "std" else ""
    return (
        f"a perturbation of norm {number(radius.p50)}{units} (median) moves the "
        f"prediction by {number(tau(report))}{_of(divergence)} along its worst "
        f"direction, {number(radius.min)} on the most sensitive input"
    )


def _attack(report: Report, divergence: Divergence) -> str:
    for label, spec in attack_labels(report).items():
        found = divergence.summary.get(label)
        if found and found.mean is not None:
            return (
                f"{spec} costs {number(found.mean)}{_of(divergence)} on average, "
                f"{number(found.p95)} at the 95th percentile"
            )
    return ""


def decomposition(report: Report, name: str) -> str:
    """Return the chain of bounds on the trace at the worst input; "" without its parts.

    tr G ≤ von Neumann ≤ ‖F‖ ‖J Jᵀ‖ ≤ ‖F‖ ‖J‖²: each step is slack that the spectra, or
    the norms, cannot see. (At one input: medians of factors need not keep the order.)
    """
    if not report.worst:
        return ""
    bounds = chain_values(report.worst[0].values.get(name, {}))
    if not bounds:
        return ""
    chain = " ≤ ".join(f"{label} {number(value)}" for label, value in bounds)
    alignment = _alignment(report.divergences[name])
    return f"{chain} at input {report.worst[0].index}{alignment}"


def chain_values(values: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """Return the chain as (label, value), tightest first; empty without its parts."""
    names = ("trace", "von_neumann", "model_norm", "map_norm", "jacobian_norm")
    trace, bound, model, mapping, jacobian = map(values.get, names)
    if trace is None or bound is None or model is None:
        return []
    if mapping is None or jacobian is None:
        return []
    return [
        ("tr G", trace),
        ("von Neumann", bound),
        ("‖F‖·‖JJᵀ‖", model * mapping),
        ("‖F‖·‖J‖²", model * jacobian),
    ]


def _alignment(divergence: Divergence) -> str:
    found = divergence.summary.get("alignment")
    if found is None or found.p50 is None:
        return ""
    return f"; alignment {number(found.p50)} (median)"


def comparison(report: Report) -> str:
    """Say how the worst directions of the divergences compare; "" if unmeasured."""
    compared = [n for n in report.ranked if "angle" in report.divergences[n].summary]
    others = [name for name in report.ranked if name not in compared[:1]]
    if not compared or not others:
        return ""
    name, other = compared[0], (compared[1:] or others)[0]
    summary = report.divergences[name].summary
    angle, attained = summary["angle"].p50, summary.get("attained")
    if angle is None:
        return ""
    text = f"The worst directions of {name} and {other} are {number(angle)}° apart"
    if attained is None or attained.p50 is None:
        return f"{text} (median)."
    share = f"{percent(attained.p50)} of the worst case of {name}"
    return f"{text} (median); that of {other} reaches {share}."


def _of(divergence: Divergence) -> str:
    """Return the unit after a number; nothing where there is none."""
    return "" if divergence.unit == "1" else f" {divergence.unit}"


def verification(report: Report) -> list[str]:
    """Return one line for each attack that was checked against the exact divergence."""
    lines = []
    for name in report.ranked:
        for label, found in report.divergences[name].verification.items():
            ratio, ends = found.ratio_p50, (found.ratio_p05, found.ratio_p95)
            parted = f"{found.parted} of {count(found.n, 'checked input')}"
            low, high = ends
            span = interval((low, high)) if low is not None and high is not None else ""
            lines.append(
                f"{name} {label}: realised / predicted {number(ratio)} {span}; more "
                f"than 10 % apart on {parted}{_too_noisy(found.noisy)}"
            )
    return lines


def _too_noisy(inputs: int) -> str:
    return f" (on {inputs} more it may be noise)" if inputs else ""


def estimation(report: Report) -> list[str]:
    """Return how each divergence was estimated, with the Monte-Carlo error."""
    lines = []
    for name in report.ranked:
        divergence = report.divergences[name]
        how = divergence.estimator.replace("_", " ")
        if divergence.draws:
            how += f", {divergence.draws} draws an input"
        error = divergence.summary.get("trace_se")
        trace = divergence.summary.get("trace")
        if error and trace and error.p50 and trace.p50:
            how += f", standard error of the trace {percent(error.p50 / trace.p50)}"
        how += _bracket(divergence)
        lines += [f"{name}: {how}", *(f"{name}: {note}" for note in divergence.notes)]
    return lines


def _bracket(divergence: Divergence) -> str:
    """Return the medians of a sampled eigenvalue and of the bracket it lies in."""
    found = [
        divergence.summary.get(name)
        for name in ("eigenvalue", "eigenvalue_lower", "eigenvalue_upper")
    ]
    value, lower, upper = (None if s is None else s.p50 for s in found)
    if value is None or lower is None or upper is None:
        return ""
    return f"; λ_max {number(value)} in {interval((lower, upper))} (medians)"


def quantity_order(report: Report, divergence: Divergence) -> list[str]:
    """Return the quantities worth a line: the main ones, then the attacks, the rest."""
    labels = attack_labels(report)
    main = ["eigenvalue", "trace", "radius"]
    attacks = [name for name in divergence.summary if is_attack(name, labels)]
    attacks.sort(key=lambda name: list(labels).index(name) if name in labels else 99)
    rest = [name for name in divergence.summary if name not in (*main, *attacks)]
    return [n for n in (*main, *attacks) if n in divergence.summary] + sorted(rest)
