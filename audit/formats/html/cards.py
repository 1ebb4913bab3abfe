"""The worst inputs: each as what it is, what it becomes, and what that does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audit.formats import evidence
from audit.formats.html import directions, moved, predicted
from audit.formats.html.svg import Drawing
from audit.reports.doubts import CRITICAL
from audit.reports.listed import WorstInput
from audit.reports.portraits import Portrait
from audit.reports.report import Report
from audit.reports.text import number

SHOWN = 4


@dataclass(frozen=True)
class Card:
    """One input: its number, a line about it, figures, and what is missing."""

    index: int
    said: str
    figures: tuple[Drawing, ...]
    missing: str = ""


def cards(report: Report) -> Iterator[Card]:
    """Yield the worst inputs, the worst first."""
    known = {one.index: one for one in report.portraits}
    for worst in report.worst[:SHOWN]:
        yield _card(report, worst, known.get(worst.index))


def _card(report: Report, worst: WorstInput, found: Portrait | None) -> Card:
    """Return one input: moved where that is known, else its worst direction."""
    name = report.ranked[0]
    values, unit = worst.values.get(name, {}), report.divergences[name].unit
    radius = values.get(CRITICAL)
    exact = "unknown" if radius is None else f"{number(radius)} δ"
    said = (
        f"{name}: eigenvalue {evidence.with_bracket(values, 'eigenvalue')} {unit}/δ², "
        f"critical radius {exact}"
    )
    if found is None:
        return Card(worst.index, said, _direction(report, worst, name))
    if found.cost is not None:
        said += f", where the prediction has moved by {number(found.cost)} {unit}"
    input_ = moved.drawn(report, found)
    first = _direction(report, worst, name) if input_ is None else (input_,)
    second = predicted.drawn(found, report.model.class_names)
    figures = first if second is None else (*first, second)
    missing = [part for part in (found.reason, found.unpictured) if part]
    return Card(worst.index, said, figures, "; ".join(missing))


def _direction(report: Report, worst: WorstInput, name: str) -> tuple[Drawing, ...]:
    drawing = directions.draw(report, worst, name)
    return () if drawing is None else (drawing,)
