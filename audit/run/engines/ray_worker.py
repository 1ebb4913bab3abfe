"""What runs on a node: opens the model once, and does one job after another.

Answers go back as the bytes of a pickle, and errors of ours as values: so they are the
same objects as from a process of this machine, in memory of their own, and no wrapping
of Ray's is left around them.
"""

from __future__ import annotations

import os
import pickle
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from audit.ground.errors import AuditError
from audit.ground.version import __version__

_COMPUTING = ("torch", "numpy")


@dataclass(frozen=True)
class Home:
    """What a worker takes over from the process of the scan."""

    folder: str
    """Where relative paths begin."""
    threads: int
    """Of torch: how a sum is cut may change its last bits."""


def home() -> Home:
    """Return that of this process."""
    return Home(os.getcwd(), torch.get_num_threads())


def versions() -> dict[str, str]:
    """Return the version of everything that a number can depend on."""
    return {"robaudit": __version__, **{name: version(name) for name in _COMPUTING}}


class Worker:
    """An actor: one process on one node."""

    def __init__(self) -> None:
        self._work: Callable[[Any], Any] | None = None

    def open(
        self, make: Callable[[], Callable[[Any], Any]], home: Home
    ) -> tuple[str, dict[str, str], AuditError | None]:
        """Open the model; return the node's name, its versions, and what went wrong."""
        torch.set_num_threads(home.threads)
        try:
            os.chdir(home.folder)
        except OSError:
            lacking = f"which has no folder '{home.folder}'"
        else:
            lacking = ""
        error = None
        try:
            self._work = make()
        except AuditError as found:
            error = _placed(found, lacking) if lacking else found
        return platform.node(), versions(), error

    def do(self, job: object) -> tuple[AuditError | None, bytes]:
        """Do a job; return its error or None, and the answer's bytes."""
        assert self._work is not None
        try:
            return None, pickle.dumps(self._work(job), protocol=5)
        except AuditError as error:
            return error, b""


def _placed(error: AuditError, lacking: str) -> AuditError:
    """Say with an error on which node it came up: paths may mean others there."""
    given = f"{error.given} (on the node {platform.node()}, {lacking})"
    return type(error)(given, error.expected, error.next_step)
