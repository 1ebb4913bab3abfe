"""Worst directions as the reader thinks of them: a picture, a series or named bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float64
from numpy.typing import NDArray

from audit.formats import features
from audit.formats.html.svg import Axis, Drawing, axis
from audit.reports.listed import WorstInput
from audit.reports.report import Report
from audit.reports.text import count, number, shorten

Floats = NDArray[float64]
SIDE = 240
MOST_CELLS = 32
MOST_BARS = 24
MOST_NAMED = 8
NAME_WIDTH = 12
"""Characters beside a bar: capitals of twelve pixels still fit."""
MOST_POINTS = 480
LEVELS = 8
UNIT = "shares of a unit step"


def draw(report: Report, worst: WorstInput, name: str) -> Drawing | None:
    """Draw the worst direction of one input; None when the report does not have it."""
    found: Any = worst.directions.get(name)
    if not found:
        return None
    title = f"Worst direction of {name} at input {worst.index}"
    return _draw(report, np.asarray(found[0], dtype=float), title)


def share_of_features(report: Report, name: str) -> Drawing | None:
    """Draw the mean |v| of each feature over all audited inputs."""
    found = report.divergences[name].features
    if found is None or found.mean_abs is None:
        return None
    values = np.asarray(found.mean_abs, dtype=float)
    if values.size < 2:
        return None
    title = f"Mean |v| of each feature over {count(found.n, 'input')}, {name}"
    return _draw(report, values, title, signed=False)


def _draw(report: Report, values: Floats, title: str, signed: bool = True) -> Drawing:
    """Draw a picture, a series (two axes, or a long one) or the bars of a vector."""
    names = features.names_of(report.data, values.size)
    strongest = features.label(names, int(np.abs(values).argmax()), values.shape)
    picture = as_picture(values)
    if picture is not None:
        return _picture(picture, title, strongest)
    if values.ndim == 2 or values.size > MOST_BARS:
        return _series(as_series(values), title, strongest)
    return _bars(values.reshape(-1), title, signed, names)


def as_picture(values: Floats) -> Floats | None:
    """Return values as [rows, columns] if their shape is that of a picture.

    Of several channels the entry with the largest size is kept, and a picture above 32
    pixels a side is reduced to blocks, by the same rule.
    """
    if values.ndim == 3:
        axis_ = 2 if values.shape[2] <= 4 < values.shape[0] else 0
        values = _largest(values, axis_)
    if values.ndim != 2 or min(values.shape) < 4:
        return None
    for axis_ in (0, 1):
        size = -(-values.shape[axis_] // MOST_CELLS)
        if size > 1:
            values = _blocks(values, axis_, size)
    return values


def _largest(values: Floats, axis_: int) -> Floats:
    place = np.expand_dims(np.abs(values).argmax(axis=axis_), axis_)
    found: Floats = np.take_along_axis(values, place, axis_).squeeze(axis_)
    return found


def _blocks(values: Floats, axis_: int, size: int) -> Floats:
    missing = -values.shape[axis_] % size
    widths = [(0, missing if k == axis_ else 0) for k in range(2)]
    padded = np.pad(values, widths)
    shape = list(padded.shape)
    shape[axis_ : axis_ + 1] = [shape[axis_] // size, size]
    return _largest(padded.reshape(shape), axis_ + 1)


def _picture(values: Floats, title: str, strongest: str) -> Drawing:
    """Draw cells in two colours, one path for each of a few strengths."""
    top = float(np.abs(values).max()) or 1.0
    rows, columns = values.shape
    cell = SIDE / max(rows, columns)
    drawing = Drawing(
        title,
        f"A picture of {rows} by {columns}; strongest at {strongest}: "
        f"{number(float(values.flat[np.abs(values).argmax()]))}, in {UNIT}",
        UNIT,
        width=SIDE,
        height=round(cell * rows),
    )
    drawing.add("rect", x=0, y=0, width=SIDE, height=round(cell * rows), class_="frame")
    strength = np.ceil(LEVELS * np.abs(values) / top - 0.5).astype(int)
    for sign, class_ in ((1, "plus"), (-1, "minus")):
        for level in range(1, LEVELS + 1):
            places = np.argwhere((np.sign(values) == sign) & (strength == level))
            steps = "".join(
                f"M{cell * c:.1f} {cell * r:.1f}h{cell:.1f}v{cell:.1f}h-{cell:.1f}z"
                for r, c in places.tolist()
            )
            if steps:
                drawing.add(
                    "path", d=steps, class_=class_, fill_opacity=f"{level / LEVELS:.2f}"
                )
    return drawing


def as_series(values: Floats) -> Floats:
    """Return values as [channels, steps]: the longer of two axes is time."""
    if values.ndim != 2:
        return values.reshape(1, -1)
    return values if values.shape[1] >= values.shape[0] else values.T


def _series(values: Floats, title: str, strongest: str) -> Drawing:
    """Draw a line for each channel over its steps."""
    steps = values.shape[1]
    drawing = Drawing(
        title,
        f"{values.size} entries; strongest at {strongest}: "
        f"{number(float(values.flat[np.abs(values).argmax()]))}, in {UNIT}",
        UNIT,
        width=SIDE,
        height=SIDE // 2 + 20,
    )
    every = max(1, steps // MOST_POINTS)
    x = Axis(0, max(steps - 1, 1), 44, SIDE - 8)
    y = axis([float(values.min()), float(values.max()), 0.0], SIDE / 2 - 8, 10)
    drawing.line((x.start, y(0)), (x.stop, y(0)), "axis")
    for value in (y.low, y.high):
        drawing.label((38, y(value) + 4), f"{value:+.2f}", "tick end")
    for line in values:
        points = [(x(k), y(float(line[k]))) for k in range(0, steps, every)]
        drawing.curve(points, "thread")
    drawing.label((x.start, SIDE // 2 + 14), "step 0")
    drawing.label((x.stop, SIDE // 2 + 14), f"{steps - 1}", "tick end")
    return drawing


def _bars(values: Floats, title: str, signed: bool, names: list[str] | None) -> Drawing:
    """Draw the largest entries, by name or by place."""
    order = np.argsort(-np.abs(values), kind="stable")[:MOST_NAMED].tolist()
    words = {k: f"{values[k]:+.2f}" if signed else f"{values[k]:.2f}" for k in order}
    called = {k: features.label(names, k, values.shape) for k in order}
    drawing = Drawing(
        title,
        "; ".join(f"{called[k]} {words[k]}" for k in order) + f", in {UNIT}",
        UNIT,
        width=SIDE,
        height=12 + 20 * len(order),
    )
    top = float(np.abs(values).max()) or 1.0
    left = 118 if names else 40
    for row, k in enumerate(order):
        width = (SIDE - left - 60) * abs(float(values[k])) / top
        y, sign = 8 + 20 * row, "plus" if values[k] > 0 else "minus"
        drawing.label((left - 6, y + 12), shorten(called[k], NAME_WIDTH), "tick end")
        fill, width = sign if signed else "bar", round(width, 1)
        drawing.add("rect", x=left, y=y, width=width, height=15, class_=fill)
        drawing.label((left + 6 + width, y + 12), words[k])
    return drawing
