"""A report against a baseline: how the numbers changed that limits on a change name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from audit.config import ScanConfig, Threshold
from audit.ground.storage import split_spec
from audit.reports.alike import refuse_other_size, refuse_unlike
from audit.reports.baseline import change_limits
from audit.reports.gate import Rules, find, judge
from audit.reports.json import read_report
from audit.reports.judged import Change
from audit.reports.keys import split_key
from audit.reports.paired import change_from
from audit.reports.report import Report
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
        refuse_other_size(old.report, new.report, limit.key, (old.name, new.name))
        found[limit.key, limit.op] = change_from(old, new, limit)
    return found
