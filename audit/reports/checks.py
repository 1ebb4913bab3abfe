"""Saved reports held against limits again (`robaudit check`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from audit.config import ScanConfig, Threshold, Waiver, with_waivers
from audit.config.waivers import is_expired
from audit.reports.baseline import Step
from audit.reports.derived import refuse_edited
from audit.reports.gate import FAIL, INCOMPLETE, NOTHING, PASS, Rules, judge
from audit.reports.json import finite, indented
from audit.reports.judged import Check
from audit.reports.report import Report

if TYPE_CHECKING:
    from audit.reports.stored import Stored

PRECEDENCE = (PASS, FAIL, INCOMPLETE, NOTHING)


def recheck(
    report: Report,
    config: ScanConfig,
    path: str = "report",
    held: Stored | None = None,
) -> Report:
    """Judge a saved report by the limits of `config`, or by its own if it has none.

    Its own limits are judged as they were: by the same end of an interval, and with
    numbers that the report does not believe only if the scan accepted them.

    Args:
        report: to judge.
        config: the limits, and how to judge.
        path: of the report, beside which its rows file may be.
        held: the numbers of its inputs, where they are known without a file.

    Raises:
        ConfigError: a key names a number the report does not have, or the baseline
            cannot be compared; or a number is not what the report's inputs have.
    """
    own = not config.thresholds
    if own:
        limits, waivers = tuple(map(_own_limit, report.checks)), _waivers(report)
        config = replace(config, thresholds=limits, waivers=waivers)
        config = _as_scanned(report, config, "gate", "accept_unverified")
    config = _as_scanned(report, with_waivers(config), "max_skipped")
    refuse_edited(report, path, (limit.key for limit in config.thresholds))
    if own:
        known = {(c.key, c.op): c.change for c in report.checks if c.change}
        return judge(report, Rules.of(config, known, own=True))
    if not any(limit.step for limit in config.thresholds):
        return judge(report, Rules.of(config))
    from audit.reports.against import changes  # numpy, which limits alone do not need
    from audit.reports.stored import listed

    found = changes(config.thresholds, config.baseline, held or listed(path, report))
    return judge(report, Rules.of(config, found))


def _as_scanned(report: Report, config: ScanConfig, *names: str) -> ScanConfig:
    """Return a configuration with settings of the scan where nobody set them."""
    kept = {
        name: report.config[name].value
        for name in names
        if config.origin(name) == "default" and name in report.config
    }
    return replace(config, **kept)


def _own_limit(check: Check) -> Threshold:
    """Return the limit of a check as it was before it was waived."""
    level = "error" if check.waiver and not is_expired(check.waiver) else check.level
    change = check.change
    step = str(Step(change.allowed, change.relative)) if change else ""
    return Threshold(check.key, check.op, check.limit, check.source, level, step=step)


def _waivers(report: Report) -> tuple[Waiver, ...]:
    """Return the waivers of the scan, which may have expired since."""
    setting = report.config.get("waivers")
    return tuple(Waiver(**waiver) for waiver in setting.value) if setting else ()


def worst_code(codes: Iterable[int]) -> int:
    """Return the exit code of several reports: the worst of theirs."""
    return max(codes, key=PRECEDENCE.index, default=PASS)


def verdict_record(report: Report) -> dict[str, object]:
    """Return what became of a report's limits, as plain data."""
    return {
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "checks": [check.model_dump(mode="json") for check in report.checks],
    }


def to_json(judged: Mapping[str, Report]) -> str:
    """Return the verdicts as JSON: path -> verdict, exit code and checks."""
    data = {path: verdict_record(report) for path, report in judged.items()}
    return indented(finite(data), allow_nan=False)
