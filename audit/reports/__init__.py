"""What a scan found: the record, its statistics, the gate and the formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from audit.errors import ConfigError
from audit.registry import Registry, unknown

if TYPE_CHECKING:
    from audit.reports.report import Report

FORMATS: Registry[Callable[[Report], str]] = Registry(
    "formats",
    {
        "table": "audit.reports.table:render",
        "json": "audit.reports.json:to_json",
        "md": "audit.reports.markdown:render",
        "github": "audit.reports.markdown:render",
        "csv": "audit.reports.csv:render",
        "html": "audit.reports.html:render",
        "junit": "audit.reports.junit:render",
        "sarif": "audit.reports.sarif:render",
    },
)
SUFFIXES = {
    ".sarif.json": "sarif",
    ".sarif": "sarif",
    ".json": "json",
    ".md": "md",
    ".csv": "csv",
    ".html": "html",
    ".xml": "junit",
    ".txt": "table",
}
ROWS = (".npz", ".parquet", ".csv")
"""Files that hold every column of every input, written while a scan runs."""


def format_of(path: str) -> str:
    """Return the format that a file's name asks for.

    Raises:
        ConfigError: the extension is unknown.
    """
    for suffix, name in SUFFIXES.items():
        if path.lower().endswith(suffix):
            return name
    given = Path(path).suffix.lower()
    if given.removeprefix(".") in FORMATS:
        return given.removeprefix(".")
    _, expected, hint = unknown("output formats", given, dict.fromkeys(SUFFIXES))
    raise ConfigError(f"The output '{path}' has an unknown extension", expected, hint)
