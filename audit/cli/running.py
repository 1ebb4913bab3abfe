"""One scan, or several in turn: from settings to what was printed and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from audit.cli.interrupts import resumable
from audit.cli.output import SCAN, Destinations, in_turn
from audit.cli.terminal import emit, progress, style
from audit.config import ScanConfig, with_waivers
from audit.formats.several import render
from audit.ground import collector
from audit.ground.errors import ConfigError
from audit.ground.printable import printable
from audit.reports.baseline import with_baseline
from audit.reports.checks import worst_code
from audit.reports.keys import check_config
from audit.reports.report import Report
from audit.run.commands import without_run_options
from audit.run.folder import check_options
from audit.run.overwriting import keep_inputs


@dataclass(frozen=True)
class Plan:
    """One scan: what was asked for, with its limits worked out, and where it goes."""

    asked: ScanConfig
    settings: ScanConfig
    destinations: Destinations
    command: Sequence[str] = ()
    """The words of the command line."""


def plan(
    asked: ScanConfig,
    destinations: Destinations,
    name: str,
    scans: int,
    command: Sequence[str],
) -> Plan:
    """Return the plan of one of several scans, found good before anything runs.

    Raises:
        ConfigError: something is missing or cannot mean anything.
    """
    asked = _own_folder(asked, name, scans)
    settings = ready(asked)
    check_options(settings)
    keep_inputs(settings, destinations.files)
    if settings.shard and (destinations.files or destinations.format != "table"):
        raise ConfigError(
            f"An output was asked for with --shard {settings.shard}",
            "A shard measures its share; the report is of all of them",
            "Leave out -o and -f here and pass them to robaudit merge "
            f"{quote(str(settings.run_dir))}",
        )
    return Plan(asked, settings, in_turn(destinations, name, scans), command)


def _own_folder(asked: ScanConfig, name: str, scans: int) -> ScanConfig:
    """Give each of several scans its own run folder: `{scan}` in it is the name."""
    if asked.run_dir is None:
        return asked
    if scans > 1 and SCAN not in asked.run_dir:
        raise ConfigError(
            f"{scans} scans would all run in '{asked.run_dir}'",
            "Each scan keeps its parts in a folder of its own",
            "Put {scan} into the folder's name, as --run-dir 'runs-{scan}'",
        )
    return replace(asked, run_dir=asked.run_dir.replace(SCAN, name or "scan"))


def ready(settings: ScanConfig) -> ScanConfig:
    """Return settings with their limits complete, found good before anything runs.

    Raises:
        ConfigError: something is missing or cannot mean anything.
    """
    settings = with_waivers(with_baseline(settings))
    require(settings, "model", "data")
    check_config(settings)
    return settings


def require(config: ScanConfig, *names: str) -> None:
    """Refuse settings without a model or without data.

    Raises:
        ConfigError: one of `names` is missing.
    """
    given = {"model": config.model.path, "data": config.data}
    for name in names:
        if not given[name]:
            raise ConfigError(
                f"No {name} is given",
                f"Expected {name.upper()} on the command line or '{name}:' in "
                "robaudit.yaml",
                "See robaudit scan --help",
            )


def run_all(plans: Mapping[str, Plan], show: bool) -> dict[str, Report]:
    """Run scans in turn, write their files and print them; a shard has no report."""
    reports: dict[str, Report] = {}
    for left, (name, plan) in enumerate(plans.items(), start=1 - len(plans)):
        report = _run(plan, show)
        if report is not None:
            reports[name] = report
            code = None if left else _code(reports)
            plan.destinations.deliver(report, code)
    return reports


def _code(reports: Mapping[str, Report]) -> int:
    return worst_code(report.exit_code for report in reports.values())


def _run(plan: Plan, show: bool) -> Report | None:
    """Run one scan and write its rows; None for a shard of one."""
    settings = plan.settings
    with resumable(settings.run_dir, plan.command):
        if settings.shard:
            _run_shard(plan, show)
            return None
        with ExitStack() as stack:
            rows = plan.destinations.open_rows(stack)
            tick = stack.enter_context(progress(show))
            with collector.resting():
                from audit.run.scan import scan

            return scan(settings, progress=tick, rows=rows, **_remembered(plan))


def _run_shard(plan: Plan, show: bool) -> None:
    """Measure a shard and say what became of the run."""
    with progress(show) as tick:
        with collector.resting():
            from audit.run.scan import scan_shard

        found, done = scan_shard(plan.settings, progress=tick, **_remembered(plan))
    missing = sum(not found.path(job).exists() for job in found.jobs)
    parts = len(found.jobs)
    said = (
        f"Shard {plan.settings.shard}: {len(done)} parts measured; "
        f"'{found.folder}' holds {parts - missing} of {parts}."
    )
    rest = "" if missing else f" All are there: robaudit merge {quote(found.folder)}"
    if not plan.destinations.quiet:
        emit(printable(said + rest))


def _remembered(plan: Plan) -> dict[str, Any]:
    """Return what a run folder has to remember; nothing where there is none."""
    if plan.settings.run_dir is None:
        return {}
    from audit.run.keeping import Asked

    return {"asked": Asked(plan.asked, tuple(without_run_options(plan.command)))}


def summarise(
    reports: Mapping[str, Report], quiet: bool, width: int | None = None
) -> int:
    """Print several reports side by side and return the exit code of all."""
    if len(reports) > 1 and not quiet:
        emit(render(reports, style(width=width)))
    return _code(reports)
