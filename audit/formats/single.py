"""One input of a report: all its numbers and where they stand among the others."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from audit.formats import classes, reading
from audit.formats.layout import (
    ELSEWHERE,
    NAMES,
    Style,
    columns_of,
    laid_out,
    print_all,
)
from audit.formats.table import direction
from audit.ground.errors import ConfigError
from audit.ground.printable import printable
from audit.reports.record import Number
from audit.reports.report import Report
from audit.reports.text import NOTHING, count, number, percent

HEADS = ("value", "median", "larger than", "unit")


def values_of(report: Report, index: int) -> dict[str, dict[str, Number]]:
    """Return divergence -> quantity -> value of one input.

    Raises:
        ConfigError: the input was skipped, not audited, or is not listed.
    """
    for skipped in report.skipped:
        if skipped.index == index:
            raise ConfigError(
                f"Input {index} was skipped: {skipped.reason}",
                "Expected an input that was audited",
                "Name another one, or correct its row and scan again",
            )
    if report.inputs is not None and index in report.inputs.index:
        row = report.inputs.index.index(index)
        return {
            name: {quantity: column[row] for quantity, column in columns.items()}
            for name, columns in report.inputs.columns.items()
        }
    for worst in report.worst:
        if worst.index == index:
            return worst.values
    listed = "" if report.inputs else "; of this many only the 10 worst are listed"
    raise ConfigError(
        f"The report has no input {index}{listed}",
        f"Expected one of the {count(report.data.n_audited, 'audited input')}, by its "
        "row in the data, from 0",
        "Read it from the rows file, or audit it with --index",
    )


def render(report: Report, index: int, style: Style | None = None) -> str:
    """Return one input as text."""
    style = style or Style()
    return print_all(_parts(report, index, style), style)


def _parts(report: Report, index: int, style: Style) -> Iterator[RenderableType]:
    values = values_of(report, index)
    path = report.model.files[0].path if report.model.files else "model"
    yield Text(f"Input {index} of {printable(report.data.source)}", "bold")
    yield Text(printable(path), "dim")
    for name in (name for name in report.ranked if name in values):
        found = values[name]
        yield Text()
        order = reading.quantity_order(report, report.divergences[name])
        rows = [_row(report, name, q, found[q]) for q in order if q in found]
        columns = columns_of((name, *HEADS), rows, {0: NAMES, 4: None}, {2: 1})
        yield from laid_out(columns, style, ELSEWHERE)
        yield from _outcomes(report, index, name)
        yield from _direction(report, index, name)
    pictured = [one for one in report.portraits if one.index == index]
    for said in filter(None, (classes.sentence(report, one) for one in pictured)):
        yield Text()
        yield Text(f"{said[0].upper()}{said[1:]}")


def _row(report: Report, name: str, quantity: str, value: Number) -> list[str]:
    summary = report.divergences[name].summary[quantity]
    share = _share_below(report, name, quantity, value)
    median = number(summary.p50)
    return [quantity, number(value), median, percent(share), summary.unit]


def _share_below(
    report: Report, name: str, quantity: str, value: Number
) -> float | None:
    if report.inputs is None or value is None:
        return None
    column = report.inputs.columns[name][quantity]
    measured = [other for other in column if other is not None]
    return sum(other < value for other in measured) / len(measured)


def _outcomes(report: Report, index: int, name: str) -> Iterator[RenderableType]:
    """Yield what became of the values that are no finite numbers."""
    for worst in report.worst:
        if worst.index == index:
            said = worst.outcomes.get(name, {})
            yield from (
                Text(f"{q}: {printable(why)}", "dim") for q, why in said.items()
            )
            return
    found = report.inputs.outcomes.get(name) if report.inputs else None
    if found is None:
        return
    if index in found.at_rest:
        yield Text("at rest: nothing moves to second order", "dim")
    for quantity, reasons in found.not_measured.items():
        for why, rows in reasons.items():
            if index in rows:
                yield Text(f"{quantity}: not measured: {printable(why)}", "dim")


def _direction(report: Report, index: int, name: str) -> Iterator[RenderableType]:
    for worst in report.worst:
        shown = direction(report, worst, name, 6)
        if worst.index == index and shown != NOTHING:
            yield Text(f"worst direction  {shown}")
