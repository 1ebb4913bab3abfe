"""The whole run on one screen.

Data go down and come back once: rows are cut into jobs, an engine maps `measure` over
them, the columns that come back become one report, and the gate judges it. With a run
folder the answers rest on the disk in between, so that a scan can be interrupted,
shared among machines (`scan_shard`) and put together by another process (`merge`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from audit.config import ScanConfig
from audit.ground import stages, watch
from audit.ground.errors import ConfigError
from audit.measure import Answers
from audit.measure.preparation import Prepared, prepare, settings_of
from audit.measure.records import (
    data_record,
    divergence_infos,
    model_record,
    run_record,
)
from audit.models.network import Network
from audit.reports.build import build_report
from audit.reports.gate import PARTIAL
from audit.reports.keys import check_config
from audit.reports.measured import Measured
from audit.reports.planned import with_plan
from audit.reports.report import Report
from audit.reports.rows import RowsWriter
from audit.reports.spill import Spill
from audit.reports.values import FEW
from audit.run.collection import Collection, sample_of, with_checks
from audit.run.commands import refuse_missing
from audit.run.engines import ENGINES
from audit.run.engines.threads import torch_threads
from audit.run.folder import Run, check_options, open_folder, refuse_open
from audit.run.jobs import filled, job_rows, kept, measured
from audit.run.keeping import Asked, begin, check_run, identity_of, in_blocks_of
from audit.run.overwriting import keep_inputs
from audit.run.plan import Job, cut, read_shard, spans
from audit.run.still import still_notes
from audit.run.targets import held_against, refuse_early
from audit.run.to_come import expect_all
from audit.run.universal import universal
from audit.run.work import crew, threads_asked, threads_inside, threads_of
from audit.verify import Ladder, ladder_of, portraits, save_witness, verify
from audit.verify.selftest import short_selftest
from audit.verify.trust import trust_warnings

Tick = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Show no progress."""


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
    with _open(config, network) as opened:
        if config.run_dir is None:
            whole = rows is not None
            jobs = cut(opened.total, job_rows(config, opened.prepared, whole))
            parts = measured(config, opened.prepared, jobs, whole)
            return _report(opened, parts, rows, progress)
        opened, run = _join_run(opened, rows, asked)
        _fill(opened, run, run.jobs, progress)
        return _report(opened, kept(run, run.jobs), rows)


def scan_shard(
    config: ScanConfig, progress: Tick = silent, asked: Asked | None = None
) -> tuple[Run, list[Job]]:
    """Measure one share of a run into its folder; return what was measured now.

    Raises:
        AuditError: one of its kinds.
    """
    with _open(with_plan(config)) as opened:
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
    with _open(config) as opened:
        check_run(run, identity_of(config, opened.prepared), rows)
        opened = replace(opened, prepared=in_blocks_of(run, opened.prepared))
        jobs = [job for job in run.jobs if job not in lost]
        return _report(opened, kept(run, jobs), rows, progress, missing)


@dataclass(frozen=True)
class _Opened:
    """The model, and which rows are audited."""

    config: ScanConfig
    prepared: Prepared
    started: float
    names: list[str] | None
    """Of the features, if the data name them."""
    ladder: Ladder
    """The sizes that are searched for worst cases."""

    @property
    def total(self) -> int:
        """How many rows are audited."""
        return len(self.prepared.selected)


@contextmanager
def _open(config: ScanConfig, network: Network | None = None) -> Iterator[_Opened]:
    """Open the model; torch has as many threads of its own as the scan gives it."""
    own = torch.get_num_threads()
    with torch_threads(1):
        opened = _opened(config, network)
        torch.set_num_threads(threads_inside(config, opened.prepared, own))
        yield opened


def _opened(config: ScanConfig, network: Network | None) -> _Opened:
    started = time.time()
    check_config(config)
    check_options(config)
    _refuse_no_folder(config.witness)
    keep_inputs(config)
    ENGINES[config.engine]  # a name that is none, or a broken one, is said now
    if network is not None:
        refuse_open(config)
    stages.stage(stages.OPEN)
    with watch.opening(config.model.path, config.open_timeout):
        prepared = prepare(config, True, network)
    refuse_early(config, prepared)
    threads_of(config, prepared)  # more than there may be are refused now
    names = _feature_names(prepared, config.memory)
    asked = (config.sizes, config.norm, config.bounds)
    ladder = ladder_of(prepared.questions, *asked, prepared.model.event)
    return _Opened(config, prepared, started, names, ladder)


