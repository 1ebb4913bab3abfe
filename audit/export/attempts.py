"""Write a module by the first exporter whose file passes every check."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from audit.export.checking import in_float64, open_file, require_equal, require_slopes
from audit.export.roles import Role
from audit.export.splines import branch_free
from audit.export.writing import TRACED, WRITERS, Writer, quietly
from audit.ground import stages
from audit.ground.errors import AuditError, ConfigError, ModelError, cause

TOLERANCE = 1e-4
ROWS = 32  # at which a file is compared
_WRITTEN, _COMPARED = 0.7, 0.05  # of the time of an attempt, by experience
EXAMPLE = 3  # rows an exporter sees; the file is compared at others too


def silent(said: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Task:
    """What to write where, and what it must say.

    Args:
        module: inputs by name -> outputs by name.
        path: the file.
        inputs: rows to compare at.
        expected: the estimator's own values there.
        document: the contract.
        condition: the input that a scan will perturb.
        traced: whether a trace may be tried before torch.export.
        tell: is told what is being done.
    """

    module: nn.Module
    path: Path
    inputs: Mapping[str, Tensor]
    expected: Mapping[str, Tensor]
    document: Mapping[str, object]
    condition: str = "x"
    traced: bool = False
    tell: Callable[[str], None] = silent

    @property
    def writers(self) -> tuple[Writer, ...]:
        """Who may write it, the first to be tried first."""
        suffix = self.path.suffix
        return TRACED.get(suffix, WRITERS[suffix]) if self.traced else WRITERS[suffix]


def known_format(path: str | Path) -> Path:
    """Return the path if its folder is there and its suffix names a format.

    Raises:
        ConfigError: one of the two is not so.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ConfigError(
            f"There is no folder '{path.parent}'",
            "Expected one to write the file to",
            "Make it first",
        )
    if path.suffix in WRITERS:
        return path
    raise ConfigError(
        f"The file '{path.name}' has the suffix '{path.suffix}'",
        f"Expected one of {', '.join(WRITERS)}",
        "Name it for example posterior.onnx",
    )


def write(task: Task) -> Path:
    """Write the file and return its path.

    Raises:
        ModelError: no exporter can, or none of the files says what it must.
    """
    failures = []
    stages.stage(stages.EXPORT, len(task.writers), "exporters")
    for tried, writer in enumerate(task.writers):
        stages.reach(tried)
        partial = task.path.with_name(f".{task.path.stem}.partial{task.path.suffix}")
        try:
            _attempt(task, writer, partial)
            os.replace(partial, task.path)
        except Exception as error:  # exporters raise whatever their parts raise
            failures.append(_reason(error))
        else:
            return task.path
        finally:
            partial.unlink(missing_ok=True)
    others = " or ".join(each for each in (".pt2", ".onnx") if each != task.path.suffix)
    raise ModelError(
        f"No exporter wrote {' and '.join(task.expected)} to '{task.path.name}' "
        f"({'; '.join(dict.fromkeys(failures))})",
        "Expected a network that torch.export or a trace can follow, with derivatives",
        f"Audit it live, audit.scan(estimator, data); or try the suffix {others}, or "
        "another kind of flow (MAF, NSF)",
    )


def _attempt(task: Task, writer: Writer, partial: Path) -> None:
    text = yaml.safe_dump(dict(task.document), sort_keys=False)
    task.tell(f"{task.path.name}: {writer.__name__.replace('_', ' ')}")
    with quietly(), branch_free():
        writer(task.module, partial, _first(task.inputs, EXAMPLE), text)
    stages.step(_WRITTEN / len(task.writers))
    task.tell(f"{task.path.name}: read back and compare")
    with quietly():
        run, slope = open_file(partial, list(task.expected))
        with torch.no_grad():
            for rows in (1, 7, len(task.inputs[task.condition])):
                found = run(_first(task.inputs, rows))
                require_equal(found, _first(task.expected, rows), TOLERANCE)
                stages.step(_COMPARED / len(WRITERS[task.path.suffix]))
        names = list(task.expected)
        exact = in_float64(task.module, task.inputs) or run
        require_slopes(exact, slope, dict(task.inputs), names, task.condition)


def _first(values: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    return {name: value[:rows].clone() for name, value in values.items()}


def _reason(error: Exception) -> str:
    if isinstance(error, AuditError):
        return error.given
    deepest: BaseException = error
    while deepest.__cause__ is not None:  # those around it tell the steps of a tool
        deepest = deepest.__cause__
    return f"{type(deepest).__name__}: {cause(deepest)[:160]}"


@dataclass(frozen=True)
class How:
    """Whether a trace is tried first, who is told of it, and what is written."""

    traced: bool
    tell: Callable[[str], None]
    role: Role = Role.POSTERIOR


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
