"""Does a report believe a number of its own? If not, no limit is decided by it.

A predicted degradation c E|A δ|² is a second-order number. It is believed if it was
held against exact values and they agree: on most checked inputs within 10 %, noise
aside, and pooled over all of them. The second-order radius is believed if the exact one
is within 10 % of it in the median. What is predicted for a size ε is believed if what
the witnesses of that size reach, at the same inputs, is within 10 % of it in the mean
and in the median. None of them decides a limit that the same statistic of the exact
values decides otherwise, if it is more than 10 % away; nor does one fail where a sample
of exact values only may say otherwise. A sum that rests on a few draws
is not believed either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from audit.config import Threshold
from audit.reports.keys import split_key
from audit.reports.quantities import PERCENTILES, is_attack
from audit.reports.report import Report, Warned
from audit.reports.roles import (
    ALONG,
    LOWER,
    REALISED,
    base_name,
    certificate_name,
    named,
    sized,
)
from audit.reports.subjects import Subject
from audit.reports.summaries import Divergence, Summary
from audit.reports.text import count, number

TOLERANCE = 0.1
"""Predicted and exact values that differ by more have parted."""
CRITICAL = "critical_radius"
ALONE = (
    "critical_radius was looked for along the worst direction v alone: an upper bound, "
    "and another direction may need less"
)
"""What a report says of radii that no other direction was tried for."""
_OF_MEANS = "values are means over draws, whose noise a search would climb"
_SEARCHED = "ask for the search of all directions with --sizes, e.g. --sizes 0.1"
PREDICTED, WITNESS = "predicted", "witness"
_HEAVY = "heavy_tails"
CARRIED = "carried"
"""Begins the code of a warning that single perturbations carry an attack's mean."""
_OF_SUMS = ("trace", "eigenvalue", "radius")


def doubt(report: Report, name: str, quantity: str) -> str:
    """Return why the report does not believe a number; "" where it does."""
    divergence, label = report.divergences[name], base_name(quantity)
    predicted = is_attack(quantity, report.attacks)
    if (predicted or quantity in _OF_SUMS) and _heavy(report, name):
        return (
            "a few draws carry the sum behind it (heavy tails); limit "
            f"{name}.trace_median"
        )
    if any(one.code == f"{CARRIED}_{name}_{label}" for one in report.warnings):
        return (
            f"single perturbations carry the mean over {label}, whose tail is not "
            "seen; limit a smaller attack, or a bounded one such as uniform_norm"
        )
    if predicted and certificate_name(quantity) in divergence.summary:
        return (
            "it is a second-order number, and no bound; the proven one is "
            f"{name}.{certificate_name(quantity)}: limit that"
        )
    if predicted:
        instead = f"{name}.{named(quantity, REALISED)}"
        return _of_prediction(divergence, quantity, instead)
    if quantity == "radius":
        return _of_radius(divergence, f"{name}.{CRITICAL}")
    witness = exact_of(report, quantity)
    return witness and _of_size(divergence.summary, quantity, witness, name)


def contradiction(
    report: Report, key: tuple[str, str, str], keeps: Callable[[float], bool]
) -> str:
    """Return why the exact values decide a limit otherwise; "" where they do not.

    Second order may be right on most inputs and wrong on those that the limit is on.

    Args:
        report: whose number it is.
        key: the divergence, the quantity and the statistic of the limit.
        keeps: tells whether a value keeps it.
    """
    name, quantity, statistic = key
    exact, summary = exact_of(report, quantity), report.divergences[name].summary
    if exact not in summary:
        return ""
    said, found = (getattr(summary[one], statistic) for one in (quantity, exact))
    if None in (said, found) or keeps(said) == keeps(found) or close(found, said):
        return ""
    ends = _ends(summary[exact], statistic, strict=not keeps(said))
    if any(keeps(end) != keeps(found) for end in ends):
        return ""
    checked = count(summary[exact].n_checked or summary[exact].n, "checked input")
    return (
        f"by the exact values of {checked} its {statistic} is {number(found)}, which "
        f"decides otherwise; limit {name}.{exact}"
    )


