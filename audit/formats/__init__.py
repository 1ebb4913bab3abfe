"""How a report is shown: one module for each format, found by name or extension."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from audit.ground.errors import ConfigError
from audit.ground.plugins import called_with, fault
from audit.ground.registry import Registry, unknown

if TYPE_CHECKING:
    from audit.reports.report import Report

Render = Callable[["Report"], str]
"""A format: a report -> its text."""


FORMATS: Registry[Render] = Registry(
    "formats",
    {
        "table": "audit.formats.table:render",
        "json": "audit.reports.json:to_json",
        "md": "audit.formats.markdown:render",
        "github": "audit.formats.markdown:render",
        "csv": "audit.formats.csv:render",
        "html": "audit.formats.html:render",
        "junit": "audit.formats.junit:render",
        "sarif": "audit.formats.sarif:render",
        "metrics": "audit.formats.metrics:render",
    },
    called_with("report"),
)
SUFFIXES = {
    ".sarif.json": "sarif",
    ".sarif": "sarif",
    ".metrics.json": "metrics",
    ".json": "json",
    ".md": "md",
    ".csv": "csv",
    ".html": "html",
    ".xml": "junit",
    ".txt": "table",
}


def format_of(path: str, others: Iterable[str] = ()) -> str:
    """Return the format that a file's name asks for.

    Args:
        path: of the file.
        others: extensions of what is no format and could be written as well.

    Raises:
        ConfigError: the extension is unknown.
    """
    for suffix, name in SUFFIXES.items():
        if path.lower().endswith(suffix):
            return name
    given = Path(path).suffix.lower()
    if given.removeprefix(".") in FORMATS:
        return given.removeprefix(".")
    known = dict.fromkeys([*SUFFIXES, *others])
    _, expected, hint = unknown("output formats", given, known)
    raise ConfigError(f"The output '{path}' has an unknown extension", expected, hint)


def rendered(name: str, report: Report) -> str:
    """Return a report in a format.

    Raises:
        UnknownName: there is no such format.
        BrokenPlugin: it is a third party's, and gives no text.
    """
    render = FORMATS[name]
    text = render(report)
    if not isinstance(text, str):
        raise fault("formats", render, f"gives {type(text).__name__}, not text")
    return text
