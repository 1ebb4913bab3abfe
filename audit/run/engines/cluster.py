"""Where the workers of `--engine ray` are: which cluster, and what each one takes.

The options are looked at before anything is opened: a cluster that is not there is said
within seconds, and not after the model has passed its gates.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.util import find_spec

from audit.config import ScanConfig
from audit.ground.errors import AuditError, ConfigError

RAY = "ray"
CLIENT = "ray://"
_CONNECT = 10.0  # seconds: a machine that is there answers within a round trip


@dataclass(frozen=True)
class Cluster:
    """Plain data, for an engine whose workers are on several machines.

    Args:
        address: "host:port" of its head, "auto" for the one of this machine; None: a
            cluster of this machine alone, which lives as long as the scan.
        gpus: that a worker takes; a fraction where several share one.
        patience: seconds in which a first worker has to be ready.
    """

    address: str | None = None
    gpus: float = 0.0
    patience: float = 300.0


def cluster_of(config: ScanConfig) -> Cluster | None:
    """Return where the workers are; None for an engine of this machine alone.

    On an accelerator each worker takes one, if nothing else is said.
    """
    if config.engine != RAY:
        return None
    gpus = config.gpus_per_worker
    if gpus is None:
        gpus = 0.0 if config.model.device == "cpu" else 1.0
    return Cluster(config.ray_address, gpus, config.open_timeout)


def check_cluster(config: ScanConfig) -> None:
    """Refuse, before anything is opened, a cluster that cannot be used.

    Raises:
        ConfigError: its options belong to another engine or contradict each other, or
            ray is not installed.
        AuditError: its address does not answer.
    """
    given = {
        "--ray-address": config.ray_address,
        "--gpus-per-worker": config.gpus_per_worker,
    }
    if config.engine != RAY:
        for option in (name for name, value in given.items() if value is not None):
            raise ConfigError(
                f"{option} was given with --engine {config.engine}",
                "It says where the workers of --engine ray are",
                f"Add --engine ray, or leave {option} out",
            )
        return
    check_installed()
    _check_gpus(config)
    if config.ray_address is not None:
        check_address(config.ray_address)


def check_installed() -> None:
    """See that ray can be imported.

    Raises:
        ConfigError: it is not installed; names the extra.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "--engine ray takes the package ray, which is not installed",
            "Expected ray 2.50 or newer, here and on every node",
            "Run pip install 'robaudit[ray]', or leave --engine out: --workers N uses "
            "the processors of this machine",
        )


def _check_gpus(config: ScanConfig) -> None:
    """Refuse accelerators that a worker cannot have, or has no use for."""
    gpus, device = config.gpus_per_worker, config.model.device
    if gpus is not None and device == "cpu":
        raise ConfigError(
            f"--gpus-per-worker {gpus:g} was given with --device cpu",
            "A worker that computes on the CPU has no use for an accelerator",
            "Add --device cuda, or leave --gpus-per-worker out",
        )
    if device != "cpu" and ":" in device:
        raise ConfigError(
            f"--device {device} was given with --engine ray",
            "Each worker sees the accelerators that Ray gives it, counted from zero",
            f"Write --device {device.partition(':')[0]}",
        )
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise ConfigError(
            f"--gpus-per-worker is {gpus:g}",
            "Expected a fraction below one, where workers share, or a whole number",
            f"Write {int(gpus)} or {int(gpus) + 1}",
        )


def check_address(address: str) -> None:
    """See that somebody listens at an address.

    Ray itself tries for minutes before it gives up.

    Raises:
        ConfigError: it is no address.
        AuditError: nobody answers.
    """
    if address == "auto":
        return  # Ray looks it up at once
    if address.startswith(CLIENT):
        raise ConfigError(
            f"--ray-address is '{address}', which is for clients from outside",
            "Expected to run on a node of the cluster: HOST:PORT of its head, or auto",
            "Start the scan on a node, or by ray job submit with --ray-address auto",
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"--ray-address is '{address}'",
            "Expected HOST:PORT of a cluster's head, or auto for the one here",
            "Start one with ray start --head, which prints its address",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT).close()
    except OSError as error:
        reason = error.strerror or str(error) or "no answer"
        raise no_answer(address, reason) from None


def no_answer(address: str, reason: str) -> AuditError:
    """Return the error about a cluster that cannot be joined."""
    return AuditError(
        f"The Ray cluster at '{address}' does not answer ({reason})",
        "Expected the address that ray start --head printed, reachable from here",
        "Start the cluster or correct --ray-address; without it the scan runs on this "
        "machine alone",
    )
