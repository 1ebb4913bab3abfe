"""The jobs of a scan: how large they are, what one of them does, who does them.

A job's rows are measured block by block. Its answers go back to the scan, or into a
part file of a run, whose numbers are the same: they depend on the block alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from audit.config import ScanConfig
from audit.ground.errors import Incomplete, InputError, boundary
from audit.measure import Answers
from audit.measure.preparation import Prepared, prepare
from audit.models.gates import Findings
from audit.run.engines import mapped as run_jobs
from audit.run.engines.cluster import cluster_of
from audit.run.folder import Run
from audit.run.parts import Tree
from audit.run.plan import Job, Shard
from audit.run.work import Work, threads_inside, threads_of

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
) -> Generator[Answers, None, None]:
    """Yield the answers to the jobs, in their order.

    Args:
        config: everything there is to know.
        prepared: the open model, for this process.
        jobs: row ranges.
        whole: whether every direction is kept, for a rows file.
    """
    cluster = cluster_of(config)
    if cluster is not None or (config.workers > 1 and len(jobs) > 1):
        known = read_by(prepared), prepared.model.gates
        make = partial(make_worker, config, prepared.block, whole, *known)
        workers = min(config.workers, max(len(jobs), 1))
        return run_jobs(config.engine, make, jobs, workers, cluster)
    work = Work(prepared, whole, threads_of(config, prepared), _answers)
    return run_jobs(config.engine, lambda: work, jobs, 1)


def filled(
    config: ScanConfig, prepared: Prepared, jobs: Sequence[Job], run: Run
) -> Generator[int, None, None]:
    """Measure jobs into the part files of a run; yield the rows of each as it is done.

    Whoever measures a part writes it: parts outlive the process that asked for them.
    """
    cluster, whole = cluster_of(config), run.manifest.directions
    known = read_by(prepared), prepared.model.gates
    if cluster is not None:
        sender = partial(make_sender, config, run, run.seen(), *known)
        workers = min(config.workers, max(len(jobs), 1))
        return received(
            run, jobs, run_jobs(config.engine, sender, jobs, workers, cluster)
        )
    if config.workers > 1 and len(jobs) > 1:
        make = partial(make_keeper, config, run, *known)
        return run_jobs(config.engine, make, jobs, min(config.workers, len(jobs)))
    work = Work(prepared, whole, threads_of(config, prepared), partial(keep, run))
    return run_jobs(config.engine, lambda: work, jobs, 1)


def read_by(prepared: Prepared) -> tuple[str, str]:
    """Return the digests of the data and of the weights that a process has read."""
    return prepared.model.inputs.sha256, prepared.model.network.weights_sha256


def make_worker(
    config: ScanConfig,
    block: int,
    whole: bool,
    expected: tuple[str, str],
    gates: Findings | None = None,
) -> Work[Answers]:
    """Open the model in a worker's own process and return what does a job.

    Args:
        config: everything there is to know.
        block: rows that are computed together.
        whole: whether every direction is kept.
        expected: what `read_by` gave where the scan was begun.
        gates: what they measured there. The same bytes need not pass them again.

    Raises:
        InputError: the data or the model are not those that the scan has read.
    """
    return Work(*_opened(config, block, expected, gates, whole), _answers)


def make_keeper(
    config: ScanConfig,
    run: Run,
    expected: tuple[str, str],
    gates: Findings | None = None,
) -> Work[int]:
    """Open the model in a worker's own process and return what does and keeps a job."""
    block, whole = run.manifest.block, run.manifest.directions
    opened = _opened(config, block, expected, gates, whole)
    return Work(*opened, partial(keep, run))


def _opened(
    config: ScanConfig,
    block: int,
    expected: tuple[str, str],
    gates: Findings | None,
    whole: bool,
) -> tuple[Prepared, bool, int]:
    """Open the model in a process of a worker's own, for `Work`."""
    own = torch.get_num_threads()
    torch.set_num_threads(1)
    prepared = replace(prepare(config, True, gates=gates), block=block)
    if read_by(prepared) != expected:
        raise InputError(
            f"'{config.data}' or '{config.model.path}' changed while the scan ran",
            "Every worker reads them again, and must read the same",
            "Scan again while nobody writes them",
        )
    torch.set_num_threads(threads_inside(config, prepared, own))
    return prepared, whole, threads_of(config, prepared)


def _answers(_job: Job, answers: Answers) -> Answers:
    return answers


def make_sender(
    config: ScanConfig,
    run: Run,
    seen: tuple[int, int] | None,
    expected: tuple[str, str],
    gates: Findings | None = None,
) -> Callable[[Job], Tree | None]:
    """Open the model on a node and return what does a job there.

    Where the node sees the very folder of the run, it keeps the part there and gives
    None; elsewhere it gives the answers, for the scan to keep.

    Args:
        config: everything there is to know.
        run: with a folder of the scan's own machine.
        seen: what the scan sees of that folder.
        expected: the digests of what the scan has read.
        gates: what they measured there.
    """
    block, whole = run.manifest.block, run.manifest.directions
    do = make_worker(config, block, whole, expected, gates)
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
) -> Generator[int, None, None]:
    """Keep the answers that no node has kept; yield the rows of each job."""
    for job, found in zip(jobs, answers, strict=True):
        if found is not None:
            run.write(job, found)
        yield job.rows


def keep(run: Run, job: Job, answers: Answers) -> int:
    """Write a job's part file and return the number of its rows."""
    run.write(job, answers.plain())
    return job.rows


def kept(run: Run, jobs: Sequence[Job]) -> Generator[Answers, None, None]:
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
