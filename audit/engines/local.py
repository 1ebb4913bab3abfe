"""One machine: in this process, or in a pool of fresh ones."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_work: Callable[[Any], Any] | None = None  # of this pool process


def run(
    make: Callable[[], Callable[[Job], Result]], jobs: Iterable[Job], workers: int
) -> Iterator[Result]:
    """Yield the results of the jobs, in their order.

    Args:
        make: returns the function that does a job; picklable where workers > 1.
        jobs: plain data.
        workers: processes. More than one are spawned, so that no state leaks in.
    """
    if workers <= 1:
        yield from map(make(), jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (make,)) as pool:
        yield from pool.map(_do, jobs)


def _begin(make: Callable[[], Callable[[Any], Any]]) -> None:
    global _work
    _work = make()


def _do(job: Any) -> Any:  # noqa: ANN401
    assert _work is not None
    return _work(job)
