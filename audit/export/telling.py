"""How a density is written: by which exporter first, and who is told of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from audit.ground.errors import ConfigError


@dataclass(frozen=True)
class How:
    """Whether a trace is tried first, and who is told what is being done."""

    traced: bool
    tell: Callable[[str], None]


def traced(exporter: str) -> bool:
    """Tell whether a trace is to be tried first.

    Raises:
        ConfigError: there is no such exporter.
    """
    if exporter in ("auto", "dynamo"):
        return exporter == "auto"
    raise ConfigError(
        f"exporter={exporter!r} was given", "Expected auto or dynamo", "Leave it out"
    )


def on_terminal(said: str) -> None:
    """Say what is being done, where somebody is looking."""
    if sys.stderr.isatty():
        print(said, file=sys.stderr)
