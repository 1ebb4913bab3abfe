"""The laws of every engine, to run over a new one.

    check_engine(run)

The work is plain and importable, as an engine that begins new processes needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from audit.ground.checking import answering, demand
from audit.ground.errors import InputError
from audit.run.engines import Engine

_JOBS = 7
_MEANT = ("An error of a check", "Expected to come through as it is", "Nothing to do")


def check_engine(engine: Engine, workers: tuple[int, ...] = (1, 2)) -> None:
    """Hold an engine to the laws of robaudit's own suite.

    Args:
        engine: (make, jobs, workers) -> results.
        workers: how many processes to try.

    Raises:
        LawBroken: names the law, what was expected and what found.
    """
    name = getattr(engine, "__qualname__", repr(engine))
    for count in workers:
        with_workers = f"{name} with {count} workers"
        with answering(with_workers, "an engine does all jobs, or none where none are"):
            _does_its_jobs(engine, with_workers, count)
        _passes_errors_on(engine, with_workers, count)


def _does_its_jobs(engine: Engine, name: str, workers: int) -> None:
    wanted = [job * job for job in range(_JOBS)]
    found = list(engine(make_square, iter(range(_JOBS)), workers))
    law = "the results are those of the jobs, one for each, in their order"
    demand(found == wanted, name, law, wanted, found)
    none = list(engine(make_square, iter(()), workers))
    demand(not none, name, "no jobs give no results", [], none)


def _passes_errors_on(engine: Engine, name: str, workers: int) -> None:
    law = "an error of a job, or of make, comes through as it is"
    for make in (partial(make_failing, "job"), partial(make_failing, "make")):
        try:
            found: object = list(engine(make, iter(range(_JOBS)), workers))
        except Exception as error:
            right = isinstance(error, InputError) and "of a check" in str(error)
            demand(right, name, law, "InputError", repr(error))
        else:
            demand(False, name, law, "InputError", found)


def make_square() -> Callable[[int], int]:
    """Return a function that does a job."""
    return _square


def make_failing(where: str) -> Callable[[int], int]:
    """Return a function that fails at a job, or fail at once."""
    if where == "make":
        raise InputError(*_MEANT)
    return _failing


def _square(job: int) -> int:
    return job * job


def _failing(job: int) -> int:
    if job == 2:
        raise InputError(*_MEANT)
    return job
