"""What `robaudit selftest` shows: a line for each check, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.formats.layout import Style, print_all
from audit.ground.printable import printable
from audit.reports.json import indented
from audit.reports.selftested import SelfTest
from audit.reports.text import count, number

_SIGNS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "not applicable": ("–", ""),
    "not run": ("?", "yellow"),
}


def to_json(found: SelfTest) -> str:
    """Return the findings as JSON."""
    return indented(dataclasses.asdict(found), allow_nan=False)


def render(found: SelfTest, style: Style | None = None) -> str:
    """Return the findings as text; with `verbose`, all numbers."""
    style = style or Style()
    return print_all(_parts(found, style.verbose), style)


def _parts(found: SelfTest, verbose: bool) -> Iterator[RenderableType]:
    law = f" · {printable(found.family)}" if found.family else ""
    yield Text.assemble((printable(found.model), "bold"), law)
    yield Text(printable(found.data))
    yield Text()
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False)
    for width in (1, 27, None):
        table.add_column(width=width, overflow="fold")
    for line in found.lines:
        sign, colour = _SIGNS[line.status]
        said = Text(printable(line.said), colour if line.status == "failed" else "")
        table.add_row(Text(sign, colour), Text(printable(line.check)), said)
        if verbose and line.numbers:
            table.add_row("", "", Text(_numbers(line.numbers), "dim"))
    yield table
    yield from _what_to_do(found)
    yield Text()
    yield Text(
        _verdict(found), {0: "bold green", 1: "bold red"}.get(found.exit_code, "")
    )


def _numbers(numbers: Mapping[str, float]) -> str:
    shown = (f"{printable(name)} {number(value)}" for name, value in numbers.items())
    return ", ".join(shown)


def _what_to_do(found: SelfTest) -> Iterator[RenderableType]:
    failed = [line for line in found.lines if line.status == "failed"]
    if failed:
        yield Text()
        yield Text("What to do", "bold")
    for line in failed:
        text = Text(f"{printable(line.check)}: {printable(line.todo)}")
        yield Padding(text, (0, 0, 0, 2))


def _verdict(found: SelfTest) -> str:
    made = {name: n for name, n in found.counts.items() if n}
    parts = ", ".join(f"{n} {name}" for name, n in made.items())
    word = {0: "PASS", 1: "FAIL"}.get(found.exit_code, "NOT RUN")
    checks = count(len(found.lines), "check")
    return f"{word}: {checks}, {parts} · exit {found.exit_code}"
