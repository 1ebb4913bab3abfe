"""The chain of bounds on the trace, and how worst directions compare."""

from __future__ import annotations

import math
from collections.abc import Mapping

from audit.reports.report import Report
from audit.reports.summaries import Divergence
from audit.reports.text import number, percent


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
    """Return the chain as (label, value), tightest first; empty unless it is finite."""
    names = ("trace", "von_neumann", "model_norm", "map_norm", "jacobian_norm")
    trace, bound, model, mapping, jacobian = map(values.get, names)
    if trace is None or bound is None or model is None:
        return []
    if mapping is None or jacobian is None:
        return []
    chain = [
        ("tr G", trace),
        ("von Neumann", bound),
        ("‖F‖·‖JJᵀ‖", model * mapping),
        ("‖F‖·‖J‖²", model * jacobian),
    ]
    return chain if all(math.isfinite(value) for _, value in chain) else []


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
