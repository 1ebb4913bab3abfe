"""Saved reports held against limits again (`robaudit check`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from audit.config import ScanConfig, Threshold
from audit.reports.gate import FAIL, INCOMPLETE, NOTHING, PASS, judge
from audit.reports.report import Report

PRECEDENCE = (PASS, FAIL, INCOMPLETE, NOTHING)


def recheck(report: Report, config: ScanConfig) -> Report:
    """Judge a saved report by the limits of `config`, or by its own if it has none.

    Raises:
        ConfigError: a key names a number the report does not have.
    """
    limits = config.thresholds or tuple(
        Threshold(check.key, check.op, check.limit, check.source, check.level)
        for check in report.checks
    )
    skipped = config.max_skipped
    if config.origin("max_skipped") == "default" and "max_skipped" in report.config:
        skipped = int(report.config["max_skipped"].value)
    return judge(report, limits, skipped, config.exit_zero)


def worst_code(codes: Iterable[int]) -> int:
    """Return the exit code of several reports: the worst of theirs."""
    return max(codes, key=PRECEDENCE.index, default=PASS)


def to_json(judged: Mapping[str, Report]) -> str:
    """Return the verdicts as JSON: path -> verdict, exit code and checks."""
    data = {
        path: {
            "verdict": report.verdict,
            "exit_code": report.exit_code,
            "checks": [check.model_dump(mode="json") for check in report.checks],
        }
        for path, report in judged.items()
    }
    return json.dumps(data, sort_keys=True, indent=2, allow_nan=False) + "\n"
