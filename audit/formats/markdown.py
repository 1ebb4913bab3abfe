"""Markdown: the report as a step summary of a CI run (GitHub takes 1 MiB, we 64 KB)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from audit.formats.table import direction, is_minor
from audit.ground.printable import printable
from audit.reports.doubts import CRITICAL
from audit.reports.judged import Check
from audit.reports.quantities import SHOWN
from audit.reports.report import Report
from audit.reports.text import NOTHING, count, number

LIMIT = 64_000
"""Bytes; what is longer is cut at a line and says so."""
SIGNS = {
    "pass": "✅",
    "fail": "❌",
    "borderline": "⚠️",
    "warn": "⚠️",
    "unmeasured": "❔",
    "undecided": "❔",
}
_WORST = ("eigenvalue", "radius", CRITICAL)
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"})


def render(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown, below 64 KB."""
    text = "\n".join(_lines(report)) + "\n"
    raw = text.encode()
    if len(raw) <= LIMIT:
        return text
    cut = raw[: LIMIT - 100].decode(errors="ignore").rpartition("\n")[0]
    return cut + "\n\n*Cut at 64 KB; the JSON report has it all.*\n"


def escape(text: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return printable(text).translate(_SPECIAL)


def _lines(report: Report) -> Iterator[str]:
    model = report.model
    path = model.files[0].path if model.files else "model"
    yield f"## robaudit: {escape(path)}"
    yield from ("", f"**{escape(verdicts.verdict_line(report))}**", "")
    yield from (escape(reading.headline(report)), "")
    if report.checks:
        yield from _table(
            ("", "limit", "what became of it", "beyond it", "set by"),
            [_check(check) for check in report.checks],
        )
    for name in report.ranked:
        divergence = report.divergences[name]
        yield from ("", f"### {escape(name)}", "")
        yield from _table(
            ("quantity", "p05", "median", "mean", "p95", "max", "unit"),
            [
                (f"`{quantity}`", *map(number, values), escape(summary.unit))
                for quantity in reading.quantity_order(report, divergence)
                if not is_minor(quantity)
                and (summary := divergence.summary[quantity])
                and (values := [getattr(summary, name) for name in SHOWN])
            ],
        )
        shown = [q for q in divergence.summary if not is_minor(q)]
        lines = reading.counts(report, name, shown)
        yield from ("", *(f"- {escape(line)}" for line in lines))
        if divergence.two_sided:
            yield from ("", f"{escape(sides.title(report, name))}.", "")
            cells = [tuple(map(escape, row)) for row in sides.rows(divergence)]
            yield from _table(sides.HEADINGS, cells)
            said = sides.notes(report, name)
            yield from ("", *(f"- {escape(line)}" for line in said))
    yield from _details(report)


def _check(check: Check) -> tuple[str, ...]:
    beyond = NOTHING if check.n_offending is None else count(check.n_offending, "input")
    if check.offenders:
        beyond += f" ({', '.join(map(str, check.offenders[:5]))})"
    return (
        SIGNS[verdicts.outcome(check)],
        f"`{printable(check.key)}` {check.op} {number(check.limit)}",
        escape(verdicts.check_line(check)),
        beyond,
        escape(verdicts.set_by(check)),
    )


def _details(report: Report) -> Iterator[str]:
    name = report.ranked[0] if report.ranked else ""
    if report.worst:
        yield from ("", f"### Worst inputs by {escape(name)}", "")
        yield from _table(
            ("input", "eigenvalue", "radius", CRITICAL, "worst direction"),
            [
                (
                    str(worst.index),
                    *(number(worst.values.get(name, {}).get(q)) for q in _WORST),
                    escape(direction(report, worst, name)),
                )
                for worst in report.worst
            ],
        )
        moves = classes.sentences(report, len(report.worst))
        yield from ("", *(f"- {escape(line)}" for line in moves)) if moves else ()
    if report.under_attack is not None:
        found = report.under_attack
        yield from ("", "### Under attack, with the data's θ", "")
        cells = [[escape(cell) for cell in row] for row in attacked.rows(found)]
        yield from _table(attacked.header(found), cells)
        said = (attacked.caption(found), *found.notes)
        yield from ("", *(f"- {escape(line)}" for line in said))
    chains = [trace_bounds.decomposition(report, name) for name in report.ranked]
    moved = [features.sentence(report, name) for name in report.ranked]
    for title, lines in (
        ("Why", [*filter(None, [*moved, *chains, trace_bounds.comparison(report)])]),
        ("Predicted and realised", evidence.verification(report)),
        ("What moved", attacked.sentences(report)),
        ("Estimated", evidence.estimation(report)),
        ("Skipped", [f"{s.index}: {s.reason}" for s in report.skipped[:20]]),
        ("Warnings", [warning.message for warning in report.warnings]),
    ):
        if lines:
            yield from ("", f"### {title}", "")
            yield from (f"- {escape(line)}" for line in lines)
    yield from ("", f"Fingerprint `{report.fingerprint[:16]}`")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
