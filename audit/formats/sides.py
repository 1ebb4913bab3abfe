"""The two-sided table of a report, as rows of text: below, predicted and above."""

from __future__ import annotations

import math

from audit.formats.reading import tau
from audit.reports.report import Report
from audit.reports.roles import ERROR, at_size, named
from audit.reports.summaries import Divergence, Rung, Side
from audit.reports.text import NOTHING, count, number, percent

HEADINGS = ("ε", "predicted", "along ±v", "witness", "certificate")
_NORMS = {"2": "‖u‖₂", "inf": "‖u‖∞", "1": "‖u‖₁"}


def title(report: Report, name: str) -> str:
    """Say what the table of a divergence holds; "" where there is none."""
    rungs = report.divergences[name].two_sided
    if not rungs:
        return ""
    return (
        f"{name} at {_NORMS[rungs[0].norm]} ≤ ε, witness ≤ truth ≤ certificate: "
        f"medians, and the share of inputs at {number(tau(report))} or more"
    )


def rows(divergence: Divergence) -> list[tuple[str, ...]]:
    """Return a row of cells under `HEADINGS` for each size, ascending."""
    return [
        (number(rung.size), *(_cell(side) for side in sides(rung)))
        for rung in divergence.two_sided
    ]


def sides(rung: Rung) -> tuple[Side | None, ...]:
    """Return a rung's numbers in the order of `HEADINGS`."""
    return (rung.predicted, rung.along, rung.witness, rung.certificate)


def medians(divergence: Divergence) -> list[dict[float, float]]:
    """Return ε -> median of the witness, the certificate and the prediction.

    Only where it is positive and finite: a log scale's own.
    """
    found: list[dict[float, float]] = []
    for name in ("witness", "certificate", "predicted"):
        own = {rung.size: getattr(rung, name) for rung in divergence.two_sided}
        known = {size: side.p50 for size, side in own.items() if side and side.p50}
        found.append({size: m for size, m in known.items() if 0 < m < math.inf})
    return found


def notes(report: Report, name: str) -> list[str]:
    """Return at how many inputs a table was measured, and why numbers are missing."""
    divergence, total = report.divergences[name], report.data.n_audited
    every = (side for rung in divergence.two_sided for side in sides(rung) if side)
    checked = max((side.n for side in every), default=0)
    said = f"checked on {checked} of {count(total, 'input')} (and weighted to all)"
    return [
        *([said] if 0 < checked < total else []),
        *_drawn(divergence),
        *_reasons(divergence),
    ]


def _drawn(divergence: Divergence) -> list[str]:
    """Return how far ±v and witnesses are off where they are means over draws."""
    shares = []
    for rung in divergence.two_sided:
        for name, side in (("along", rung.along), ("witness", rung.witness)):
            column = named(at_size(name, rung.size), ERROR)
            error = divergence.summary.get(column)
            if error and error.p50 is not None and side and side.p50:
                shares.append(error.p50 / side.p50)
    if not shares:
        return []
    said = f"their standard error is up to {percent(max(shares))} of them (medians)"
    return [f"±v and witnesses are means over draws: {said}"]


def _reasons(divergence: Divergence) -> list[str]:
    """Return why some numbers are missing, each reason once.

    Some reasons begin with "no certificate: " themselves.
    """
    found = [
        (f"no {name}: ", side.reason)
        for rung in divergence.two_sided
        for name, side in zip(HEADINGS[1:], sides(rung), strict=True)
        if side is not None and side.reason and not side.n
    ]
    return [
        lacking + reason.removeprefix(lacking)
        for lacking, reason in dict.fromkeys(found)
    ]


def _cell(side: Side | None) -> str:
    if side is None or side.p50 is None:
        return NOTHING
    reached = f" ({percent(side.reaching)})" if side.reaching else ""
    return f"{number(side.p50)}{reached}"
