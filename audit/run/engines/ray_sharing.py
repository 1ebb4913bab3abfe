"""Jobs shared among actors of Ray: which has which, and what is lost with one.

Each worker is an actor of one process. It opens the model once and holds two jobs, so
that it never waits for us. Answers rest in the object store until it is their turn, and
no more than a few jobs for each worker are ahead of that, so that this process and the
store hold a bounded number of them.

A worker, its node or the answers on it may be lost at any time. Then its jobs go to
others, a new worker is asked for, and the scan goes on with those that there are. A job
that has lost `TRIES` workers one after another is not tried again: it would lose them
all.
"""

from __future__ import annotations

import contextlib
import pickle
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from audit.run.engines import ray_words as words
from audit.run.engines.cluster import Cluster
from audit.run.engines.ray_worker import Worker, home, versions

TRIES = 3
_HELD = 2  # jobs of a worker at a time
_AHEAD = 8  # jobs for each worker, of the one whose turn it is
_TICK = 1.0  # seconds
_LOST = (
    "RayActorError",
    "ObjectLostError",
    "OutOfMemoryError",
    "NodeDiedError",
    "LocalRayletDiedError",
    "WorkerCrashedError",
)
"""Errors of Ray after which a job can be done by another worker."""


@dataclass(eq=False)
class _Actor:
    """A worker as we know it."""

    handle: Any
    node: str = ""
    places: deque[int] = field(default_factory=deque)
    """Of the jobs that it has, the one it does now first."""


class Shared:
    """Which worker has which job, and which answers are there."""

    def __init__(
        self,
        ray: Any,  # noqa: ANN401
        make: Callable[[], Any],
        jobs: list[Any],
        workers: int,
        cluster: Cluster,
    ) -> None:
        self._ray, self._make, self._jobs = ray, make, jobs
        self._workers, self._cluster = workers, cluster
        self._lost = tuple(getattr(ray.exceptions, name) for name in _LOST)
        self._home, self._versions = home(), versions()
        self._waiting = deque(range(len(jobs)))
        self._opening: dict[Any, _Actor] = {}
        self._ready: list[_Actor] = []
        self._running: dict[Any, tuple[_Actor, int, Any]] = {}
        self._answers: dict[int, Any] = {}
        self._losses: Counter[int] = Counter()
        self._failed, self._since = 0, time.monotonic()

    def begin(self) -> None:
        """Ask for the workers."""
        for _ in range(self._workers):
            self._ask()

    def end(self) -> None:
        """Let go of every worker, whatever it does."""
        for actor in [*self._ready, *self._opening.values()]:
            self._kill(actor)

    def results(self) -> Iterator[Any]:
        """Yield the answers in the order of the jobs."""
        for turn in range(len(self._jobs)):
            found = None
            while found is None:
                self._hand_out(turn)
                if turn in self._answers:
                    found = self._fetched(turn)
                else:
                    self._wait()
            yield pickle.loads(found)

    def _ask(self) -> None:
        options = {"num_cpus": 1, "num_gpus": self._cluster.gpus, "max_restarts": 0}
        handle = self._ray.remote(Worker).options(**options).remote()
        opened = handle.open.remote(self._make, self._home)
        self._opening[opened] = _Actor(handle)

    def _hand_out(self, turn: int) -> None:
        """Give jobs to the workers that hold few, the earliest first."""
        for count in range(_HELD):
            for actor in self._ready:
                near = (
                    self._waiting and self._waiting[0] < turn + _AHEAD * self._workers
                )
                if near and len(actor.places) <= count:
                    self._give(actor, self._waiting.popleft())

    def _give(self, actor: _Actor, place: int) -> None:
        do = actor.handle.do.options(num_returns=2)
        status, answer = do.remote(self._jobs[place])
        actor.places.append(place)
        self._running[status] = actor, place, answer

    def _wait(self) -> None:
        """Wait until something has happened, and take note of it."""
        known = [*self._opening, *self._running]
        happened, _ = self._ray.wait(known, num_returns=1, timeout=_TICK)
        for one in happened:
            if one in self._opening:
                self._opened(one)
            elif one in self._running:  # not of a worker that was lost just now
                self._done(one)
        waited = time.monotonic() - self._since
        if not self._ready and waited > self._cluster.patience:
            raise words.no_room(self._ray.cluster_resources(), self._cluster, waited)

    def _opened(self, one: Any) -> None:  # noqa: ANN401
        """Take a worker that is ready, or say why it never will be."""
        actor = self._opening.pop(one)
        try:
            actor.node, found, error = self._ray.get(one)
        except self._lost as lost:
            self._failed += 1
            if self._failed >= max(TRIES, self._workers):
                raise words.cannot_open(lost, self._failed) from lost
            self._replace(actor)
            return
        except self._ray.exceptions.RayTaskError as broken:
            raise words.cannot_begin(broken) from broken
        if error is not None:
            raise error
        words.refuse_others(actor.node, found, self._versions)
        self._failed = 0
        self._ready.append(actor)

    def _done(self, one: Any) -> None:  # noqa: ANN401
        """Take note of an answer, or give the jobs of a lost worker to others."""
        actor, place, answer = self._running.pop(one)
        try:
            error = self._ray.get(one)
        except self._lost as lost:
            self._lose(actor, lost)
            return
        except self._ray.exceptions.RayTaskError as broken:
            raise broken.cause from None
        if error is not None:
            raise error
        actor.places.remove(place)
        self._answers[place] = answer

    def _lose(self, actor: _Actor, lost: Exception) -> None:
        """Take back a worker's jobs, and ask for another worker."""
        first = actor.places[0]
        self._losses[first] += 1
        if self._losses[first] >= TRIES:
            raise words.loses_workers(self._jobs[first], actor.node, lost) from lost
        self._running = {
            status: found
            for status, found in self._running.items()
            if found[0] is not actor
        }
        self._again(*actor.places)
        self._ready.remove(actor)
        self._since = time.monotonic()
        self._replace(actor)

    def _replace(self, actor: _Actor) -> None:
        self._kill(actor)
        self._ask()

    def _again(self, *places: int) -> None:
        self._waiting = deque(sorted({*self._waiting, *places}))

    def _fetched(self, place: int) -> bytes | None:
        """Return an answer's bytes; None where they were lost with their node."""
        answer = self._answers.pop(place)
        try:
            found: bytes = self._ray.get(answer)
        except self._lost as lost:
            self._losses[place] += 1
            if self._losses[place] >= TRIES:
                raise words.loses_workers(self._jobs[place], "", lost) from lost
            self._again(place)
            return None
        return found

    def _kill(self, actor: _Actor) -> None:
        with contextlib.suppress(Exception):  # it may be gone, and the cluster with it
            self._ray.kill(actor.handle, no_restart=True)
