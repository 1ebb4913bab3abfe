"""The report on a terminal: 80 to 100 columns, plain text when it is not one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Literal

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.formats import attacked, features, planned, reading, sides, verdicts
from audit.formats.features import NAME_WIDTH
from audit.formats.spelling import spelt_part
from audit.ground.printable import printable
from audit.ground.spelling import spelt
from audit.reports.doubts import CRITICAL
from audit.reports.formulas import TRUST
from audit.reports.quantities import MOVED
from audit.reports.report import Check, Divergence, Report, Summary, WorstInput
from audit.reports.roles import is_detail
from audit.reports.text import NOTHING, count, number, shorten, sparkline

NARROW, WIDE = 60, 100
DISTRIBUTION = "distribution"
SHOWN = ("p05", "p50", "mean", "p95", "max")
LAYOUTS = (
    (DISTRIBUTION, *SHOWN),
    SHOWN,
    ("p05", "p50", "p95", "max"),
    ("p50", "p95", "max"),
)
"""The columns of quantities: as many of them as have room."""
SHOWN_WORST = 5
SHOWN_COUNTS = 4
CHAIN = ("model_norm", "map_norm", "jacobian_norm", "von_neumann", "alignment")
CRITICAL_SHORT = "critical"
COMPARED = ("angle", "attained")
SHAPE = ("effective_rank", "map_effective_rank", "rank", "gap")
RANGE = ("validity_radius", "skew")
SECONDARY = frozenset({*CHAIN, *COMPARED, *SHAPE, *RANGE, *MOVED, *TRUST})
"""Shown on request only; the sentences of a report tell what matters of them."""
STATUS = {
    "pass": ("✓", "green"),
    "fail": ("✗", "red"),
    "borderline": ("≈", "yellow"),
    "warn": ("!", "yellow"),
    "unmeasured": ("?", "yellow"),
    "undecided": ("?", "yellow"),
}


@dataclass(frozen=True)
class Style:
    """How a terminal wants its text."""

    width: int = 80
    colour: bool = False
    verbose: bool = False
    """Every quantity, not only the main ones."""
    encoding: str = "utf-8"
    """What it lacks is spelt in ASCII before tables are laid out."""


def render(report: Report, style: Style | None = None) -> str:
    """Return the report as text."""
    style = style or Style()
    return print_all(_parts(report, style), style)


def render_checks(reports: Mapping[str, Report], style: Style) -> str:
    """Return the checks and the verdict of each report, under its path."""
    parts: list[RenderableType] = []
    for path, report in reports.items():
        parts += [Text(printable(path), "bold")] if len(reports) > 1 else []
        parts += verdict_lines(report)
    return print_all(iter(parts), style)


def print_all(parts: Iterator[RenderableType], style: Style) -> str:
    """Return renderables as text; names are never read as console markup."""
    console = Console(
        file=StringIO(),
        width=max(NARROW, min(style.width, WIDE)),
        force_terminal=style.colour,
        color_system="standard" if style.colour else None,
        no_color=not style.colour,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        for part in parts:
            console.print(spelt_part(part, style.encoding))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _parts(report: Report, style: Style) -> Iterator[RenderableType]:
    yield from _head(report)
    for name in report.ranked:
        yield Text()
        yield from _quantities(report, name, report.divergences[name], style)
        yield from _counts(report, name, style)
        yield from _two_sided(report, name, style)
    yield from _section("Why", _why(report))
    if report.worst:
        yield Text()
        yield _worst(report)
    yield from _section("Predicted and realised", reading.verification(report))
    yield from _section("What moved", attacked.sentences(report))
    yield from _under_attack(report)
    yield from _section("Estimated", reading.estimation(report))
    if style.verbose:
        yield from _section("Planned", planned.lines(report.run.get("plan")))
    yield from _section("Skipped", _skipped(report))
    yield from _section("Warnings", [w.message for w in report.warnings])
    yield Text()
    yield from verdict_lines(report)


def verdict_lines(report: Report) -> Iterator[RenderableType]:
    """Yield a line for each check, and the verdict."""
    yield from map(_check, report.checks)
    colour = {"pass": "bold green", "fail": "bold red"}.get(report.verdict, "bold")
    yield Text(verdicts.verdict_line(report), colour)


def _head(report: Report) -> Iterator[RenderableType]:
    model, data = report.model, report.data
    path = printable(model.files[0].path) if model.files else "model"
    outputs = ", ".join(f"{name}={text}" for name, text in model.parameters.items())
    yield Text.assemble(
        (shorten(path, 60), "bold"),
        f" · {printable(model.law)}({printable(outputs)})",
    )
    shape = "×".join(map(str, data.event_shape)) or "one number"
    skipped = f", {data.n_skipped} skipped" if data.n_skipped else ""
    yield Text(
        f"{printable(shorten(data.source, 40))} · {data.n_audited} of "
        f"{count(data.n_total, 'input')} audited{skipped} · each {shape}",
        "dim",
    )
    yield Text()
    yield Text(reading.headline(report))


def _quantities(
    report: Report, name: str, divergence: Divergence, style: Style
) -> Iterator[RenderableType]:
    """Yield the table of a divergence with the columns that fit, and which do not."""
    summaries = {q: divergence.summary[q] for q in _listed(report, name, style)}
    for columns in LAYOUTS:
        heads = [printable(name), *columns, "unit"]
        rows = [_row(q, found, columns) for q, found in summaries.items()]
        if _fits([heads, *rows], style):
            break
    yield _tabulated(heads, rows)
    left_out = [column for column in LAYOUTS[0] if column not in columns]
    if left_out and rows:
        said = f"no room for {', '.join(left_out)}: see -o report.html, or COLUMNS"
        yield Padding(Text(said, "dim"), (0, 0, 0, 2))


def _tabulated(heads: list[str], rows: list[list[str]]) -> Table:
    """Return a table; where it is too wide for all that, names are folded."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column(Text(heads[0]), overflow="fold")
    for head in heads[1:-1]:
        drawn = head == DISTRIBUTION
        side, width = ("left", 12) if drawn else ("right", None)
        table.add_column(head, justify=side, no_wrap=True, width=width)  # type: ignore[arg-type]
    table.add_column(heads[-1], no_wrap=True, style="dim")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _fits(rows: list[list[str]], style: Style) -> bool:
    """Tell whether rows have room in one line each, as they are spelt."""
    room = max(NARROW, min(style.width, WIDE)) - 2 * (len(rows[0]) - 1)
    columns = zip(*rows, strict=True)
    widths = [max(len(spelt(cell, style.encoding)) for cell in c) for c in columns]
    return sum(widths) <= room


