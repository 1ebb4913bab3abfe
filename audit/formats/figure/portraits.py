"""One of the worst inputs as a figure: the input, moved, and both predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from audit.formats import classes, features
from audit.formats.figure.plot import Kind, Plot, Series
from audit.formats.html.directions import as_picture, as_series
from audit.formats.html.moved import as_grey, most_moved
from audit.ground.errors import ConfigError
from audit.reports.portraits import Portrait, Prediction
from audit.reports.record import Number
from audit.reports.report import Report
from audit.reports.text import number
from audit.reports.values import Floats

BEFORE, AFTER, DIFFERENCE = "before", "after", "difference"
MOST_BARS, MOST_NAMED = 12, 6
FEW = 8
"""Up to so many coordinates have spans; more are a fan."""


def portrait_of(report: Report, index: int) -> Portrait:
    """Return an input at its critical radius, with all that there is to draw.

    Raises:
        ConfigError: the report does not have it, for the reason that is given.
    """
    for found in report.portraits:
        if found.index == index:
            if found.delta is None:
                raise _lacks(index, found.reason)
            return found
    listed = ", ".join(str(p.index) for p in report.portraits if p.delta is not None)
    raise _lacks(index, f"the report has those of the inputs {listed or 'none'}")


def _lacks(index: int, why: str) -> ConfigError:
    return ConfigError(
        f"The perturbation of input {index} was asked for: {why}",
        "Expected one of the worst inputs, checked, with a finite critical radius",
        f"Scan with --index {index} --verify all, or ask for another --index",
    )


def portrait(report: Report, found: Portrait) -> tuple[Plot, ...]:
    """Return plots of an input, of the moved one, and of both predictions."""
    plots = tuple(_input(report, found))
    if found.kind is None or found.before is None or found.after is None:
        return plots
    names = report.model.class_names
    if names and classes.of_classes(names, found):
        return (*plots, _named(found, names))
    return (*plots, *_KINDS[found.kind](found, found.before, found.after))


def _input(report: Report, found: Portrait) -> Sequence[Plot]:
    x, delta = (np.asarray(part, dtype=float) for part in (found.x, found.delta))
    if as_picture(delta) is not None:
        parts = {"input": x, "moved": x + delta, DIFFERENCE: delta}
        return [_picture(name, part) for name, part in parts.items()]
    named = features.names_of(report.data, delta.size) is not None
    if delta.ndim == 2 or (not named and delta.size > 2 * MOST_BARS):
        return _lines(as_series(x), as_series(delta))
    return [_bars(report, found, x, delta)]


def _picture(name: str, values: Floats) -> Plot:
    """Return a picture, each cell with its column, row and value."""
    shown = as_picture(values) if name == DIFFERENCE else as_grey(values)
    assert shown is not None
    rows, columns = (place.ravel().tolist() for place in np.indices(shown.shape))
    cells = Series(name, "cells", columns, rows, shown.ravel().tolist())
    return Plot("column", "row", [cells])


def _lines(x: Floats, delta: Floats) -> list[Plot]:
    """Return the channel that moves most, over its steps, and its move."""
    channel = int(np.abs(delta).max(axis=1).argmax())
    steps = [float(k) for k in range(x.shape[1])]
    before, change = x[channel], delta[channel]
    both = [
        Series(BEFORE, "dashed", steps, before.tolist()),
        Series(AFTER, "line", steps, (before + change).tolist()),
    ]
    moved = [Series("", "line", steps, change.tolist())]
    return [Plot("step", "input", both), Plot("step", "difference", moved)]


def _bars(report: Report, found: Portrait, x: Floats, delta: Floats) -> Plot:
    """Return the features that move most, in units, with their values."""
    steps, order = most_moved(found, delta, MOST_BARS)
    names = features.names_of(report.data, delta.size)
    flat, moved = x.ravel().tolist(), (x + delta).ravel().tolist()
    labels = [
        f"{features.label(names, k, delta.shape)}: "
        f"{number(flat[k])} → {number(moved[k])}"
        for k in order
    ]
    places = [float(k) for k in range(len(order))]
    values = [float(steps[k]) for k in order]
    name = f"input {found.index}"
    return Plot(
        "δ, in units of each",
        "",
        [Series(name, "bars", places, values, labels=labels)],
    )


def _known(values: Sequence[Number] | None) -> list[float]:
    return [float("nan") if value is None else value for value in values or ()]


def _curves(found: Portrait, before: Prediction, after: Prediction) -> list[Plot]:
    grid = _known(found.axes[0])
    lines = [
        Series(BEFORE, "dashed", grid, _known(before.density)),
        Series(AFTER, "line", grid, _known(after.density)),
    ]
    return [Plot("θ", "density", lines)]


def _masses(found: Portrait, before: Prediction, after: Prediction) -> list[Plot]:
    grid = _known(found.axes[0])
    bars = [
        Series(BEFORE, "hollow", grid, _known(before.density)),
        Series(AFTER, "filled", grid, _known(after.density)),
    ]
    return [Plot("count" if found.how else "class", "probability", bars, ranks=True)]


def _named(found: Portrait, names: Sequence[str]) -> Plot:
    """Return the masses of the classes that move most, with their names."""
    rows = classes.moves(names, found)[:MOST_NAMED]
    places = [float(k) for k in range(len(rows))]
    labels = [name for name, *_ in rows]
    bars = [
        Series(BEFORE, "hollow", places, [row[1] for row in rows], labels=labels),
        Series(AFTER, "filled", places, [row[2] for row in rows], labels=labels),
    ]
    return Plot("class", "probability", bars, names=labels)


def _quantiles(found: Portrait, before: Prediction, after: Prediction) -> list[Plot]:
    """Return the fan of many coordinates, or the distribution function of one."""
    laws = [[_known(row) for row in law.quantiles or ()] for law in (before, after)]
    if len(laws[0][0]) == 1:
        first, last = ([row[0] for row in law] for law in laws)
        functions = [
            Series(BEFORE, "dashed", first, found.levels),
            Series(AFTER, "line", last, found.levels),
        ]
        return [Plot("θ", "probability below", functions)]
    if len(laws[0][0]) <= FEW:
        return [Plot("coordinate of θ", "θ", _spans(laws), ranks=True)]
    places, (start, stop) = [float(k) for k in range(len(laws[0][0]))], laws
    ends = f"{found.levels[0]:g} to {found.levels[-1]:g}"
    fan = [
        Series(f"{AFTER}, {ends}", "band", places, stop[0], stop[-1]),
        Series(AFTER, "line", places, stop[len(stop) // 2]),
        Series(BEFORE, "dashed", places, start[len(start) // 2]),
        Series("", "dashed", places, start[0]),
        Series("", "dashed", places, start[-1]),
    ]
    return [Plot("coordinate of θ", "θ", fan, ranks=True)]


def _spans(laws: list[list[list[float]]]) -> list[Series]:
    """Return the outer quantiles of a few coordinates, and dots at the medians."""
    found = []
    kinds: tuple[Kind, Kind] = ("thin spans", "spans")
    for name, kind, law, shift in zip(
        (BEFORE, AFTER), kinds, laws, (-0.1, 0.1), strict=True
    ):
        places = [k + shift for k in range(len(law[0]))]
        found.append(Series(name, kind, places, law[0], law[-1]))
        found.append(Series("", "dots", places, law[len(law) // 2]))
    return found


def _regions(found: Portrait, before: Prediction, after: Prediction) -> list[Plot]:
    """Return the edges of highest-density regions; the legend names each law once."""
    edges = [*_edges(before, BEFORE, "dashed"), *_edges(after, AFTER, "line")]
    return [Plot("θ[0]", "θ[1]", edges)]


def _edges(law: Prediction, name: str, kind: Kind) -> list[Series]:
    lines = [line for lines in law.regions.values() for line in lines]
    return [
        Series(name if k == 0 else "", kind, [a for a, _ in line], [b for _, b in line])
        for k, line in enumerate(lines)
    ]


_KINDS: dict[str, Callable[[Portrait, Prediction, Prediction], list[Plot]]] = {
    "density": _curves,
    "masses": _masses,
    "quantiles": _quantiles,
    "contour": _regions,
}
