"""An input and what it becomes: pictures, series or named features, side by side.

x, x + δ and δ of one of the worst inputs, at its critical radius. Grey values and the
lines of x and x + δ share one scale; δ has its own.
"""

from __future__ import annotations

import numpy as np

from audit.formats import features
from audit.formats.html.directions import MOST_CELLS, as_picture, as_series
from audit.formats.html.svg import Axis, Drawing, axis
from audit.reports.portraits import Portrait
from audit.reports.report import Report
from audit.reports.text import count, number, shorten
from audit.reports.values import Floats

PANEL, GAP = 112, 12
SIDE = 310
LEVELS = 16
MOST_BARS = 24
MOST_NAMED = 8
MOST_CHANNELS = 4
MOST_POINTS = 240
NAME_WIDTH = 14


def drawn(report: Report, found: Portrait) -> Drawing | None:
    """Draw x, x + δ and δ; None when the report does not have them."""
    if found.x is None or found.delta is None:
        return None
    x, delta = (np.asarray(part, dtype=float) for part in (found.x, found.delta))
    named = features.names_of(report.data, delta.size) is not None
    if as_picture(delta) is not None:
        return _pictures(found, x, delta)
    if delta.ndim == 2 or (not named and delta.size > MOST_BARS):
        return _series(report, found, x, delta)
    return _features(report, found, x, delta)


TITLE = "Input, before and after"


def _strongest(report: Report | None, delta: Floats) -> str:
    """Say by how much the feature moves that moves most."""
    place = int(np.abs(delta).argmax())
    names = None if report is None else features.names_of(report.data, delta.size)
    name = features.label(names, place, delta.shape)
    return f"{name} by {number(float(delta.flat[place]))}"


def _pictures(found: Portrait, x: Floats, delta: Floats) -> Drawing:
    """Draw three pictures in a row: x and x + δ in grey, δ in two colours."""
    rows, columns = x.shape[-2:]
    change = as_picture(delta)
    assert change is not None
    before, after = as_grey(x), as_grey(x + delta)
    cell = PANEL / max(before.shape)
    drawing = Drawing(
        TITLE,
        f"Input {found.index}, {rows} by {columns}, moved, and the difference; most at "
        f"{_strongest(None, delta)}",
        "grey values",
        caption=f"Grey values of {rows} by {columns}; moves {_strongest(None, delta)}",
        width=3 * PANEL + 2 * GAP,
        height=round(cell * before.shape[0]) + 20,
    )
    low = min(float(before.min()), float(after.min()))
    high = max(float(before.max()), float(after.max()))
    words = ("input", "moved", "difference")
    for k, (part, word) in enumerate(zip((before, after, change), words, strict=True)):
        left = k * (PANEL + GAP)
        kind = "night" if k < 2 else "frame"
        drawing.rect((left, 0), PANEL, drawing.height - 20, kind)
        if k < 2:
            share = (part - low) / ((high - low) or 1.0)
            _cells(drawing, share, left, cell, "day")
        else:
            share = part / (float(np.abs(part).max()) or 1.0)
            _cells(drawing, share, left, cell, "plus")
            _cells(drawing, -share, left, cell, "minus")
        middle = left + PANEL / 2
        drawing.label((middle, drawing.height - 5), word, "tick middle")
    return drawing


