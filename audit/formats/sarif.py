"""SARIF 2.1.0: broken limits where they were written, for code-scanning views.

A limit of a configuration file points at its line; one of the command line or the
environment points at the model file.

Reference:
    OASIS, Static Analysis Results Interchange Format 2.1.0 (2020).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from audit.formats import verdicts
from audit.ground.printable import printable
from audit.reports.json import indented
from audit.reports.judged import Check
from audit.reports.keys import split_key
from audit.reports.quantities import describe
from audit.reports.report import Report

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_IN_FILE = re.compile(r"(?!--)(.+?):(\d+)(?: \S+ from \S.*)?")


def render(report: Report) -> str:
    """Return every check that did not pass as SARIF."""
    told = [c for c in report.checks if c.status != "pass"]
    run = {
        "tool": {"driver": _driver(report, told)},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report)],
        "results": [_result(check, report) for check in told],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return indented(log, allow_nan=False)


def _driver(report: Report, told: list[Check]) -> dict[str, Any]:
    labels = report.attacks
    rules = []
    for key in sorted({check.key for check in told}):
        row = describe(split_key(key)[1], labels)
        text = f"{row.formula}. {row.reading}" if row else key
        rules.append({"id": key, "shortDescription": {"text": text}})
    return {"name": "robaudit", "version": report.tool.version, "rules": rules}


def _invocation(report: Report) -> dict[str, Any]:
    notes = [
        {
            "level": "warning",
            "message": {"text": printable(f"input {s.index}: {s.reason}")},
        }
        for s in report.skipped[:100]
    ]
    return {
        "executionSuccessful": report.exit_code in (0, 1),
        "exitCode": report.exit_code,
        "toolExecutionNotifications": notes,
    }


def _result(check: Check, report: Report) -> dict[str, Any]:
    level = "note" if check.holds else "error"
    if check.level == "warn" and not check.holds:
        level = "warning"
    return {
        "ruleId": check.key,
        "level": level,
        "message": {"text": f"{check.status}: {verdicts.check_line(check)}"},
        "locations": [{"physicalLocation": _location(check, report)}],
        "partialFingerprints": {"limit/v1": _fingerprint(check)},
    }


def _fingerprint(check: Check) -> str:
    """Say what makes a result the same one of the last run: not its numbers."""
    change = " change" if check.change is not None else ""
    return f"{check.key} {check.op}{change}"


def _location(check: Check, report: Report) -> dict[str, Any]:
    written = _IN_FILE.fullmatch(check.source)
    if written:
        path, line = written[1], int(written[2])
    else:
        path = report.model.files[0].path if report.model.files else "model"
        line = 1
    uri = quote(path.replace("\\", "/"))
    return {"artifactLocation": {"uri": uri}, "region": {"startLine": line}}