def _listed(report: Report, name: str, style: Style) -> list[str]:
    """Return the quantities of a divergence that are shown."""
    order = reading.quantity_order(report, report.divergences[name])
    return [one for one in order if style.verbose or not is_minor(one)]


def _counts(report: Report, name: str, style: Style) -> Iterator[RenderableType]:
    """Yield which rows of the table are not of all inputs, or not of finite values."""
    lines = reading.counts(report, name, _listed(report, name, style))
    shown = lines if style.verbose else lines[:SHOWN_COUNTS]
    for line in shown:
        yield Padding(Text(printable(line), "dim"), (0, 0, 0, 2))
    if len(lines) > len(shown):
        yield Padding(Text(f"and {len(lines) - len(shown)} more (-v)", "dim"), (0, 2))


def _two_sided(report: Report, name: str, style: Style) -> Iterator[RenderableType]:
    """Yield the two-sided table of a divergence; ±v on request only."""
    rows = sides.rows(report.divergences[name])
    if not rows:
        return
    kept = [k for k in range(len(sides.HEADINGS)) if style.verbose or k != 2]
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for k in kept:
        table.add_column(Text(sides.HEADINGS[k]), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(row[k])) for k in kept))
    yield Text()
    yield Text(printable(sides.title(report, name)), "bold")
    yield table
    for line in sides.reasons(report.divergences[name]):
        yield Padding(Text(printable(line), "dim"), (0, 0, 0, 2))


