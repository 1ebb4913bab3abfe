"""Does a report believe a number of its own? If not, no limit is decided by it.

A predicted degradation c E|A δ|² is a second-order number. It is believed if it was
held against exact values and they agree: on most checked inputs within 10 %, noise
aside, and pooled over all of them. The second-order radius is believed if the exact one
is within 10 % of it in the median. A sum that rests on a few draws is not believed
either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from audit.config import Threshold
from audit.reports.keys import split_key
from audit.reports.quantities import is_attack
from audit.reports.report import Divergence, Report, Warned
from audit.reports.roles import ALONG, REALISED, named
from audit.reports.text import count, number

TOLERANCE = 0.1
"""Predicted and exact values that differ by more have parted."""
CRITICAL = "critical_radius"
_HEAVY = "heavy_tails"
_OF_SUMS = ("trace", "eigenvalue", "radius")


def doubt(report: Report, name: str, quantity: str) -> str:
    """Return why the report does not believe a number; "" where it does.

    Args:
        report: whose number it is.
        name: of the divergence.
        quantity: e.g. "gaussian".
    """
    divergence = report.divergences[name]
    predicted = is_attack(quantity, report.attacks)
    if (predicted or quantity in _OF_SUMS) and _heavy(report, name):
        return (
            "a few draws carry the sum behind it (heavy tails); limit "
            f"{name}.trace_median"
        )
    if predicted:
        instead = f"{name}.{named(quantity, REALISED)}"
        return _of_prediction(divergence, quantity, instead)
    if quantity == "radius":
        return _of_radius(divergence, f"{name}.{CRITICAL}")
    return ""


def cautions(report: Report, limits: Iterable[Threshold]) -> list[Warned]:
    """Return what to know of limits that are decided all the same.

    A critical radius that was looked for along v alone is one that another direction
    may undercut by far: a minimum that it keeps, the true one may not.
    """
    found = {}
    for limit in limits:
        name, quantity, _ = split_key(limit.key)
        if limit.op == ">=" and quantity == CRITICAL and _along_alone(report, name):
            found[f"along_{name}"] = (
                f"{name} {CRITICAL} is limited, and was looked for along the worst "
                "direction alone: another one may need less; ask for the search of all "
                "directions with --sizes, e.g. --sizes 0.1"
            )
    return [Warned(code=code, message=message) for code, message in found.items()]


def _along_alone(report: Report, name: str) -> bool:
    summary = report.divergences[name].summary if name in report.divergences else {}
    measured = CRITICAL in summary and summary[CRITICAL].n > 0
    several = math.prod(report.data.event_shape) > 1
    return measured and several and named(CRITICAL, ALONG) not in summary


def _heavy(report: Report, name: str) -> bool:
    return any(warning.code == f"{_HEAVY}_{name}" for warning in report.warnings)


def _of_prediction(divergence: Divergence, label: str, instead: str) -> str:
    found = divergence.verification.get(label)
    if found is None or not found.n:
        return _unchecked(divergence, named(label, REALISED))
    if 2 * found.parted > found.n:
        checked = count(found.n, "checked input")
        return (
            f"predicted and realised are more than 10 % apart on {found.parted} of "
            f"{checked}; limit {instead}"
        )
    if found.pooled is not None and not agrees(found.pooled):
        return (
            f"realised is {number(found.pooled)} times predicted over all "
            f"{count(found.n, 'checked input')}: they are apart; limit {instead}"
        )
    if 2 * (found.parted + found.noisy) > found.n:
        return (
            f"on {found.parted + found.noisy} of {count(found.n, 'checked input')} "
            "predicted and realised look more than 10 % apart, by no more than noise "
            f"on {found.noisy}; limit {instead}"
        )
    return ""


def _of_radius(divergence: Divergence, instead: str) -> str:
    found = divergence.verification.get("radius")
    if found is None or not found.n:
        return _unchecked(divergence, CRITICAL)
    ratio = found.ratio_p50
    if ratio is None or agrees(ratio):
        return ""
    return (
        f"the exact radius is {number(ratio)} times the second-order one in the median "
        f"of {count(found.n, 'checked input')}; limit {instead}"
    )


def _unchecked(divergence: Divergence, exact: str) -> str:
    summary = divergence.summary.get(exact)
    why = summary.reason if summary and summary.reason else "no exact value was taken"
    return f"it is a second-order number that was not checked ({why})"


def agrees(ratio: float) -> bool:
    """Tell whether exact over predicted is one within the tolerance."""
    return abs(ratio - 1) <= TOLERANCE
