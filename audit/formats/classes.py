"""Classes by their names, and what the worst perturbations do to them."""

from __future__ import annotations

from collections.abc import Sequence

from audit.ground.printable import printable
from audit.reports.portraits import Portrait
from audit.reports.record import Number
from audit.reports.report import Report
from audit.reports.text import number, percent, shorten

NAME_WIDTH = 24
"""Characters of a name where several share a line."""
SHOWN = 3


def of_classes(names: Sequence[str] | None, found: Portrait) -> bool:
    """Tell whether masses are of classes: they are named, or no counts were drawn."""
    return found.kind == "masses" and bool(names or not found.how)


def label(names: Sequence[str] | None, value: Number) -> str:
    """Return what to call a class: its name, or its number."""
    if value is None:
        return "?"
    place = int(value)
    if names and place == value and 0 <= place < len(names):
        return printable(names[place])
    return f"{value:g}"


def moves(
    names: Sequence[str] | None, found: Portrait
) -> list[tuple[str, float, float]]:
    """Return (class, mass before, mass after), the most moved first.

    It is empty where a portrait is not of classes.
    """
    if not of_classes(names, found) or found.before is None or found.after is None:
        return []
    masses = [
        [v or 0.0 for v in law.density or ()] for law in (found.before, found.after)
    ]
    called = [label(names, value) for value in found.axes[0]]
    rows = zip(called, *masses, strict=True)
    return sorted(rows, key=lambda row: -abs(row[2] - row[1]))


def sentence(report: Report, found: Portrait) -> str:
    """Say what a perturbation at the critical radius does to a prediction of classes.

    "" where there is no such thing.
    """
    rows = moves(report.model.class_names, found)
    if not rows:
        return ""
    said = ", ".join(
        f"{_called(report, name)} {percent(before)} → {percent(after)}"
        for name, before, after in rows[:SHOWN]
    )
    change = _change(report, rows)
    said = f"{change} ({said})" if change else said
    where = f"input {found.index} at its critical radius {number(found.radius)}"
    return f"{where}: {said}"


def becomes(report: Report, found: Portrait) -> str:
    """Say which class becomes which at the critical radius; "" where none does."""
    rows = moves(report.model.class_names, found)
    return _change(report, rows) if rows else ""


def _change(report: Report, rows: Sequence[tuple[str, float, float]]) -> str:
    first = max(rows, key=lambda row: row[1])[0]
    last = max(rows, key=lambda row: row[2])[0]
    if first == last:
        return ""
    return f"{_called(report, first)} becomes {_called(report, last)}"


def sentences(report: Report, most: int) -> list[str]:
    """Say it of the worst inputs whose perturbation is known."""
    known = {one.index: one for one in report.portraits}
    asked = (known[w.index] for w in report.worst[:most] if w.index in known)
    return [said for one in asked if (said := sentence(report, one))]


def _called(report: Report, name: str) -> str:
    if report.model.class_names:
        return f"'{shorten(name, NAME_WIDTH)}'"
    return f"class {name}"