def as_grey(values: Floats) -> Floats:
    """Return a picture as [rows, columns]: means over channels, and over blocks."""
    if values.ndim == 3:
        values = values.mean(axis=2 if values.shape[2] <= 4 < values.shape[0] else 0)
    for axis_ in (0, 1):
        size = -(-values.shape[axis_] // MOST_CELLS)
        starts = np.arange(0, values.shape[axis_], size)
        counts = np.diff([*starts, values.shape[axis_]])
        shape = (-1, 1) if axis_ == 0 else (1, -1)
        sums = np.add.reduceat(values, starts, axis=axis_)
        values = sums / counts.reshape(shape)
    return values


def _cells(
    drawing: Drawing, share: Floats, left: float, cell: float, class_: str
) -> None:
    """Draw the positive entries of [rows, columns], a path for each strength."""
    strength = np.rint(LEVELS * share.clip(0, 1)).astype(int)
    place = f"translate({left:.1f} 0) scale({cell:.3f})"
    for level in range(1, LEVELS + 1):
        steps = "".join(
            f"M{start} {row}h{stop - start}v1H{start}z"
            for row, line in enumerate(strength == level)
            for start, stop in _runs(line.tolist())
        )
        if steps:
            opacity = f"{level / LEVELS:.3g}"
            drawing.add(
                "path", d=steps, class_=class_, fill_opacity=opacity, transform=place
            )


def _runs(line: list[bool]) -> list[tuple[int, int]]:
    """Return (start, stop) of what is true without a gap."""
    padded = [False, *line, False]
    ends = [k for k in range(len(line) + 1) if padded[k] != padded[k + 1]]
    return list(zip(ends[::2], ends[1::2], strict=True))


def _series(report: Report, found: Portrait, x: Floats, delta: Floats) -> Drawing:
    """Draw lines over the steps: x dashed, x + δ solid, and δ below them."""
    before, change = as_series(x), as_series(delta)
    order = np.argsort(-np.abs(change).max(axis=1), kind="stable")[:MOST_CHANNELS]
    before, change = before[order], change[order]
    steps, after = before.shape[1], before + change
    drawing = Drawing(
        TITLE,
        f"Input {found.index}, {delta.size} entries (dashed), moved (solid), and the "
        f"difference; most at {_strongest(report, delta)}",
        "values of the input",
        caption=f"Values of the input; moves {_strongest(report, delta)}",
        width=SIDE,
        height=218,
    )
    across = Axis(0, max(steps - 1, 1), 58, SIDE - 8)
    y = axis([*before.ravel().tolist(), *after.ravel().tolist()], 118, 10)
    below = axis([*change.ravel().tolist(), 0.0], 190, 142)
    _scale(drawing, y, across)
    _scale(drawing, below, across)
    drawing.line((across.start, below(0)), (across.stop, below(0)), "axis")
    for lines, scale, class_ in (
        (before, y, "before"),
        (after, y, "after"),
        (change, below, "after"),
    ):
        for line in lines:
            drawing.curve(_points(line, across, scale), class_)
    drawing.label((across.start, 210), "step 0")
    drawing.label((across.stop, 210), f"{steps - 1}", "tick end")
    drawing.label((across.stop, 138), "difference", "name end")
    return drawing


def _points(line: Floats, across: Axis, scale: Axis) -> list[tuple[float, float]]:
    every = max(1, -(-len(line) // MOST_POINTS))
    return [(across(k), scale(float(line[k]))) for k in range(0, len(line), every)]


def _scale(drawing: Drawing, y: Axis, across: Axis) -> None:
    """Name the ends of an upright scale."""
    for value in (y.low, y.high):
        drawing.line((across.start, y(value)), (across.stop, y(value)), "grid")
        drawing.label((across.start - 6, y(value) + 4), number(value, 2), "tick end")


def most_moved(found: Portrait, delta: Floats, most: int) -> tuple[Floats, list[int]]:
    """Return δ in the units of each feature [d], and the places of its largest.

    Where a feature may not move its unit is 0, and so is its δ.

    Args:
        found: with the units.
        delta: δ [*event].
        most: places at the most, the largest first.
    """
    unit = 1.0 if found.unit is None else np.asarray(found.unit, dtype=float)
    steps = np.divide(delta, unit, out=np.zeros(delta.shape), where=unit != 0).ravel()
    return steps, np.argsort(-np.abs(steps), kind="stable")[:most].tolist()


def _features(report: Report, found: Portrait, x: Floats, delta: Floats) -> Drawing:
    """Draw the features that move most: bars in units, values before and after."""
    steps, order = most_moved(found, delta, MOST_NAMED)
    names = features.names_of(report.data, delta.size)
    called = {k: features.label(names, k, delta.shape) for k in order}
    flat, change = x.ravel(), delta.ravel()
    said = {k: f"{number(flat[k])} → {number(flat[k] + change[k])}" for k in order}
    drawing = Drawing(
        TITLE,
        f"Input {found.index}: " + "; ".join(f"{called[k]} {said[k]}" for k in order),
        "units of each feature",
        caption=f"{len(order)} of {count(delta.size, 'feature')}, the most moved first",
        width=SIDE,
        height=8 + 22 * len(order),
    )
    reach = float(np.abs(steps).max()) or 1.0
    bar = Axis(-reach, reach, 106, 160)
    for row, k in enumerate(order):
        y = 6 + 22 * row
        name = shorten(called[k], NAME_WIDTH)
        drawing.label((100, y + 12), name, "tick end")
        low, high = sorted((bar(0), bar(float(steps[k]))))
        kind = "plus" if steps[k] > 0 else "minus"
        drawing.rect((low, y), high - low, 15, kind)
        drawing.label((166, y + 12), said[k])
    drawing.line((bar(0), 2), (bar(0), drawing.height - 4), "axis")
    return drawing
