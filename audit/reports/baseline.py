"""Limits on a change: `--baseline old.json --max-increase kl.gaussian.p95=5%`.

Before a scan the baseline is read and each limit on how much a number may grow or
shrink is written beside the others, with its step. When the new numbers are there,
`paired` says how they changed, and the gate holds the change against the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from audit.config import ScanConfig, Threshold
from audit.errors import ConfigError
from audit.reports.compare import refuse_unlike
from audit.reports.gate import Rules, find, judge
from audit.reports.json import read_report
from audit.reports.keys import split_key
from audit.reports.paired import allowed, change_from
from audit.reports.quantities import base_name
from audit.reports.report import Change, Report
from audit.reports.stored import Stored, listed, split_rows
from audit.reports.text import number

Changes = dict[tuple[str, str], Change]


def with_baseline(config: ScanConfig) -> ScanConfig:
    """Return `config` with its limits on a change among its limits.

    Raises:
        ConfigError: there is no baseline, it cannot be read, or has no such number.
    """
    if not (config.max_increase or config.max_decrease):
        return config
    if not config.baseline:
        raise ConfigError(
            "A change is limited and there is nothing to compare with",
            next_step="Add --baseline report.json",
        )
    path, _ = split_rows(config.baseline)
    limits = change_limits(config, read_report(path))
    return replace(config, thresholds=(*config.thresholds, *limits))


def change_limits(config: ScanConfig, old: Report) -> list[Threshold]:
    """Return the limits on a change, each with the number it amounts to.

    Raises:
        ConfigError: `old` does not have one of the numbers.
    """
    return [
        *_limits(old, config, "max_increase"),
        *_limits(old, config, "max_decrease"),
    ]


def _limits(old: Report, config: ScanConfig, option: str) -> list[Threshold]:
    found = []
    steps: Mapping[str, str] = getattr(config, option)
    for key, step in steps.items():
        divergence, quantity, statistic = split_key(key)
        value = getattr(find(old, key, divergence, quantity), statistic)
        if value is None:
            raise ConfigError(f"The baseline did not measure '{key}'")
        grows = option == "max_increase"
        given = f"--{option.replace('_', '-')} {key}={step}"
        place = config.places.get(f"{option} {key}")
        source = f"{f'{place} {step}' if place else given} from {number(value)}"
        size = allowed(step, value)
        bound = value + size if grows else value - size
        op = "<=" if grows else ">="
        found.append(Threshold(key, op, bound, source, step=step))
    return found


def changes(limits: Iterable[Threshold], baseline: str | None, new: Stored) -> Changes:
    """Return how every number changed that a limit with a step names.

    Raises:
        ConfigError: the reports ask different questions, or lack one of the numbers.
    """
    stepped = [limit for limit in limits if limit.step]
    if not stepped or baseline is None:
        return {}
    path, rows = split_rows(baseline)
    return _changes(stepped, listed(path, read_report(path), rows), new)


def judged_by_change(old: Stored, new: Stored, config: ScanConfig) -> Report:
    """Return a report judged by its changes from another one, and by nothing else.

    Raises:
        ConfigError: the reports ask different questions, or lack one of the numbers.
    """
    limits = change_limits(config, old.report)
    rules = replace(
        Rules.of(config, _changes(limits, old, new)),
        limits=limits,
        max_skipped=new.report.data.n_skipped,
    )
    return judge(new.report, rules)


def _changes(limits: Iterable[Threshold], old: Stored, new: Stored) -> Changes:
    refuse_unlike(old.report, new.report, (old.name, new.name))
    found = {}
    for limit in limits:
        find(new.report, limit.key, *split_key(limit.key)[:2])
        _refuse_other_attack(old.report, new.report, limit)
        found[limit.key, limit.op] = change_from(old, new, limit)
    return found


def _refuse_other_attack(old: Report, new: Report, limit: Threshold) -> None:
    """Refuse a change between two attacks that share no more than a label."""
    label = base_name(split_key(limit.key)[1])
    said = [report.attacks.get(label) for report in (old, new)]
    digests = [
        _digest(report, spec) for report, spec in zip((old, new), said, strict=True)
    ]
    if said[0] == said[1] and digests[0] == digests[1]:
        return
    other = f"compares {said[0]} of the baseline with {said[1]}"
    if said[0] == said[1]:
        other = f"compares {said[0]} with a file of the same name and other bytes"
    raise ConfigError(
        f"The limit on a change of '{limit.key}' {other}",
        "Expected one attack under the label",
        "Scan the baseline again with the same --attack",
    )


def _digest(report: Report, spec: str | None) -> str:
    """Return the digest of the file that an attack names; "" for none."""
    files = report.config["attacks"].files if "attacks" in report.config else {}
    return next((d for path, d in files.items() if spec and path in spec), "")
