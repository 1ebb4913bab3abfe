"""What can go wrong on a cluster, in words."""

from __future__ import annotations

from collections.abc import Mapping

from audit.ground.errors import AuditError, ConfigError, cause
from audit.ground.version import __version__
from audit.run.engines.cluster import Cluster

_STARVED = ("OUT_OF_MEMORY", "OutOfMemory", "low on memory")
_LESS = (
    "Use fewer workers on a node (ray start --num-cpus), a smaller --memory or "
    "--batch-size, or nodes with more memory"
)


def loses_workers(job: object, node: str, error: Exception) -> AuditError:
    """Return the error about a job that no worker survives."""
    where = f", the last on the node {node}" if node else ""
    return AuditError(
        f"Every worker that was given {job} was lost{where} ({why(error)})",
        "Expected a worker to live; one that takes too much memory is killed",
        _LESS,
    )


def cannot_open(error: Exception, times: int) -> AuditError:
    """Return the error about workers that die before they have opened the model."""
    return AuditError(
        f"{times} workers in turn died while they opened the model ({why(error)})",
        "Expected a worker to live; one that takes too much memory is killed",
        _LESS,
    )


def cannot_begin(error: Exception) -> AuditError:
    """Return the error about a node on which a worker does not begin."""
    return ConfigError(
        f"A worker does not begin on its node ({_last_line(error)})",
        f"Expected robaudit {__version__} on every node, with the packages of here",
        "Install the same environment, or start every node from the same image",
    )


def no_room(
    resources: Mapping[str, float], cluster: Cluster, seconds: float
) -> AuditError:
    """Return the error about a cluster that has started no worker."""
    has = ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
    asks = f"1 CPU and {cluster.gpus:g} GPU" if cluster.gpus else "1 CPU"
    return AuditError(
        f"No worker was ready after {seconds:.0f} s; the cluster has {has}",
        f"Expected room for workers, each of which takes {asks}, within --open-timeout",
        "Wait until others have finished, add nodes, lower --gpus-per-worker, or raise "
        "--open-timeout",
    )


def refuse_others(node: str, found: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Refuse a node that computes with other versions: its numbers would differ.

    Raises:
        ConfigError: names the node and the package.
    """
    for name, version in ours.items():
        if found.get(name) != version:
            raise ConfigError(
                f"The node {node} has {name} {found.get(name)}, here it is {version}",
                "Every part of a scan is computed by the same versions",
                "Install the same environment, or start every node from the same image",
            )


def why(error: Exception) -> str:
    """Return in a few words what ended a worker."""
    said = f"{type(error).__name__} {error}"
    if any(mark in said for mark in _STARVED):
        return "out of memory on its node"
    if "node" in said and ("died" in said or "dead" in said) and "Node" in said:
        return "its node died"
    return cause(error)


def _last_line(error: Exception) -> str:
    """Return what was raised: a trace names it at its end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error:" in line]
    return (named or lines or [type(error).__name__])[-1]
