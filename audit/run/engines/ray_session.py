"""Joining a Ray cluster for as long as a scan takes, or having one of this machine.

An own cluster lives as long as the scan: its processes end with this one, even by kill
-9 (the workers within seconds, two agents of Ray's within a minute), and its folder of
sockets and logs is removed. Ray's reports of use are turned off:
what is audited is nobody's business.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audit.ground import watch
from audit.ground.errors import AuditError, cause
from audit.run.engines.cluster import Cluster, no_answer

_STORE = 256 * 2**20  # bytes of shared memory for results on their way; more is spilled
_JOIN = 60.0  # seconds
_LONGEST_FOLDER = 36  # characters: the path of a socket has at most 103
_QUIET = {"log_to_driver": False, "configure_logging": False}


@contextlib.contextmanager
def joined(ray: Any, cluster: Cluster, workers: int) -> Iterator[None]:  # noqa: ANN401
    """Be part of a cluster during the block; of the one this process is in already.

    Args:
        ray: the library.
        cluster: which.
        workers: how many processes one of this machine alone is to have room for.

    Raises:
        AuditError: it cannot be joined or started.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        options = _options(cluster, workers, stack)
        # Ray puts a handler of its own in the place of SIGTERM's
        with watch.own_handlers(), watch.within(_JOIN, _late(cluster)):
            _join(ray, cluster, options)
        stack.callback(ray.shutdown)
        yield


def _options(
    cluster: Cluster, workers: int, stack: contextlib.ExitStack
) -> dict[str, Any]:
    """Return what `ray.init` is told."""
    options: dict[str, Any] = {**_QUIET, "logging_level": logging.ERROR}
    if cluster.address is not None:
        return {**options, "address": cluster.address}
    options |= {"address": "local", "include_dashboard": False, "num_cpus": workers}
    options |= {"object_store_memory": _STORE}
    if len(tempfile.gettempdir()) <= _LONGEST_FOLDER:
        folder = tempfile.mkdtemp(prefix="rr-")
        watch.tell(temporary=folder)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        options |= {"_temp_dir": str(Path(folder).resolve())}
    return options


def _join(ray: Any, cluster: Cluster, options: dict[str, Any]) -> None:  # noqa: ANN401
    try:
        ray.init(**options)
    except AuditError:
        raise
    except (Exception, SystemExit) as error:  # of the network, of versions, a token
        reason = cause(error)
        if cluster.address is not None:
            raise no_answer(cluster.address, reason) from error
        raise AuditError(
            f"Ray does not start on this machine ({reason})",
            "Expected its processes to start, with room in /dev/shm and /tmp",
            "Use --workers without --engine ray, or --ray-address of a cluster",
        ) from error


def _late(cluster: Cluster) -> AuditError:
    """Return the error for a cluster that listens and does not answer."""
    return no_answer(cluster.address or "this machine", f"nothing for {_JOIN:g} s")
