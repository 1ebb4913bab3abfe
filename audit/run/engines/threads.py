"""Several jobs at a time in this process, their results in order.

torch lets go of the interpreter while it computes, so threads that each do whole blocks
keep as many cores busy, without a second copy of the model. Inside, torch's own threads
are one: two kinds of threads would compete, and how torch shares one product among
cores may show in its rounding. So the number of threads shows in no number.

Ctrl-C arrives in the thread that waits. The others are told at their next step in
Python, as they would be if they were alone, and are waited for.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 2
"""Jobs of each thread that are begun or done, and not yet taken."""


class _Stopped(KeyboardInterrupt):
    """Raised in a thread whose result nobody waits for."""


def in_order(
    do: Callable[[Job], Result], jobs: Iterable[Job], threads: int
) -> Generator[Result, None, None]:
    """Yield the results of the jobs, in their order.

    Args:
        do: does one job; several at a time, where there are several threads.
        jobs: taken as they are needed.
        threads: one does them here.

    Raises:
        Exception: whatever a job raises, in its turn.
    """
    if threads <= 1:
        yield from map(do, jobs)
        return
    crew, waiting = _Crew(do), deque[Future[Result]]()
    left = iter(jobs)
    pool = ThreadPoolExecutor(threads, "robaudit")
    try:
        for job in islice(left, AHEAD * threads):
            waiting.append(pool.submit(crew, job))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(crew, job) for job in islice(left, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()
        crew.stop()
        pool.shutdown()


class _Crew(Generic[Job, Result]):
    """Does jobs in threads that can be stopped."""

    def __init__(self, do: Callable[[Job], Result]) -> None:
        self._do, self._lock = do, threading.Lock()
        self._busy: set[int] = set()
        self._over = False

    def __call__(self, job: Job) -> Result:
        """Do one job."""
        me = threading.get_ident()
        with self._lock:
            if self._over:
                raise _Stopped
            self._busy.add(me)
        try:
            return self._do(job)
        finally:
            with self._lock:
                self._busy.discard(me)
                if self._over:  # a word that has not arrived is for nobody else
                    _interrupt(me, None)

    def stop(self) -> None:
        """Begin no job any more, and interrupt those that are under way."""
        with self._lock:
            self._over = True
            for thread in self._busy:
                _interrupt(thread, ctypes.py_object(_Stopped))


def _interrupt(
    thread: int, error: ctypes.py_object[type[BaseException]] | None
) -> None:
    """Raise an error in a thread, or take back one that it has not seen."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


@contextlib.contextmanager
def torch_threads(count: int) -> Generator[None, None, None]:
    """Let torch use so many threads of its own inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
