"""What `robaudit inspect` shows: a model file as the auditor sees it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit.formats.layout import Style, print_all
from audit.formats.planned import rows
from audit.ground.printable import json_without_commands, printable
from audit.reports.text import number


class Inspection(Protocol):
    """The plain data that `audit.run.inspection.inspect` returns."""

    @property
    def format(self) -> str:
        """The kind of file: "onnx", "torchscript" or "exported"."""

    @property
    def files(self) -> Sequence[Any]:
        """The files the model is made of."""

    @property
    def opset(self) -> Any:  # noqa: ANN401
        """The version of the operator set; None where there is none."""

    @property
    def inputs(self) -> Sequence[tuple[str, str, Sequence[Any]]]:
        """(name, dtype, shape)."""

    @property
    def outputs(self) -> Sequence[tuple[str, str, Sequence[Any]]]:
        """(name, dtype, shape)."""

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """The least and the largest number of each tensor on the rows tried."""

    @property
    def contract(self) -> str:
        """`parameters`, `density` or `transport`."""

    @property
    def items(self) -> Sequence[tuple[str, str, str]]:
        """(item, value, origin) of the contract."""

    @property
    def differentiable(self) -> str:
        """Either "yes", or the first operator that stops gradients."""

    @property
    def forward_error(self) -> float | None:
        """The largest difference from the file's own runtime; None: not tried."""

    @property
    def plan(self) -> Mapping[str, Any]:
        """How a scan would compute, as a report keeps it; empty: not known."""

    @property
    def scan_command(self) -> str:
        """The command to paste."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the reader should know."""


def to_json(found: Inspection) -> str:
    """Return an inspection as JSON."""
    data = dataclasses.asdict(found)  # type: ignore[call-overload]
    text = json.dumps(data, sort_keys=True, indent=2, default=str)
    return json_without_commands(text) + "\n"


def render(found: Inspection, style: Style | None = None) -> str:
    """Return an inspection as text."""
    text = print_all(_parts(found), style or Style())
    return f"{text}  {printable(found.scan_command)}\n"  # unwrapped, to be pasted


def _parts(found: Inspection) -> Iterator[RenderableType]:
    opset = f", opset {found.opset}" if found.opset else ""
    files = ", ".join(_file(file) for file in found.files) or "a live model"
    yield Text.assemble((printable(files), "bold"), f" · {found.format}{opset}")
    yield Text()
    yield _table(
        ("tensor", "name", "dtype", "shape", "on the data"),
        [
            (role, name, dtype, _shape(shape), _range(found.ranges.get(name)))
            for role, tensors in (("input", found.inputs), ("output", found.outputs))
            for name, dtype, shape in tensors
        ],
    )
    yield Text()
    items = [("contract", found.contract, ""), *found.items]
    yield _table(("contract", "value", "because of"), items)
    yield Text()
    planned = rows(found.plan)
    if planned:
        yield _table(("plan", "value", "because"), planned)
        yield Text()
    yield Text(f"Differentiable: {printable(found.differentiable)}")
    if found.forward_error is not None:
        yield Text(
            f"Forward pass: {number(found.forward_error)} from the file's runtime"
        )
    for warning in found.warnings:
        yield Text(f"Warning: {printable(warning)}", "yellow")
    yield Text()
    yield Text("To audit it:")


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> RenderableType:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _file(file: object) -> str:
    return str(getattr(file, "path", file))


def _range(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def _shape(shape: Sequence[object]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
