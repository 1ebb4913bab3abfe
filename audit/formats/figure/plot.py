"""A figure as data: axes, series and marks."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "line",
    "dashed",
    "band",
    "steps",
    "bars",
    "dots",
    "hollow",
    "filled",
    "cells",
    "spans",
    "thin spans",
]


@dataclass(frozen=True)
class Series:
    """Numbers that are drawn alike.

    Args:
        name: in the legend; "" for none.
        kind: how they are drawn. `steps` has one more x than y: edges of bins. `band`
            has the upper ends in `top`. `bars` lie: y are their lengths. `hollow` and
            `filled` bars stand side by side. `spans` reach from y to `top`. `cells` are
            a picture: x columns, y rows, and what is there in `top`.
        x, y, top: of each point.
        labels: of bars.
    """

    name: str
    kind: Kind
    x: Sequence[float]
    y: Sequence[float]
    top: Sequence[float] = ()
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Mark:
    """A value on the x axis, with a word."""

    name: str
    x: float


@dataclass(frozen=True)
class Plot:
    """Everything that is drawn.

    Args:
        x, y: names of the axes, with units.
        series: in the order in which they are drawn.
        marks: on the x axis.
        logs: the axes that are logarithmic, of "x" and "y".
    """

    x: str
    y: str
    series: Sequence[Series]
    marks: Sequence[Mark] = field(default=())
    logs: str = ""
    ranks: bool = False
    """Whether x are whole numbers."""
    names: Sequence[str] = ()
    """Of x = 0, 1, 2, …, where they are things and no numbers."""


def numbers(plots: Sequence[Plot]) -> str:
    """Return the numbers of plots as CSV, each under the names of its axes."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for plot in plots:
        rows.writerow(["series", "label", plot.x, plot.y, "top"])
        for one in plot.series:
            for k, x in enumerate(one.x):
                cells = (one.labels, one.y, one.top)
                label, y, top = (c[k] if k < len(c) else "" for c in cells)
                rows.writerow([one.name or one.kind, label, x, y, top])
        rows.writerows([["mark", mark.name, mark.x, "", ""] for mark in plot.marks])
    return text.getvalue()
