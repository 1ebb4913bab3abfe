"""JSON: the report itself, and its schema.

Reports of schema 1.0 drop every value that is not finite, without saying whether it is
infinite, at rest or not measured, and do not count it. All of them count as not
measured: a limit on such a number decides nothing.
"""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audit.ground.errors import ConfigError, boundary
from audit.ground.printable import json_without_commands
from audit.reports.report import SCHEMA_VERSION, Report
from audit.reports.summaries import Summary

DROPPED = "dropped by schema 1.0, which kept finite values only"
_OF_A_SAMPLE = "measured on the verified inputs only"
_STEP = "Give a report written with robaudit scan -o report.json"
ONE_LINE = 72
"""Objects shorter than this are not broken into lines."""


def to_json(report: Report) -> str:
    """Return the report as JSON: sorted keys, "Infinity" for ∞, a final newline."""
    text = _layout(report.model_dump(mode="json"), "\n")
    return json_without_commands(text) + "\n"


def indented(value: object, **options: Any) -> str:  # noqa: ANN401
    """Return plain data as JSON to be read: sorted keys, a final newline."""
    text = json.dumps(value, sort_keys=True, indent=2, **options)
    return json_without_commands(text) + "\n"


def strict(value: object) -> str:
    """Return plain data as JSON on one line, ∞ as the text "Infinity"."""
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), sort_keys=True, allow_nan=False)


def finite(value: object) -> object:
    """Return plain data with ∞ as the text "Infinity", which every reader takes."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _layout(value: object, margin: str) -> str:
    """Indent objects and lists of objects; a list of numbers stays on one line.

    A report may hold a million numbers: `json.dumps(indent=...)` would give each its
    line, and be slow.
    """
    deeper = margin + "  "
    if isinstance(value, dict) and not _short(value):
        items = [
            f"{json.dumps(key)}: {_layout(value[key], deeper)}" for key in sorted(value)
        ]
        return "{" + deeper + ("," + deeper).join(items) + margin + "}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = [_layout(item, deeper) for item in value]
        return "[" + deeper + ("," + deeper).join(items) + margin + "]"
    return strict(value)


def _short(value: dict[str, object]) -> bool:
    """Tell whether an object of plain values fits on one line."""
    plain = not any(isinstance(item, dict | list) for item in value.values())
    return plain and len(strict(value)) < ONE_LINE


def read_report(path: str) -> Report:
    """Read a report.

    Raises:
        ConfigError: the file is missing, is no report, or has another schema.
    """
    with boundary(
        f"'{path}' is not a robaudit report",
        f"Expected a report of schema {SCHEMA_VERSION}, or an older one",
        _STEP,
        ConfigError,
    ):
        return _report(path)


def _report(path: str) -> Report:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The report '{path}' cannot be read: {error.strerror}",
            "Expected a JSON file",
            _STEP,
        ) from None
    try:
        report = Report.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"'{path}' is not a robaudit report: {place or 'content'}: {first['msg']}",
            "Expected what robaudit scan -o report.json writes",
            _STEP,
        ) from None
    if report.schema_version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise ConfigError(
            f"'{path}' has report schema {report.schema_version}",
            f"This robaudit reads {SCHEMA_VERSION}",
            f"Read it with robaudit {report.tool.version}",
        )
    return upgraded(report)


def believed(path: str) -> AbstractContextManager[None]:
    """Return the boundary of what works with a saved report.

    One that was edited may be a report by its schema and still contradict itself.
    """
    return boundary(
        f"The report '{path}' contradicts itself",
        "Expected parts that belong together, as robaudit scan wrote them",
        _STEP,
        ConfigError,
    )


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of a report."""
    schema = Report.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def upgraded(report: Report) -> Report:
    """Return a report with the counts that its schema lacked."""
    if report.schema_version != "1.0":
        return report
    divergences = {
        name: divergence.model_copy(
            update={
                "summary": {
                    quantity: _counted(summary, report.data.n_audited)
                    for quantity, summary in divergence.summary.items()
                }
            }
        )
        for name, divergence in report.divergences.items()
    }
    return report.model_copy(update={"divergences": divergences})


def _counted(summary: Summary, audited: int) -> Summary:
    missing = audited - summary.n
    if not missing:
        return summary
    checked = (summary.reason or "").startswith(_OF_A_SAMPLE)
    changes = {
        "n_not_measured": missing,
        "n_checked": summary.n if checked else None,
        "reason": summary.reason or DROPPED,
    }
    return summary.model_copy(update=changes)
