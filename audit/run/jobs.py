"""The jobs of a scan: how large they are, what one of them does, who does them.

A job's rows are measured block by block. Its answers go back to the scan, or into a
part file of a run, whose numbers are the same: they depend on the block alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from audit.config import ScanConfig
from audit.ground import stages
from audit.ground.errors import Incomplete, InputError, boundary
from audit.measure import Answers, joined, measure
from audit.measure.preparation import Prepared, prepare
from audit.run.engines import mapped as run_jobs
from audit.run.engines.cluster import cluster_of
from audit.run.folder import Run
from audit.run.parts import Tree
from audit.run.plan import Job, Shard
from audit.run.tally import lighter

_ROWS = 1024  # of a job
_PARTS = 64  # of a run, at least: what an interruption loses is a small share


def job_rows(config: ScanConfig, prepared: Prepared, whole: bool) -> int:
    """Return the rows of a job: --batch-size, in whole blocks.

    By default as many as --memory holds of their directions, where these are kept.
    """
    questions = prepared.questions
    wide = prepared.model.density.d * questions.top * len(questions.divergences)
    held = max(1, config.memory // (16 * wide)) if whole else _ROWS
    return _in_blocks(config.batch_size or min(_ROWS, held), prepared)


def part_rows(
    config: ScanConfig, prepared: Prepared, whole: bool, total: int, shard: Shard | None
) -> int:
    """Return the rows of a part of a run: small enough to lose one, or to share."""
    rows = job_rows(config, prepared, whole)
    if config.batch_size:
        return rows
    parts = max(_PARTS, shard.of if shard else 1)
    return _in_blocks(min(rows, -(-total // parts)), prepared)


def _in_blocks(rows: int, prepared: Prepared) -> int:
    return -(-rows // prepared.block) * prepared.block


def measured(
    config: ScanConfig, prepared: Prepared, jobs: Sequence[Job], whole: bool
) -> Iterator[Answers]:
    """Yield the answers to the jobs, in their order.

    Args:
        config: everything there is to know.
        prepared: the open model, for this process.
        jobs: row ranges.
        whole: whether every direction is kept, for a rows file.
    """
    cluster = cluster_of(config)
    if cluster is not None or (config.workers > 1 and len(jobs) > 1):
        make = partial(make_worker, config, prepared.block, whole, read_by(prepared))
        workers = min(config.workers, max(len(jobs), 1))
        return run_jobs(config.engine, make, jobs, workers, cluster)
    return run_jobs(config.engine, lambda: partial(work, prepared, whole), jobs, 1)


def filled(
    config: ScanConfig, prepared: Prepared, jobs: Sequence[Job], run: Run
) -> Iterator[int]:
    """Measure jobs into the part files of a run; yield the rows of each as it is done.

    Whoever measures a part writes it: parts outlive the process that asked for them.
    """
    cluster, whole = cluster_of(config), run.manifest.directions
    if cluster is not None:
        sender = partial(make_sender, config, run, run.seen(), read_by(prepared))
        workers = min(config.workers, max(len(jobs), 1))
        return received(
            run, jobs, run_jobs(config.engine, sender, jobs, workers, cluster)
        )
    if config.workers > 1 and len(jobs) > 1:
        make = partial(make_keeper, config, run, read_by(prepared))
        return run_jobs(config.engine, make, jobs, min(config.workers, len(jobs)))
    do = partial(work, prepared, whole)
    return run_jobs(config.engine, lambda: partial(keep, run, do), jobs, 1)


def read_by(prepared: Prepared) -> tuple[str, str]:
    """Return the digests of the data and of the weights that a process has read."""
    return prepared.model.inputs.sha256, prepared.model.network.weights_sha256


def make_worker(
    config: ScanConfig, block: int, whole: bool, expected: tuple[str, str]
) -> Callable[[Job], Answers]:
    """Open the model in a worker's own process and return what does a job.

    Raises:
        InputError: the data or the model are not those that the scan has read.
    """
    prepared = replace(prepare(config, True), block=block)
    if read_by(prepared) != expected:
        raise InputError(
            f"'{config.data}' or '{config.model.path}' changed while the scan ran",
            "Every worker reads them again, and must read the same",
            "Scan again while nobody writes them",
        )
    return partial(work, prepared, whole)


def make_keeper(
    config: ScanConfig, run: Run, expected: tuple[str, str]
) -> Callable[[Job], int]:
    """Open the model in a worker's own process and return what does and keeps a job."""
    do = make_worker(config, run.manifest.block, run.manifest.directions, expected)
    return partial(keep, run, do)


def make_sender(
    config: ScanConfig,
    run: Run,
    seen: tuple[int, int] | None,
    expected: tuple[str, str],
) -> Callable[[Job], Tree | None]:
    """Open the model on a node and return what does a job there.

    Where the node sees the very folder of the run, it keeps the part there and gives
    None; elsewhere it gives the answers, for the scan to keep.

    Args:
        config: everything there is to know.
        run: with a folder of the scan's own machine.
        seen: what the scan sees of that folder.
        expected: the digests of what the scan has read.
    """
    do = make_worker(config, run.manifest.block, run.manifest.directions, expected)
    if run.seen() == seen:
        return partial(kept_there, run, do)
    return partial(plain, do)


def kept_there(run: Run, do: Callable[[Job], Answers], job: Job) -> None:
    """Do a job and write its part file."""
    run.write(job, do(job).plain())


def plain(do: Callable[[Job], Answers], job: Job) -> Tree:
    """Do a job and return its answers as a part holds them."""
    return do(job).plain()


def received(
    run: Run, jobs: Sequence[Job], answers: Iterator[Tree | None]
) -> Iterator[int]:
    """Keep the answers that no node has kept; yield the rows of each job."""
    for job, found in zip(jobs, answers, strict=True):
        if found is not None:
            run.write(job, found)
        yield job.rows


def work(prepared: Prepared, whole: bool, job: Job) -> Answers:
    """Measure a job's rows, block by block; `whole` keeps every direction."""
    rows = prepared.rows[job.start : job.stop]
    blocks = np.split(rows, range(prepared.block, len(rows), prepared.block))
    model, questions = prepared.model, prepared.questions
    parts = []
    for rows in blocks:
        with stages.part(len(rows) / max(1, len(prepared.rows))):
            part = measure(model, questions, rows, prepared.block)
        parts.append(part if whole else lighter(part))
    return joined(parts)


def keep(run: Run, do: Callable[[Job], Answers], job: Job) -> int:
    """Do a job, write its part file and return the number of its rows."""
    run.write(job, do(job).plain())
    return job.rows


def kept(run: Run, jobs: Sequence[Job]) -> Iterator[Answers]:
    """Yield the answers in the part files of a run, one at a time."""
    for job in jobs:
        with boundary(
            f"'{run.path(job)}' is no part of a run",
            "Expected what the scan wrote there",
            "Remove it, and measure it again with --resume",
            Incomplete,
        ):
            answers = Answers.from_plain(run.taken(job))
        yield answers
