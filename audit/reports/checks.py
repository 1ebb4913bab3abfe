"""Saved reports held against limits again (`robaudit check`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from audit.config import ScanConfig, Threshold, Waiver, with_waivers
from audit.reports.gate import FAIL, INCOMPLETE, NOTHING, PASS, judge
from audit.reports.report import Report

PRECEDENCE = (PASS, FAIL, INCOMPLETE, NOTHING)


def recheck(report: Report, config: ScanConfig) -> Report:
    """Judge a saved report by the limits of `config`, or by its own if it has none.

    Raises:
        ConfigError: a key names a number the report does not have.
    """
    if not config.thresholds:
        config = replace(
            config, thresholds=_own_limits(report), waivers=_waivers(report)
        )
    limits = with_waivers(config).thresholds
    skipped = config.max_skipped
    if config.origin("max_skipped") == "default" and "max_skipped" in report.config:
        skipped = int(report.config["max_skipped"].value)
    return judge(report, limits, skipped, config.exit_zero, config.gate)


def _own_limits(report: Report) -> tuple[Threshold, ...]:
    return tuple(
        Threshold(c.key, c.op, c.limit, c.source, "error" if c.waiver else c.level)
        for c in report.checks
    )


def _waivers(report: Report) -> tuple[Waiver, ...]:
    """Return the waivers of the scan, which may have expired since."""
    setting = report.config.get("waivers")
    return tuple(Waiver(**waiver) for waiver in setting.value) if setting else ()


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
