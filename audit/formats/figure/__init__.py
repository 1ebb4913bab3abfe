"""Figures for a paper: a picture of one column's width, and its numbers beside it.

What is drawn is data first (`plots`): axes, series and marks, as the report has them.
matplotlib (the extra `plot`) draws it with vector text; the same numbers go into a CSV
file beside it (`radius.pdf.csv`), so that it can be drawn again elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from audit.formats.figure import plots
from audit.formats.figure.plot import Plot, numbers
from audit.ground.errors import ConfigError
from audit.ground.registry import unknown
from audit.reports.report import Report

SUFFIXES = (".svg", ".pdf", ".png")


def _worst(report: Report, index: int | None) -> tuple[Plot, ...]:
    from audit.formats.figure.worst import worst  # numpy, which others do without

    return worst(report, index)


KINDS: dict[str, Callable[[Report, int | None], Plot | tuple[Plot, ...]]] = {
    "radius": plots.radius,
    "band": plots.band,
    "worst": _worst,
    "spectrum": plots.spectrum,
    "compare": plots.compare,
}


def is_figure(path: str) -> bool:
    """Tell whether a file is to hold a figure, by its name."""
    return path.lower().endswith(SUFFIXES)


def check(kind: str) -> None:
    """Find out before any work that a figure could not be drawn.

    Raises:
        ConfigError: there is no such kind, or matplotlib is not installed.
    """
    if kind not in KINDS:
        raise ConfigError(*unknown("figures", kind, dict.fromkeys(KINDS)))
    if find_spec("matplotlib") is None:
        raise ConfigError(
            "A figure was asked for, and matplotlib is not installed",
            f"Expected it for {', '.join(SUFFIXES)}",
            "Run pip install 'robaudit[plot]', or write -o report.html",
        )


def figure(report: Report, path: str, kind: str, index: int | None) -> dict[str, bytes]:
    """Return the files of a figure, by their paths: the picture and its numbers.

    Args:
        report: of a scan.
        path: of the picture; its ending says the form.
        kind: one of `KINDS`.
        index: the input to draw, for `worst`; None: the worst of all.

    Raises:
        ConfigError: the report does not hold what is to be drawn.
    """
    from audit.formats.figure.drawing import drawn

    made = KINDS[kind](report, index)
    plots = made if isinstance(made, tuple) else (made,)
    picture = drawn(plots, Path(path).suffix.lower().removeprefix("."))
    return {path: picture, f"{path}.csv": numbers(plots).encode("utf-8")}