def is_minor(quantity: str) -> bool:
    """Tell whether a quantity is shown on request only."""
    return is_detail(quantity) or quantity in SECONDARY


def _row(quantity: str, summary: Summary, columns: Sequence[str]) -> list[str]:
    cells = [
        sparkline(summary.histogram)
        if column == DISTRIBUTION
        else number(getattr(summary, column))
        for column in columns
    ]
    unit = "" if summary.unit == "directions" else summary.unit
    return [printable(cell) for cell in (quantity, *cells, unit)]


def _why(report: Report) -> list[str]:
    chains = ((name, reading.decomposition(report, name)) for name in report.ranked)
    lines = [f"{name}: {chain}" for name, chain in chains if chain]
    compared = reading.comparison(report)
    return [*lines, compared] if compared else lines


def _worst(report: Report) -> RenderableType:
    name = report.ranked[0]
    label = next(iter(report.attacks), "gaussian")
    exact = CRITICAL in report.divergences[name].summary
    quantities = ("eigenvalue", CRITICAL if exact else "radius", label)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    titles = [CRITICAL_SHORT if one == CRITICAL else one for one in quantities]
    for title in ("worst inputs", *titles):
        wide = min(len(title), NAME_WIDTH)
        table.add_column(Text(title), justify="right", no_wrap=True, min_width=wide)
    table.add_column(Text(f"worst direction of {printable(name)}"), overflow="fold")
    for worst in report.worst[:SHOWN_WORST]:
        values = worst.values.get(name, {})
        others = (number(values.get(quantity)) for quantity in quantities[1:])
        cells = [f"{worst.index}", reading.with_bracket(values, quantities[0]), *others]
        table.add_row(*map(Text, cells), Text(direction(report, worst, name)))
    return table


def direction(report: Report, worst: WorstInput, name: str, wanted: int = 3) -> str:
    """Return the largest entries of the worst direction, as "[2] -0.91  [0] +0.3"."""
    found = worst.directions.get(name)
    if not found:
        return NOTHING
    largest = features.largest(report.data, found[0], wanted)
    return "  ".join(f"{label} {value:+.2f}" for label, value in largest)


def _under_attack(report: Report) -> Iterator[RenderableType]:
    """Yield the table of the data's θ under attack, if it was asked for."""
    found = report.under_attack
    if found is None:
        return
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for title in attacked.header(found):
        justify: Literal["left", "right"] = "left" if title == "attack" else "right"
        table.add_column(Text(title), justify=justify, no_wrap=True)
    for row in attacked.rows(found):
        table.add_row(*(Text(printable(cell)) for cell in row))
    yield Text()
    yield Text("Under attack, with the data's θ", "bold")
    yield Padding(table, (0, 0, 0, 2))
    for line in (attacked.caption(found), *found.notes):
        yield Padding(Text(printable(line), "dim"), (0, 0, 0, 2))


def _skipped(report: Report) -> list[str]:
    by_reason: dict[str, list[int]] = {}
    for skipped in report.skipped:
        by_reason.setdefault(skipped.reason, []).append(skipped.index)
    lines = [
        f"{count(len(indices), 'input')} ({', '.join(map(str, indices[:5]))}"
        f"{', …' if len(indices) > 5 else ''}): {reason}"
        for reason, indices in by_reason.items()
    ]
    more = [f"and {len(lines) - 5} more reasons"] if len(lines) > 5 else []
    return [*lines[:5], *more]


def _section(title: str, lines: list[str]) -> Iterator[RenderableType]:
    if lines:
        yield Text()
        yield Text(title, "bold")
        for line in lines:
            yield Padding(Text(printable(line)), (0, 0, 0, 2))


def _check(check: Check) -> RenderableType:
    sign, colour = STATUS[verdicts.outcome(check)]
    told = ("borderline", "unmeasured", "undecided")
    words = f" {check.status}" if check.status in told else ""
    return Text(f"{sign}{words} {printable(verdicts.check_line(check))}", colour)