def _refuse_no_folder(path: str | None) -> None:
    """Refuse, before anything is measured, a file whose folder does not exist.

    Raises:
        ConfigError: it does not.
    """
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise ConfigError(
            f"Witnesses were to be kept in '{path}', whose folder does not exist",
            "Expected a folder to write a file into",
            "Create it, or correct --witness",
        )


def _join_run(
    opened: _Opened, rows: RowsWriter | None, asked: Asked | None
) -> tuple[_Opened, Run]:
    """Begin or join the run in --run-dir, and compute as it does."""
    config, prepared = opened.config, opened.prepared
    run = begin(config, prepared, opened.total, rows, asked or Asked(config))
    return replace(opened, prepared=in_blocks_of(run, prepared)), run


def _fill(opened: _Opened, run: Run, jobs: Sequence[Job], progress: Tick) -> list[Job]:
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


def _report(
    opened: _Opened,
    parts: Generator[Answers, None, None],
    rows: RowsWriter | None,
    progress: Tick = silent,
    missing: Sequence[Job] = (),
) -> Report:
    """Join the answers, check predictions and file, and build and judge the report."""
    with Spill() if opened.total > FEW else nullcontext() as spill:
        collection = Collection(opened.prepared.model.event, rows, spill)
        stages.stage(stages.MEASURE, opened.total, "inputs")
        expect_all(opened.config, opened.prepared, opened.total)
        progress(0, opened.total)
        with closing(parts) as arriving:
            for part in arriving:
                collection.add(part)
                stages.reach(collection.done)
                progress(collection.done, opened.total)
        return _judged(opened, collection, rows, missing)


def _judged(
    opened: _Opened,
    collection: Collection,
    rows: RowsWriter | None,
    missing: Sequence[Job],
) -> Report:
    """Check what was collected, and build and judge the report."""
    config, prepared = opened.config, opened.prepared
    answers = collection.close()
    still = still_notes(config, answers.columns)
    sample = sample_of(config, answers)
    index = answers.index[sample.places]
    verified = verify(prepared.model, prepared.questions, index, opened.ladder)
    if config.witness is not None:
        settings = settings_of(config)
        save_witness(config.witness, verified.witnesses, prepared.model, settings)
    means = collection.tally.forms()
    directions, verified = universal(prepared, means, sample, verified)
    columns, checks = with_checks(answers, verified, sample, rows)
    tested = short_selftest(prepared.model, prepared.questions, answers.index)
    warnings = [*still, *prepared.notes, *tested, *verified.notes]
    for name, found in columns.items():
        warnings += trust_warnings(name, found, *prepared.trust)
    data = data_record(prepared.model, config, prepared.sampling)
    measured = Measured(
        answers.index,
        columns,
        divergence_infos(prepared),
        model_record(prepared.model),
        replace(
            data,
            feature_names=opened.names,
            n_free=len(prepared.questions.frame.free),
        ),
        collection.worst,
        checks if len(index) else None,
        list(answers.skipped),
        [*warnings, *_lacking(missing, opened.total)],
        run_record(config, prepared, opened.started, crew(config, prepared))
        | _shared(config, prepared)
        | ({"rows": rows.paths} if rows is not None and rows.paths else {}),
        collection.tally.features([d.name for d in prepared.questions.divergences]),
        collection.tally.spectra(),
        collection.tally.coordinates(),
        directions,
        portraits(
            prepared.questions.divergences[0].name,
            verified.reached,
            [one.index for one in collection.worst] if len(index) else [],
            prepared.model.event,
        ),
        held_against(config, prepared, answers, opened.ladder),
    )
    stages.stage(stages.WRITE)
    if rows is not None:
        model, frame = prepared.model, prepared.questions.frame
        rows.beside("x", lambda: model.perturbed(answers.index))
        rows.beside("unit", lambda: frame.at(answers.index).units(model.event))
    return build_report(measured, config)


def _shared(config: ScanConfig, prepared: Prepared) -> dict[str, int]:
    """Record how many threads shared the blocks, where somebody asked for some."""
    asked = threads_asked(config) is not None
    return {"threads": threads_of(config, prepared)} if asked else {}


def _lacking(missing: Sequence[Job], total: int) -> list[tuple[str, str]]:
    """Warn that a report is not of all rows; the gate then trusts no verdict."""
    if not missing:
        return []
    rows = sum(job.rows for job in missing)
    said = f"{rows} of {total} rows were not measured: {spans(missing)}"
    return [(PARTIAL, f"partial report: {said}")]


def _feature_names(prepared: Prepared, memory: int) -> list[str] | None:
    """Return the names of what is perturbed, where that is the data."""
    model = prepared.model
    if model.space != "input":
        return None
    return model.inputs.feature_names(model.event, memory)
