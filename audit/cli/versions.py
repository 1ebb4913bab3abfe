"""Versions, read from metadata: nothing is imported to learn them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import typer

from audit.ground.version import __version__

LIBRARIES = ("torch", "onnx", "onnxruntime", "numpy", "pydantic", "rich", "typer")


def say_versions(wanted: bool) -> None:
    """Print all versions on one line and end, if that is wanted (--version)."""
    if not wanted:
        return
    from audit.cli.terminal import emit

    known = versions().items()
    emit(", ".join(f"{name} {one or 'not installed'}" for name, one in known))
    raise typer.Exit


def versions() -> dict[str, str | None]:
    """Return package -> version; None where a package is not installed."""
    found: dict[str, str | None] = {"robaudit": __version__}
    found |= {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = installed(name)
        except PackageNotFoundError:
            found[name] = None
    return found
