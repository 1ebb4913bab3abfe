"""One machine: in this process, or in a pool of fresh ones."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from audit.ground import streams, watch
from audit.ground.errors import AuditError
from audit.run.engines import over

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

    Raises:
        AuditError: a worker died; or one of a job's own errors.
    """
    if workers <= 1:
        yield from over(make(), jobs)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (make, streams.diverted()))
    try:
        results = deque(pool.submit(_do, job) for job in jobs)
        while results:
            yield results.popleft().result()
        pool.shutdown()
    except BrokenProcessPool:
        raise AuditError(
            f"One of {workers} worker processes died",
            "Expected all to live; one that takes too much memory is killed",
            "Try fewer --workers, or a smaller --batch-size",
        ) from None
    finally:
        _stop(pool)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers now: a job nobody waits for is not finished.

    A worker may leave half a result in the pipe. Its reader sees the end of it when
    nobody can write any more, we ourselves included.
    """
    for process in list((pool._processes or {}).values()):
        process.terminate()
    with contextlib.suppress(AttributeError, OSError):
        pool._result_queue._writer.close()  # type: ignore[attr-defined]
    pool.shutdown()


def _begin(make: Callable[[], Callable[[Any], Any]], quotes: bool) -> None:
    global _work
    if quotes:  # a pool process has its parent's streams, and a stdout of its own
        streams.quote_prints()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that began us
    if (parent := multiprocessing.parent_process()) is not None and parent.pid:
        watch.end_with_parent(parent.pid, parent.join)  # nobody takes our results
    try:
        _work = make()
    except AuditError as error:  # a pool would only say that a worker died
        _work = partial(_refuse, error)


def _refuse(error: AuditError, _job: object) -> Any:  # noqa: ANN401
    raise error


def _do(job: Any) -> Any:  # noqa: ANN401
    assert _work is not None
    return _work(job)
