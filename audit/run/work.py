"""What one process does with jobs: measure their blocks, several at a time.

A block is measured alone, whoever does it, and the blocks of a job are joined in their
order: the number of threads shows in no number. Blocks of different jobs are done at
the same time, so that a job's end keeps no thread waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from audit.config import ScanConfig
from audit.ground import stages
from audit.ground.errors import ConfigError
from audit.ground.machine import usable_cores
from audit.measure import Answers, joined, measure
from audit.measure.plan import Choice
from audit.measure.preparation import Prepared
from audit.measure.selection import index_of
from audit.run.engines.threads import in_order
from audit.run.identity import packages
from audit.run.plan import Job
from audit.run.tally import lighter

Result = TypeVar("Result")


@dataclass(frozen=True)
class Work(Generic[Result]):
    """Does jobs on a model that is open in this process.

    Args:
        prepared: the model, and what is asked of it.
        whole: whether every direction is kept.
        threads: blocks at the same time.
        finish: what becomes of a job's answers; called in one thread, in order.
    """

    prepared: Prepared
    whole: bool
    threads: int
    finish: Callable[[Job, Answers], Result]

    def __call__(self, job: Job) -> Result:
        """Do one job."""
        return next(self.several([job]))

    def several(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Do several jobs, and yield their results in order."""
        wanted = list(jobs)
        blocks = (rows for job in wanted for rows in self._blocks(job))
        with closing(in_order(self._block, blocks, self.threads)) as parts:
            for job in wanted:
                count = -(-job.rows // self.prepared.block)
                answers = joined([self._arrived(parts) for _ in range(count)])
                yield self.finish(job, answers)

    def _arrived(self, parts: Iterator[Answers]) -> Answers:
        """Return a block's answers; those of other threads show as progress now."""
        part = next(parts)
        if self.threads > 1:
            stages.step(self._share(self.prepared.block))
        return part

    def _share(self, rows: int) -> float:
        return rows / max(1, len(self.prepared.selected))

    def _blocks(self, job: Job) -> list[NDArray[np.int64]]:
        rows = index_of(self.prepared.selected[job.start : job.stop])
        block = self.prepared.block
        return np.split(rows, range(block, len(rows), block))

    def _block(self, rows: NDArray[np.int64]) -> Answers:
        model, questions = self.prepared.model, self.prepared.questions
        with stages.part(self._share(len(rows))):
            answers = measure(model, questions, rows, self.prepared.block)
        return answers if self.whole else lighter(answers)


def threads_of(config: ScanConfig, prepared: Prepared) -> int:
    """Return how many blocks this process measures at the same time: see `crew`."""
    return int(crew(config, prepared).value)


def crew(config: ScanConfig, prepared: Prepared) -> Choice:
    """Return how many blocks this process measures at the same time, and why.

    By default as many as it has cores, shared among --workers, and one where a third
    party's code computes, which may not be made for threads. --memory holds the blocks
    of all of them. Where only products with J are made, a block takes the memory, and
    torch's own threads share it: see `threads_inside`.

    Raises:
        ConfigError: several were asked for, and the model is none to share; or two
            numbers were.
    """
    network, asked = prepared.model.network, threads_asked(config)
    if asked is not None and asked > 1 and not network.shared:
        raise ConfigError(
            f"--threads {asked} was given for a model that is no .onnx, .pt or .pt2 "
            "file run here as it is",
            "Code that nobody knows may keep something between calls, which threads "
            "would share",
            "Leave it out; of a file, --workers share nothing",
        )
    if prepared.questions.matrix_free:
        return Choice(1, "torch's own threads share one chunk")
    if not network.shared:
        return Choice(1, "code that nobody knows may not be made for threads")
    limits = {
        "fit --memory": prepared.held // prepared.block,
        "are there": -(-len(prepared.selected) // prepared.block),
    }
    if asked is not None:
        limits["were asked for"] = asked
    elif packages(config, prepared.model.head.family):
        limits["are made by the code of a third party"] = 1
    else:
        limits["have a core each"] = usable_cores() // config.workers
    why = min(limits, key=lambda name: limits[name])
    most = max(1, limits[why])
    return Choice(most, f"{most} {'chunks' if most > 1 else 'chunk'} {why}")


def threads_asked(config: ScanConfig) -> int | None:
    """Return how many threads a process may have; None: as many as it has cores.

    Raises:
        ConfigError: --threads and --plan disagree.
    """
    planned = int(config.plan["threads"]) if "threads" in config.plan else None
    if config.threads is not None and planned not in (None, config.threads):
        raise ConfigError(
            f"--threads {config.threads} was given with --plan threads={planned}",
            "Expected one number",
            "Leave one of the two out",
        )
    return planned if config.threads is None else config.threads


def threads_inside(config: ScanConfig, prepared: Prepared, own: int) -> int:
    """Return how many threads torch itself uses, for one product or one convolution.

    One, wherever blocks are shared among threads. Where they are not because only
    products with a huge J are made: --threads, by default `own`, as torch would.
    """
    return (threads_asked(config) or own) if prepared.questions.matrix_free else 1
