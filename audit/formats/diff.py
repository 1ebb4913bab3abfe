"""What `robaudit diff` prints."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from audit.formats import reading
from audit.formats.layout import (
    ELSEWHERE,
    NAMES,
    Style,
    columns_of,
    laid_out,
    print_all,
)
from audit.formats.table import is_minor, verdict_lines
from audit.ground.printable import printable
from audit.reports.changes import Change, Moved
from audit.reports.checks import verdict_record
from audit.reports.compare import Comparison
from audit.reports.json import finite, indented
from audit.reports.quantities import FEWEST_VALUES
from audit.reports.report import Report
from audit.reports.text import NOTHING, count, number

SHOWN_MOVED = 5
HEADS = ("old mean", "new mean", "change", "95 % interval of the change")
UNKNOWN = (
    f"{NOTHING}: no interval tells such a change from noise. A mean of differences has "
    f"none below {FEWEST_VALUES} inputs, or with a tail so long that they do not tell."
)
_STYLES = {"+": "bold", "-": "bold", "~": "dim"}


def to_json(found: Comparison, judged: Report) -> str:
    """Return a comparison as JSON."""
    data = dataclasses.asdict(found)
    data["changes"] = [
        {**dataclasses.asdict(change), "sign": change.sign} for change in found.changes
    ]
    return indented(finite(data | verdict_record(judged)), allow_nan=False)


def render(found: Comparison, judged: Report, style: Style | None = None) -> str:
    """Return a comparison as text, with the checks of the new report if there are."""
    style = style or Style()
    return print_all(_parts(found, judged, style), style)


def _parts(found: Comparison, judged: Report, style: Style) -> Iterator[RenderableType]:
    yield Text.assemble("old  ", (printable(found.old), "bold"))
    yield Text.assemble("new  ", (printable(found.new), "bold"))
    yield Text()
    yield Text(headline(found))
    for note in found.notes:
        yield Text(f"Note: {printable(note)}", "yellow")
    for name in dict.fromkeys(change.divergence for change in found.changes):
        yield Text()
        changes = [c for c in found.changes if c.divergence == name]
        yield from _table(changes, judged, style)
    if not all(change.known for change in _shown(found.changes, style)):
        yield Text()
        yield Text(UNKNOWN, "dim")
    if found.moved:
        yield Text()
        yield from _moved(found, style)
    if judged.checks:
        yield Text()
        yield from verdict_lines(judged)


def headline(found: Comparison) -> str:
    """Say in one sentence what changed."""
    measured = [change for change in found.changes if not is_minor(change.quantity)]
    told = [change for change in measured if change.sign != "~"]
    main = next(
        (c for c in found.changes if f"{c.divergence}.{c.quantity}" == found.measure),
        None,
    )
    paired = f"{count(found.n, 'input')} in both"
    if not told:
        return f"{paired}: no change is told from noise."
    if main is None or main.sign == "~":
        return f"{paired}: {len(told)} of {len(measured)} quantities changed."
    verb = "more" if main.sign == "+" else "less"
    factor = _moved_by(main).lstrip("+-−")
    return (
        f"{paired}: the new model is {verb} sensitive along its worst direction, "
        f"{main.divergence} eigenvalue by {factor} on average."
    )


def _table(
    changes: list[Change], judged: Report, style: Style
) -> Iterator[RenderableType]:
    name = changes[0].divergence
    order = reading.quantity_order(judged, judged.divergences[name])
    shown = sorted(_shown(changes, style), key=lambda c: order.index(c.quantity))
    rows = [_row(change) for change in shown]
    columns = columns_of((name, *HEADS, ""), rows, {0: NAMES}, {1: 1})
    colours = [_STYLES[change.sign] for change in shown]
    yield from laid_out(columns, style, ELSEWHERE, colours)


def _shown(changes: list[Change], style: Style) -> list[Change]:
    return [one for one in changes if style.verbose or not is_minor(one.quantity)]


def _row(change: Change) -> tuple[str, ...]:
    old, new = number(change.old), number(change.new)
    moved, ends = _moved_by(change), _ends(change)
    return (change.quantity, old, new, moved, ends, change.sign)


def _ends(change: Change) -> str:
    """Return the interval of the share, else that of the difference in its own unit.

    The latter takes the old mean for sure, and a share of that may pass −100 %.
    """
    if not change.known:
        return NOTHING
    if change.share is not None:
        low, high = (_signed(100 * end, " %") for end in change.share)
    else:
        unit = f" {change.unit}".rstrip()
        low, high = (_signed(end, unit) for end in (change.low, change.high))
    return f"[{low}, {high}]"


def _scale(change: Change) -> tuple[float, str]:
    """Return the unit of a change: a share of the old mean, if there is any."""
    if change.old and math.isfinite(change.old):
        return 100 / abs(change.old), " %"
    return 1.0, f" {change.unit}".rstrip()


def _moved_by(change: Change) -> str:
    scale, unit = _scale(change)
    return _signed(scale * change.difference, unit)


def _signed(value: float, unit: str) -> str:
    sign = "+" if value > 0 else ""
    return f"{sign}{number(value)}{unit}"


def _moved(found: Comparison, style: Style) -> Iterator[RenderableType]:
    heads = ("moved most", f"{found.measure} old", "new", "factor")
    rows = [
        (moved.index, number(moved.old), number(moved.new), _factor(moved))
        for moved in found.moved[:SHOWN_MOVED]
    ]
    yield from laid_out(columns_of(heads, rows), style, ELSEWHERE)


def _factor(moved: Moved) -> str:
    return f"×{number(moved.new / moved.old)}"
