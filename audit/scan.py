"""The whole run on one screen.

Data go down and come back once: rows are cut into jobs, an engine maps `measure` over
them, the columns that come back become one report, and the gate judges it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from audit.collection import Collection
from audit.config import ScanConfig
from audit.engines.local import run
from audit.inputs.names import read_feature_names
from audit.measure import Chunk, measure
from audit.preparation import Prepared, prepare
from audit.records import data_record, divergence_infos, model_record, run_record
from audit.reports.build import build_report
from audit.reports.keys import check_config
from audit.reports.measured import Measured
from audit.reports.report import Report
from audit.reports.rows import RowsWriter
from audit.selection import select_rows
from audit.tally import lighter
from audit.verification import verify

Tick = Callable[[int, int], None]
_JOB_ROWS = 1024


@dataclass(frozen=True)
class Job:
    """A range of the selected rows: plain data, for any worker."""

    start: int
    stop: int


def scan(
    config: ScanConfig,
    progress: Tick = lambda done, total: None,
    rows: RowsWriter | None = None,
) -> Report:
    """Audit a model on data and judge the result.

    Args:
        config: everything there is to know.
        progress: is told (inputs done, inputs in all).
        rows: gets every column of every input, as they come.

    Raises:
        AuditError: one of its kinds.
    """
    started = time.time()
    check_config(config)
    prepared = prepare(config, True)
    names = _feature_names(prepared)
    index, sampling = select_rows(config, prepared.model.inputs.n)
    found = Collection(prepared.model.event, rows)
    progress(0, len(index))
    for chunks in _measured(config, prepared, len(index), rows is not None):
        for chunk in chunks:
            found.add(chunk)
        progress(found.done, len(index))
    found.close()
    verified = verify(prepared.model, prepared.questions, found.to_verify(config))
    found.note(verified)
    measured = Measured(
        found.index,
        found.columns,
        divergence_infos(prepared),
        model_record(prepared.model),
        replace(data_record(prepared.model, config, sampling), feature_names=names),
        found.reasons,
        found.worst(prepared),
        verified.summary(),
        found.skipped,
        found.warnings(prepared, verified),
        run_record(config, prepared, started),
        found.tally.features([one.name for one in prepared.questions.divergences]),
        found.tally.spectra(),
    )
    return build_report(measured, config)


def _measured(
    config: ScanConfig, prepared: Prepared, total: int, whole: bool
) -> Iterator[list[Chunk]]:
    size = _job_rows(config, prepared)
    jobs = [Job(first, min(first + size, total)) for first in range(0, total, size)]
    if config.workers > 1 and len(jobs) > 1:
        make = partial(make_worker, config, whole)
        return run(make, jobs, min(config.workers, len(jobs)))
    return run(lambda: partial(work, config, prepared, whole), jobs, 1)


def _job_rows(config: ScanConfig, prepared: Prepared) -> int:
    """Return the rows of a job: --batch-size, in whole blocks."""
    wanted = config.batch_size or _JOB_ROWS
    return -(-wanted // prepared.block) * prepared.block


def make_worker(config: ScanConfig, whole: bool) -> Callable[[Job], list[Chunk]]:
    """Open the model in a worker's own process and return what does a job."""
    return partial(work, config, prepare(config, True), whole)


def work(config: ScanConfig, prepared: Prepared, whole: bool, job: Job) -> list[Chunk]:
    """Measure a job's rows, block by block; `whole` keeps every direction."""
    index, _ = select_rows(config, prepared.model.inputs.n)
    cuts = np.arange(job.start + prepared.block, job.stop, prepared.block)
    blocks = np.split(index[job.start : job.stop], cuts - job.start)
    model, questions = prepared.model, prepared.questions
    chunks = (measure(model, questions, rows, prepared.block) for rows in blocks)
    return [chunk if whole else lighter(chunk) for chunk in chunks]


def _feature_names(prepared: Prepared) -> list[str] | None:
    """Return the names of what is perturbed, where that is the data."""
    model = prepared.model
    if model.space != "input":
        return None
    return read_feature_names(model.inputs.path, model.event)
