"""Many machines: Ray Core actors that take one job after another.

Without an address Ray runs on this machine alone, for as long as the scan, so that the
same command runs on a laptop and on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from audit.run.engines.cluster import Cluster, check_installed
from audit.run.engines.ray_session import joined
from audit.run.engines.ray_sharing import Shared

Job = TypeVar("Job")
Result = TypeVar("Result")


def run(
    make: Callable[[], Callable[[Job], Result]],
    jobs: Iterable[Job],
    workers: int,
    cluster: Cluster | None = None,
) -> Iterator[Result]:
    """Yield the results of the jobs, in their order.

    Args:
        make: returns the function that does a job; picklable, and importable on every
            node.
        jobs: plain data.
        workers: actors, each with one processor of the cluster.
        cluster: where they are; None: this machine alone.

    Raises:
        AuditError: the cluster cannot be joined or has no room, a job loses every
            worker; or one of a job's own errors.
    """
    wanted = list(jobs)
    if not wanted:
        return
    ray, cluster = _library(), cluster or Cluster()
    with joined(ray, cluster, workers):
        shared = Shared(ray, make, wanted, workers, cluster)
        try:
            shared.begin()
            yield from shared.results()
        finally:
            shared.end()


def _library() -> Any:  # noqa: ANN401
    check_installed()
    import ray

    return ray
