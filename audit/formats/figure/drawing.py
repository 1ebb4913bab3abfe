"""A plot as a picture, by matplotlib: one column wide, text as text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audit.formats.figure.plot import Plot, Series
from audit.ground.printable import printable
from audit.reports.text import shorten

SIZE = (3.4, 2.5)  # inches: a column of two
_CELLS, _SEVERAL = 1.2, 1.9  # inches: the height of pictures, and of one of several
ROOM = 1.3  # above bars, for the words of marks
_NAME = 16  # characters of the name of a class
DOTS = 300  # of an inch
STYLE: dict[str, Any] = {
    "font.size": 8.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "robaudit",
    "pdf.fonttype": 42,
}
INK, ACCENT = "#1d2330", "#3767b5"
UNDATED: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}


def drawn(plots: Sequence[Plot], form: str) -> bytes:
    """Return a picture; the same bytes for the same plots.

    Args:
        plots: what to draw, one below the other; pictures of cells side by side.
        form: svg, pdf or png.
    """
    settings: Any = {**mpl.rcParamsDefault, **STYLE}  # whatever the user's own are
    with mpl.rc_context(settings):
        figure = Figure(dpi=DOTS, layout="constrained")
        FigureCanvasAgg(figure)
        for axes, plot in zip(_places(figure, plots), plots, strict=True):
            for series in plot.series:
                _draw(axes, series)
            _frame(axes, plot)
        _settle(figure)
        picture = io.BytesIO()
        figure.savefig(picture, format=form, metadata=UNDATED[form])
    return picture.getvalue()


def _places(figure: Figure, plots: Sequence[Plot]) -> list[Any]:
    """Return the axes of each plot, and give the figure its size."""
    small = [is_picture(plot) for plot in plots]
    rows = ([_CELLS] if any(small) else []) + [
        SIZE[1] if len(plots) == 1 else _SEVERAL for picture in small if not picture
    ]
    figure.set_size_inches(SIZE[0], sum(rows))
    grid = figure.add_gridspec(len(rows), 1, height_ratios=rows)
    cells = grid[0].subgridspec(1, max(1, sum(small)))
    pictures, others = iter(range(len(plots))), iter(range(any(small), len(rows)))
    return [
        figure.add_subplot(cells[next(pictures)] if picture else grid[next(others)])
        for picture in small
    ]


def _settle(figure: Figure) -> None:
    """Fix where axes are: the solver of the layout differs in the last digits."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(x, 4), round(y, 4), round(width, 4), round(height, 4)))


def is_picture(plot: Plot) -> bool:
    """Tell whether a plot is a picture of cells."""
    return any(series.kind == "cells" for series in plot.series)


def _draw(axes: Any, series: Series) -> None:  # noqa: ANN401 (matplotlib's own)
    name, x, y = series.name, list(series.x), list(series.y)
    if series.kind == "steps":
        axes.stairs(y, x, fill=True, color=ACCENT)
    elif series.kind == "band":
        top = list(series.top)
        axes.fill_between(x, y, top, color=ACCENT, alpha=0.22, linewidth=0, label=name)
    elif series.kind == "bars":
        axes.barh(x, y, color=ACCENT)
        axes.set_yticks(x, [_plain(label) for label in series.labels])
        axes.invert_yaxis()
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.set_title(_plain(name), loc="left", fontsize=8)
    elif series.kind in ("hollow", "filled"):
        hollow = series.kind == "hollow"
        ends = [place + (-0.4 if hollow else 0.0) for place in x]
        look: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "linewidth": 0.8}
        look = look if hollow else {"color": ACCENT}
        axes.bar(ends, y, 0.4, align="edge", label=name, **look)
    elif series.kind in ("spans", "thin spans"):
        thin = series.kind == "thin spans"
        look = {"color": INK, "linestyles": "--"} if thin else {"color": ACCENT}
        axes.vlines(x, y, list(series.top), label=name, **look)
    elif series.kind == "cells":
        _picture(axes, series)
    elif series.kind == "dots":
        axes.plot(x, y, ".", color=ACCENT, markersize=3, label=name)
    else:
        dashed = series.kind == "dashed"
        line, colour = ("--", INK) if dashed else ("-", ACCENT)
        axes.plot(x, y, line, color=colour, linewidth=0.9, label=name)


def _picture(axes: Any, series: Series) -> None:  # noqa: ANN401 (matplotlib's own)
    """Draw cells: in grey, or in two colours around 0 where they are a difference."""
    columns, rows = (int(max(places)) + 1 for places in (series.x, series.y))
    values = [list(series.top[row * columns :][:columns]) for row in range(rows)]
    reach = max(map(abs, series.top)) or 1.0
    look: dict[str, Any] = {"cmap": "gray"}
    if series.name == "difference":
        look = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
    axes.imshow(values, interpolation="nearest", **look)
    axes.set_title(_plain(series.name), fontsize=8)


def _frame(axes: Any, plot: Plot) -> None:  # noqa: ANN401 (matplotlib's own)
    if is_picture(plot):
        axes.set_axis_off()
        return
    axes.set_xlabel(_plain(plot.x))
    axes.set_ylabel(_plain(plot.y))
    if "x" in plot.logs:
        axes.set_xscale("log")
    if "y" in plot.logs:
        axes.set_yscale("log")
    across = axes.get_xaxis_transform()
    for order, mark in enumerate(plot.marks):
        axes.axvline(mark.x, color=INK, linewidth=0.8, linestyle=":")
        height = 1.0 - 0.09 * order
        word = f" {_plain(mark.name)}"
        axes.text(mark.x, height, word, transform=across, va="top")
    if plot.marks:
        axes.set_ylim(top=ROOM * axes.get_ylim()[1])
    if plot.ranks:
        axes.xaxis.get_major_locator().set_params(integer=True)
    if plot.names:
        words = [_plain(shorten(name, _NAME)) for name in plot.names]
        axes.set_xticks(range(len(words)), words, rotation=30, ha="right")
    if any(s.name for s in plot.series if s.kind not in ("bars", "steps")):
        axes.legend()


def _plain(text: str) -> str:
    """Return text that is no formula to matplotlib."""
    return printable(text).replace("$", r"\$")
