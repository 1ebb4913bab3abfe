"""Ways to run a scan's jobs. Each is a `map` over plain data, in order.

An engine takes (make, jobs, workers): `make()` is called once in each process and
returns the function that does a job there, so that a model is opened once a process
and never crosses from one to another. What crosses is plain data: `make` and jobs one
way, results the other.

What `make` returns may be asked for several jobs at once, `several(jobs)`, and then
uses the cores of its process by itself (`over`). Third parties add an engine by the
entry point group `robaudit.engines`; it is chosen by name, --engine NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from audit.ground.errors import BrokenPlugin
from audit.ground.plugins import called_with, fault
from audit.ground.registry import Registry
from audit.run.engines.cluster import Cluster

Job = TypeVar("Job")
Result = TypeVar("Result")


class Engine(Protocol):
    """A map of jobs over processes."""

    def __call__(
        self,
        make: Callable[[], Callable[[Job], Result]],
        jobs: Iterable[Job],
        workers: int,
        /,
    ) -> Iterator[Result]:
        """Yield the results of the jobs, in their order.

        Args:
            make: returns the function that does a job; picklable where workers > 1.
            jobs: plain data.
            workers: processes at the same time, at least one.
        """


def over(do: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """Yield the results of jobs that are done in this process, in their order."""
    several = getattr(do, "several", None)
    return map(do, jobs) if several is None else iter(several(jobs))


ENGINES: Registry[Engine] = Registry(
    "engines",
    {"local": "audit.run.engines.local:run", "ray": "audit.run.engines.ray:run"},
    called_with("make", "jobs", "workers"),
)


def mapped(
    engine: str,
    make: Callable[[], Callable[[Job], Result]],
    jobs: Iterable[Job],
    workers: int,
    cluster: Cluster | None = None,
) -> Generator[Result, None, None]:
    """Yield the results of the jobs, in their order, one for each.

    Args:
        engine: its name.
        make: returns the function that does a job.
        jobs: plain data.
        workers: processes at the same time.
        cluster: where the workers are, for an engine that is told so.

    Raises:
        UnknownName: there is no such engine.
        BrokenPlugin: it is a third party's, and lost a job or made one up.
    """
    run, wanted, given = ENGINES[engine], list(jobs), 0
    told: dict[str, Any] = {} if cluster is None else {"cluster": cluster}
    for result in run(make, wanted, workers, **told):
        given += 1
        if given > len(wanted):
            raise _lost(run, given, len(wanted))
        yield result
    if given < len(wanted):
        raise _lost(run, given, len(wanted))


def _lost(run: Engine, given: int, wanted: int) -> BrokenPlugin:
    return fault("engines", run, f"gave {given} results for {wanted} jobs")
