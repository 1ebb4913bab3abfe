"""A report against a baseline: how the numbers changed that limits on a change name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from audit.config import ScanConfig, Threshold
from audit.ground.errors import ConfigError
from audit.ground.storage import split_spec
from audit.reports.alike import other_attack, other_ball, refuse_if, refuse_unlike
from audit.reports.baseline import change_limits
from audit.reports.gate import Rules, find, judge
from audit.reports.json import read_report
from audit.reports.keys import split_key
from audit.reports.paired import change_from
from audit.reports.report import Change, Report
from audit.reports.stored import Stored, listed

Changes = dict[tuple[str, str], Change]


def changes(limits: Iterable[Threshold], baseline: str | None, new: Stored) -> Changes:
    """Return how every number changed that a limit with a step names.

    Raises:
        ConfigError: the reports ask different questions, or lack one of the numbers.
    """
    stepped = [limit for limit in limits if limit.step]
    if not stepped or baseline is None:
        return {}
    path, rows = split_spec(baseline)
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
        words = other_ball(old.report, new.report, split_key(limit.key)[1])
        refuse_if(bool(words), words, (old.name, new.name))
        found[limit.key, limit.op] = change_from(old, new, limit)
    return found


def _refuse_other_attack(old: Report, new: Report, limit: Threshold) -> None:
    """Refuse a change between two attacks that share no more than a label."""
    other = other_attack(old, new, split_key(limit.key)[1])
    if other:
        raise ConfigError(
            f"The limit on a change of '{limit.key}' compares {other}",
            "Expected one attack under the label",
            "Scan the baseline again with the same --attack",
        )
