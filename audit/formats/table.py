"""The report on a terminal, and down a pipe: text of any width from 60 columns on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.formats import (
    attacked,
    classes,
    evidence,
    features,
    reading,
    sides,
    trace_bounds,
    verdicts,
)
from audit.formats.answers import answers
from audit.formats.layout import Style, columns_of, laid_out, print_all
from audit.ground.printable import printable
from audit.reports import planned
from audit.reports.doubts import CRITICAL
from audit.reports.formulas import TRUST
from audit.reports.judged import Check
from audit.reports.listed import WorstInput
from audit.reports.quantities import MOVED, SHOWN
from audit.reports.report import Report
from audit.reports.roles import is_detail
from audit.reports.summaries import Divergence, Summary
from audit.reports.text import NOTHING, count, number, shorten, sparkline

DISTRIBUTION = "distribution"
RANKS = {DISTRIBUTION: 3, "mean": 2, "p05": 1}
"""Columns of quantities that may be left out, the highest first."""
ELSEWHERE = "-o report.html, or --width"
"""Where a column is that has no room."""
ALONG = sides.HEADINGS.index("along ±v")
SHOWN_WORST, SHOWN_MOVED = 5, 2
SHOWN_COUNTS = 4
CHAIN = ("model_norm", "map_norm", "jacobian_norm", "von_neumann", "alignment")
CRITICAL_SHORT = "critical"
DIRECTION_WIDTH, NAMES = 16, 12
"""Characters to which the features of a worst direction and names are folded."""
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
        yield from _worst(report, style)
        for said in classes.sentences(report, SHOWN_MOVED):
            yield Padding(Text(printable(said)), (0, 0, 0, 2))
    yield from _section("Predicted and realised", evidence.verification(report))
    yield from _section("What moved", attacked.sentences(report))
    yield from _under_attack(report, style)
    yield from _section("Estimated", evidence.estimation(report))
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
    yield from _answers(report)


def _answers(report: Report) -> Iterator[RenderableType]:
    """Yield what a reader asks first, a line or two each."""
    found = answers(report)
    if not found:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in (max(len(question) for question, _ in found), None):
        table.add_column(width=width, overflow="fold")
    for question, said in found:
        table.add_row(Text(question, "bold"), Text(printable(said)))
    yield Text()
    yield table


def _quantities(
    report: Report, name: str, divergence: Divergence, style: Style
) -> Iterator[RenderableType]:
    """Yield the table of a divergence with the columns that fit, and which do not."""
    shown = (DISTRIBUTION, *SHOWN)
    heads = [name, *shown, "unit"]
    summaries = {q: divergence.summary[q] for q in _listed(report, name, style)}
    rows = [_row(q, found, shown) for q, found in summaries.items()]
    words = {heads.index(head): None for head in (name, DISTRIBUTION, "unit")}
    ranks = {heads.index(head): rank for head, rank in RANKS.items()}
    yield from laid_out(columns_of(heads, rows, words, ranks), style, ELSEWHERE)


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
    kept = [k for k in range(len(sides.HEADINGS)) if style.verbose or k != ALONG]
    heads = [sides.HEADINGS[k] for k in kept]
    ranks = {kept.index(ALONG): 1} if style.verbose else {}
    columns = columns_of(heads, [[row[k] for k in kept] for row in rows], ranks=ranks)
    yield Text()
    yield Text(printable(sides.title(report, name)), "bold")
    yield from laid_out(columns, style, ELSEWHERE)
    for line in sides.notes(report, name):
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
    return [quantity, *cells, unit]


def _why(report: Report) -> list[str]:
    chains = (
        (name, trace_bounds.decomposition(report, name)) for name in report.ranked
    )
    lines = [f"{name}: {chain}" for name, chain in chains if chain]
    compared = trace_bounds.comparison(report)
    return [*lines, compared] if compared else lines


def _worst(report: Report, style: Style) -> Iterator[RenderableType]:
    name = report.ranked[0]
    label = next(iter(report.attacks), "gaussian")
    exact = CRITICAL in report.divergences[name].summary
    quantities = ("eigenvalue", CRITICAL if exact else "radius", label)
    titles = [CRITICAL_SHORT if one == CRITICAL else one for one in quantities]
    heads = ["worst inputs", *titles, f"worst direction of {name}"]
    rows = []
    for worst in report.worst[:SHOWN_WORST]:
        values = worst.values.get(name, {})
        others = (number(values.get(quantity)) for quantity in quantities[1:])
        first = (f"{worst.index}", evidence.with_bracket(values, quantities[0]))
        rows.append([*first, *others, direction(report, worst, name)])
    columns = columns_of(heads, rows, {4: DIRECTION_WIDTH}, {1: 1, 3: 2})
    yield from laid_out(columns, style, ELSEWHERE)


def direction(report: Report, worst: WorstInput, name: str, wanted: int = 3) -> str:
    """Return the largest entries of the worst direction, as "[2] -0.91  [0] +0.3"."""
    found = worst.directions.get(name)
    if not found:
        return NOTHING
    largest = features.largest(report.data, found[0], wanted)
    return "  ".join(f"{label} {value:+.2f}" for label, value in largest)


def _under_attack(report: Report, style: Style) -> Iterator[RenderableType]:
    """Yield the table of the data's θ under attack, if it was asked for."""
    found = report.under_attack
    if found is None:
        return
    heads = attacked.header(found)
    ranks = {k: k for k in range(3, len(heads))}
    columns = columns_of(heads, attacked.rows(found), {0: NAMES}, ranks)
    yield Text()
    yield Text("Under attack, with the data's θ", "bold")
    yield from laid_out(columns, style, ELSEWHERE, margin=2)
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
