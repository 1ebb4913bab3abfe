"""Several reports side by side, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType

from audit.formats.layout import NAMES, Style, columns_of, laid_out, print_all
from audit.reports.doubts import CRITICAL
from audit.reports.report import Report
from audit.reports.text import number

ELSEWHERE = "each report, or --width"


def render(reports: Mapping[str, Report], style: Style | None = None) -> str:
    """Return a table of reports, by the first divergence of the first one."""
    style = style or Style()
    return print_all(_parts(reports, style), style)


def _parts(reports: Mapping[str, Report], style: Style) -> Iterator[RenderableType]:
    first = next(iter(reports.values()))
    columns = [(CRITICAL, "p50"), (CRITICAL, "min")]
    columns += [(label, "p95") for label in first.attacks]
    name = first.ranked[0] if first.ranked else "kl"
    heads = [name, "inputs", *(" ".join(column) for column in columns), "verdict"]
    rows = []
    for title, report in reports.items():
        cells = (_value(report, name, *column) for column in columns)
        verdict = f"{report.verdict}, exit {report.exit_code}"
        rows.append((title, report.data.n_audited, *cells, verdict))
    words = {0: NAMES, len(heads) - 1: None}
    ranks = {k: k for k in range(3, len(heads) - 1)}
    yield from laid_out(columns_of(heads, rows, words, ranks), style, ELSEWHERE)


def _value(report: Report, name: str, quantity: str, statistic: str) -> str:
    divergence = report.divergences.get(name)
    summary = divergence.summary.get(quantity) if divergence else None
    return number(getattr(summary, statistic) if summary else None)
