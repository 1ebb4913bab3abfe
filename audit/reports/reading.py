"""What a report says, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.quantities import is_attack
from audit.reports.report import Check, Divergence, Report
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
        f"prediction by {number(tau(report))} {divergence.unit} along its worst "
        f"direction, {number(radius.min)} on the most sensitive input"
    )


def _attack(report: Report, divergence: Divergence) -> str:
    for label, spec in attack_labels(report).items():
        found = divergence.summary.get(label)
        if found and found.mean is not None:
            return (
                f"{spec} costs {number(found.mean)} {divergence.unit} on average, "
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
                f"than 10 % apart on {parted}"
            )
    return lines


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
        lines += [f"{name}: {how}", *(f"{name}: {note}" for note in divergence.notes)]
    return lines


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


def quantity_order(report: Report, divergence: Divergence) -> list[str]:
    """Return the quantities worth a line: the main ones, then the attacks, the rest."""
    labels = attack_labels(report)
    main = ["eigenvalue", "trace", "radius"]
    attacks = [name for name in divergence.summary if is_attack(name, labels)]
    attacks.sort(key=lambda name: list(labels).index(name) if name in labels else 99)
    rest = [name for name in divergence.summary if name not in (*main, *attacks)]
    return [n for n in (*main, *attacks) if n in divergence.summary] + sorted(rest)
