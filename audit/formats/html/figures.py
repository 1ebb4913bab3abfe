"""The plots of the page, each drawn from the report alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.formats import trace_bounds
from audit.formats.html.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    ROW,
    TOP,
    WIDTH,
    Axis,
    Drawing,
    axis,
)
from audit.reports.doubts import CRITICAL
from audit.reports.judged import Check
from audit.reports.report import Report
from audit.reports.roles import REALISED, named
from audit.reports.summaries import Bins, Summary
from audit.reports.text import count, number

MOST_DOTS = 2000
ACROSS = (LEFT, WIDTH - RIGHT)
UPRIGHT = (HEIGHT - BOTTOM, TOP)
LIMITS_SHOWN = 4
RADII = (CRITICAL, "radius")
"""Quantities whose small values are the dangerous ones."""
LETTER = 11  # the width of one, in pixels, at the largest type
Pairs = list[tuple[float, float]]


def histogram(
    name: str, quantity: str, summary: Summary, checks: Sequence[Check]
) -> Drawing | None:
    """Draw how a quantity is spread over the inputs, with percentiles and limits."""
    bins = summary.histogram
    if bins is None or len(bins.counts) < 2 or summary.p50 is None:
        return None
    drawn = sum(bins.counts)
    beyond = f"; {summary.n - drawn} are infinite and not drawn" * (drawn < summary.n)
    drawing = Drawing(
        f"{name} {quantity}",
        f"{count(summary.n, 'input')}: {_ends(quantity, summary)} "
        f"{summary.unit}{beyond}",
        f"inputs for each step of {summary.unit or quantity}",
    )
    log = bins.scale == "log"
    limits = [
        check
        for check in checks
        if check.key.startswith(f"{name}.{quantity}.") and (check.limit > 0 or not log)
    ][:LIMITS_SHOWN]
    values = [bins.low, bins.high, *(check.limit for check in limits)]
    x = axis(values, *ACROSS, log=log)
    marks = _placed(x, _marks(quantity, summary))
    rows = 1 + max((mark.row for mark in marks), default=0)
    drawing.height += ROW * (rows + len(limits))
    _bars(drawing, x, bins, TOP + ROW * (rows + len(limits)))
    _rules(drawing, x, marks, limits, rows)
    unit = f" ({summary.unit})" if summary.unit else ""
    drawing.across(x, f"{quantity}{unit}")
    return drawing


def _ends(quantity: str, summary: Summary) -> str:
    """Say where the numbers are, towards the dangerous end last."""
    half = number(summary.p50)
    if quantity in RADII:
        return (
            f"half of them above {half}, 95 % above {number(summary.p05)}, at least "
            f"{number(summary.min)}"
        )
    return (
        f"half of them below {half}, 95 % below {number(summary.p95)}, at most "
        f"{number(summary.max)}"
    )


def _marks(quantity: str, summary: Summary) -> dict[str, float | None]:
    """Return the median and the percentile towards the dangerous end."""
    if quantity in RADII:
        return {"p05": summary.p05, "median": summary.p50}
    return {"median": summary.p50, "p95": summary.p95}


@dataclass(frozen=True)
class _Mark:
    """A percentile: where its line is, and on which side and row its name stands."""

    name: str
    at: float
    right: bool
    row: int


def _placed(x: Axis, marks: Mapping[str, float | None]) -> list[_Mark]:
    """Return percentiles in ascending order; a name that has no room gets a new row."""
    found: list[_Mark] = []
    taken = -math.inf
    for order, (name, value) in enumerate(marks.items()):
        if value is None or not math.isfinite(value):
            continue
        at, room = x(value), LETTER * len(name)
        right = (order > 0 and at + room < WIDTH) or at - room < LEFT
        start = at if right else at - room
        found.append(_Mark(name, at, right, int(start < taken)))
        taken = max(taken, start + room)
    return found


def _rules(
    drawing: Drawing,
    x: Axis,
    marks: Sequence[_Mark],
    limits: Sequence[Check],
    rows: int,
) -> None:
    """Mark percentiles in the first rows, and limits, each in a row of its own."""
    for mark in marks:
        drawing.rule(mark.at, mark.name, "mark", mark.row, right=mark.right)
    for row, check in enumerate(limits, start=rows):
        kind = "limit broken" if check.holds is False else "limit"
        text = f"limit {check.op} {number(check.limit)}"
        place = x(check.limit)
        drawing.rule(place, text, kind, row, right=place < WIDTH / 2)


def _bars(drawing: Drawing, x: Axis, bins: Bins, top: float) -> None:
    y = Axis(0, max(bins.counts), drawing.height - BOTTOM, top)
    drawing.upright(y, "inputs")
    edges = bins.edges
    for left, right, height in zip(edges, edges[1:], bins.counts, strict=False):
        if height:
            drawing.add(
                "rect",
                x=x(left) + 0.5,
                y=y(height),
                width=max(x(right) - x(left) - 1, 0.5),
                height=y(0) - y(height),
                class_="bar",
            )


def validity(report: Report, name: str, label: str) -> Drawing | None:
    """Draw predicted against realised degradation, input by input."""
    pairs = _pairs(report, (name, label), (name, named(label, REALISED)))
    if len(pairs) < 2:
        return None
    unit = report.divergences[name].unit
    drawing = Drawing(
        f"{name} {label}: predicted and realised",
        f"{count(len(pairs), 'checked input')}; on the diagonal the second-order "
        "prediction is exact",
        unit,
    )
    both = [value for pair in pairs for value in pair]
    x, y = axis(both, *ACROSS, log=True), axis(both, *UPRIGHT, log=True)
    drawing.upright(y, f"realised ({unit})")
    drawing.line((x(x.low), y(y.low)), (x(x.high), y(y.high)), "mark")
    drawing.dots([(x(a), y(b)) for a, b in pairs], "dot")
    drawing.across(x, f"predicted ({unit})")
    return drawing


def against(report: Report, first: str, second: str) -> Drawing | None:
    """Draw the top eigenvalues of two divergences against each other."""
    pairs = _pairs(report, (first, "eigenvalue"), (second, "eigenvalue"))
    if len(pairs) < 2:
        return None
    units = [f"{report.divergences[name].unit}/δ²" for name in (first, second)]
    drawing = Drawing(
        f"{first} against {second}",
        f"Top eigenvalue of each on {count(len(pairs), 'input')}: inputs far from a "
        "line are sensitive for one and not for the other",
        " and ".join(units),
    )
    x = axis([a for a, _ in pairs], *ACROSS, log=True)
    y = axis([b for _, b in pairs], *UPRIGHT, log=True)
    drawing.upright(y, f"{second} ({units[1]})")
    drawing.dots([(x(a), y(b)) for a, b in pairs], "dot")
    drawing.across(x, f"{first} ({units[0]})")
    return drawing


def _pairs(report: Report, first: tuple[str, str], second: tuple[str, str]) -> Pairs:
    """Return positive finite pairs of two columns, thinned to what can be seen.

    A report of very many inputs lists the worst of them only.
    """
    found = [_column(report, *place) for place in (first, second)]
    pairs = [
        (a, b)
        for a, b in zip(*found, strict=True)
        if a and b and min(a, b) > 0 and max(a, b) < math.inf
    ]
    return pairs[:: max(1, -(-len(pairs) // MOST_DOTS))]


def _column(report: Report, name: str, quantity: str) -> Sequence[float | None]:
    if report.inputs is None:
        return [worst.values.get(name, {}).get(quantity) for worst in report.worst]
    missing: list[float | None] = [None] * len(report.inputs.index)
    return report.inputs.columns.get(name, {}).get(quantity, missing)


def chain(report: Report, name: str) -> Drawing | None:
    """Draw the bounds on the trace at the worst input, tightest first."""
    values = report.worst[0].values.get(name, {}) if report.worst else {}
    bounds = trace_bounds.chain_values(values)
    if not bounds:
        return None
    index, unit = report.worst[0].index, f"{report.divergences[name].unit}/δ²"
    drawing = Drawing(
        f"{name} at input {index}: what the bounds lose",
        "; ".join(f"{label} {number(value)}" for label, value in bounds)
        + f", in {unit}",
        unit,
        height=8 + 34 * len(bounds),
    )
    x = Axis(0, max(value for _, value in bounds), 130, WIDTH - 80)
    for k, (label, value) in enumerate(bounds):
        y = 8 + 34 * k
        drawing.add("rect", x=x(0), y=y, width=x(value) - x(0), height=20, class_="bar")
        drawing.label((x(0) - 8, y + 15), label, "tick end")
        drawing.label((x(value) + 6, y + 15), number(value), "tick")
    return drawing
