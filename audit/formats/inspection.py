"""What `robaudit inspect` shows: a model file as the auditor sees it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit.formats.layout import Style, print_all
from audit.ground.printable import printable
from audit.reports.inspected import Inspection
from audit.reports.json import indented
from audit.reports.planned import rows
from audit.reports.text import number


def to_json(found: Inspection) -> str:
    """Return an inspection as JSON."""
    return indented(dataclasses.asdict(found), default=str)


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
