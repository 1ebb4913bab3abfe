"""The whole run on one screen.

Data go down and come back once: rows are cut into jobs, an engine maps `measure` over
them, the columns that come back become one report, and the gate judges it. With a run
folder the answers rest on the disk in between, so that a scan can be interrupted,
shared among machines (`scan_shard`) and put together by another process (`merge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from audit.config import ScanConfig
from audit.ground import stages
from audit.ground.errors import ConfigError
from audit.models.network import Network
from audit.reports.planned import with_plan
from audit.reports.report import Report
from audit.reports.rows import RowsWriter
from audit.run.commands import refuse_missing
from audit.run.folder import Run, open_folder
from audit.run.jobs import filled, job_rows, kept, measured
from audit.run.keeping import Asked, begin, check_run, identity_of, in_blocks_of
from audit.run.opened import Opened, open_scan
from audit.run.plan import Job, cut, read_shard
from audit.run.reporting import Tick, report_of, silent
from audit.run.to_come import expect_all


def scan(
    config: ScanConfig,
    progress: Tick = silent,
    rows: RowsWriter | None = None,
    asked: Asked | None = None,
    network: Network | None = None,
) -> Report:
    """Audit a model on data and judge the result.

    Args:
        config: everything there is to know.
        progress: is told (inputs done, inputs in all).
        rows: gets every column of every input, as they come.
        asked: what a run folder remembers of the command, if there is one.
        network: the model, where it is open already; None: the file of `config`.

    Raises:
        AuditError: one of its kinds.
    """
    if config.shard is not None:
        raise ConfigError(
            f"A report was asked for with --shard {config.shard}",
            "A shard measures its share; the report is of all of them",
            "Use scan_shard, and merge when all are done",
        )
    config = with_plan(config)
    with open_scan(config, network) as opened:
        if config.run_dir is None:
            whole = rows is not None
            jobs = cut(opened.total, job_rows(config, opened.prepared, whole))
            parts = measured(config, opened.prepared, jobs, whole)
            return report_of(opened, parts, rows, progress)
        opened, run = _join_run(opened, rows, asked)
        _fill(opened, run, run.jobs, progress)
        return report_of(opened, kept(run, run.jobs), rows, silent)


def scan_shard(
    config: ScanConfig, progress: Tick = silent, asked: Asked | None = None
) -> tuple[Run, list[Job]]:
    """Measure one share of a run into its folder; return what was measured now.

    Raises:
        AuditError: one of its kinds.
    """
    with open_scan(with_plan(config)) as opened:
        opened, run = _join_run(opened, None, asked)
        mine = read_shard(config.shard or "1/1").take(run.jobs)
        return run, _fill(opened, run, mine, progress)


def merge(
    config: ScanConfig,
    progress: Tick = silent,
    rows: RowsWriter | None = None,
    partial: bool = False,
) -> Report:
    """Make the report of a run from its parts.

    Args:
        config: the settings of the run, with the limits to judge by.
        progress: is told (inputs done, inputs in all).
        rows: gets every column of every input, as they come.
        partial: whether parts may be missing; the report says so.

    Raises:
        Incomplete: parts are missing.
        ConfigError: the model, the data or the tool changed since the run.
    """
    config = replace(with_plan(config), resume=True, shard=None)
    run = open_folder(str(config.run_dir))
    missing = run.missing()
    lost = frozenset(missing)
    refuse_missing(run, missing, partial)
    with open_scan(config) as opened:
        check_run(run, identity_of(config, opened.prepared), rows)
        opened = replace(opened, prepared=in_blocks_of(run, opened.prepared))
        jobs = [job for job in run.jobs if job not in lost]
        return report_of(opened, kept(run, jobs), rows, progress, missing)


def _join_run(
    opened: Opened, rows: RowsWriter | None, asked: Asked | None
) -> tuple[Opened, Run]:
    """Begin or join the run in --run-dir, and compute as it does."""
    config, prepared = opened.config, opened.prepared
    run = begin(config, prepared, opened.total, rows, asked or Asked(config))
    return replace(opened, prepared=in_blocks_of(run, prepared)), run


def _fill(opened: Opened, run: Run, jobs: Sequence[Job], progress: Tick) -> list[Job]:
    """Measure those of some jobs that are not done, and return them."""
    missing = run.missing(jobs)
    done, total = 0, sum(job.rows for job in missing)
    stages.stage(stages.MEASURE, total, "inputs")
    expect_all(opened.config, opened.prepared, total)
    progress(done, total)
    with closing(filled(opened.config, opened.prepared, missing, run)) as filling:
        for rows in filling:
            done += rows
            stages.reach(done)
            progress(done, total)
    return missing