def unseen(summary: Summary, statistic: str, op: str, subject: Subject) -> str:
    """Return why the extreme value of a sample does not keep a limit for all inputs.

    One that breaks it does, whatever the other inputs have; "" there. How an extreme
    changed no sample tells, unless nothing changed at any of its inputs.

    Args:
        summary: of the quantity.
        statistic: that is limited.
        op: "<=" or ">=".
        subject: what is held against the limit.
    """
    value = subject.value
    if subject.changed:
        extreme = statistic in ("max", "min") and subject.interval != (0.0, 0.0)
    else:
        extreme = (statistic, op) in (("max", "<="), ("min", ">="))
    sampled = summary.n_checked is not None
    if not (extreme and sampled) or value is None or not subject.keeps(value):
        return ""
    said = f"{'the change of ' * subject.changed}the {statistic}"
    return (
        f"it is {said} of {count(summary.n_checked or 0, 'checked input')}, and the "
        "others may have any value; pass --verify all, or limit a percentile"
    )


def _ends(summary: Summary, statistic: str, strict: bool) -> tuple[float, ...]:
    """Return between what a statistic of all inputs lies, as far as a sample tells.

    Nothing, where its value decides: where all inputs were checked; and to stop a pass,
    for which less will do than for a failure (`strict`), where at least one of the
    checked inputs lies beyond a percentile.
    """
    p = PERCENTILES.get(statistic, 0.5)
    seen = summary.n_checked is None or summary.n_checked * min(p, 1 - p) >= 1
    if summary.n_checked is None or (seen and not strict):
        return ()
    if statistic == "max":
        return (getattr(summary, statistic), math.inf)
    if statistic == "min":
        return (getattr(summary, statistic), -math.inf)
    ends = getattr(summary.ci95, statistic, None)
    return (-math.inf, math.inf) if ends is None else ends


def exact_of(report: Report, quantity: str) -> str:
    """Return what holds the exact values of a second-order number; "" for others."""
    if is_attack(quantity, report.attacks):
        return named(quantity, REALISED)
    if quantity == "radius":
        return CRITICAL
    at = sized(quantity)
    predicted = at is not None and at[0] == PREDICTED
    return quantity.replace(PREDICTED, WITNESS, 1) if predicted else ""


def cautions(report: Report, limits: Iterable[Threshold]) -> list[Warned]:
    """Return what to know of limits that are decided all the same.

    A critical radius that was looked for along v alone is one that another direction
    may undercut by far: a minimum that it keeps, the true one may not.
    """
    found = {}
    for limit in limits:
        name, quantity, _ = split_key(limit.key)
        if limit.op != ">=" or quantity != CRITICAL or name not in report.divergences:
            continue
        if ALONE in report.divergences[name].notes:
            drawn = named(CRITICAL, LOWER) in report.divergences[name].summary
            found[f"along_{name}"] = (
                f"{name} {CRITICAL} is limited, and was looked for along the worst "
                "direction alone: another one may need less; "
                + (_OF_MEANS if drawn else _SEARCHED)
            )
    return [Warned(code=code, message=message) for code, message in found.items()]


def along_alone(summary: Mapping[str, Summary], free: int) -> bool:
    """Tell whether critical radii were looked for along v alone among many directions.

    Args:
        summary: of a divergence.
        free: how many features may move; ±v are all directions of a single one.
    """
    measured = CRITICAL in summary and summary[CRITICAL].n > 0
    return measured and free > 1 and named(CRITICAL, ALONG) not in summary


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
    if ratio == math.inf:
        return (
            "τ is not reached on half of its "
            f"{count(found.n, 'checked input')}, where it says that it is; limit "
            f"{instead}"
        )
    return (
        f"the exact radius is {number(ratio)} times the second-order one in the median "
        f"of {count(found.n, 'checked input')}; limit {instead}"
    )


def _of_size(
    summary: Mapping[str, Summary], predicted: str, witness: str, name: str
) -> str:
    said, found = summary[predicted], summary.get(witness)
    same = found and (found.n, found.n_checked) == (said.n, said.n_checked)
    if found is None or not found.n or not same:
        return "it is a second-order number that no witness of all its inputs bears out"
    for statistic in ("mean", "p50"):
        second, exact = getattr(said, statistic), getattr(found, statistic)
        if None in (second, exact) or not close(exact, second):
            return (
                f"its {statistic} is {number(second)}, and witnesses reach "
                f"{number(exact)}; limit {name}.{witness}"
            )
    return ""


def close(exact: float, predicted: float) -> bool:
    """Tell whether two values are one within the tolerance, 0 and ∞ included."""
    return exact == predicted or (predicted != 0 and agrees(exact / predicted))


def _unchecked(divergence: Divergence, exact: str) -> str:
    summary = divergence.summary.get(exact)
    why = summary.reason if summary and summary.reason else "no exact value was taken"
    return f"it is a second-order number that was not checked ({why})"


def agrees(ratio: float) -> bool:
    """Tell whether exact over predicted is one within the tolerance."""
    return abs(ratio - 1) <= TOLERANCE
