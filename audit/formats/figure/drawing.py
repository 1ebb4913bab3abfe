"""A plot as a picture, by matplotlib: one column wide, text as text."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audit.formats.figure.plot import Plot, Series
from audit.ground.printable import printable

SIZE = (3.4, 2.5)  # inches: a column of two
ROOM = 1.3  # above bars, for the words of marks
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


def drawn(plot: Plot, form: str) -> bytes:
    """Return a picture; the same bytes for the same plot.

    Args:
        plot: what to draw.
        form: svg, pdf or png.
    """
    settings: Any = {**mpl.rcParamsDefault, **STYLE}  # whatever the user's own are
    with mpl.rc_context(settings):
        figure = Figure(figsize=SIZE, dpi=DOTS, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for series in plot.series:
            _draw(axes, series)
        _frame(axes, plot)
        picture = io.BytesIO()
        figure.savefig(picture, format=form, metadata=UNDATED[form])
    return picture.getvalue()


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
    elif series.kind == "dots":
        axes.plot(x, y, ".", color=ACCENT, markersize=3, label=name)
    else:
        dashed = series.kind == "dashed"
        line, colour = ("--", INK) if dashed else ("-", ACCENT)
        axes.plot(x, y, line, color=colour, linewidth=0.9, label=name)


def _frame(axes: Any, plot: Plot) -> None:  # noqa: ANN401 (matplotlib's own)
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
    if any(s.name for s in plot.series if s.kind not in ("bars", "steps")):
        axes.legend()


def _plain(text: str) -> str:
    """Return text that is no formula to matplotlib."""
    return printable(text).replace("$", r"\$")
