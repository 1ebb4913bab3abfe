"""Several reports side by side, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit.formats.table import Style, print_all
from audit.ground.printable import printable
from audit.reports.doubts import CRITICAL
from audit.reports.report import Report
from audit.reports.text import number


def render(reports: Mapping[str, Report], style: Style | None = None) -> str:
    """Return a table of reports, by the first divergence of the first one."""
    return print_all(_parts(reports), style or Style())


def _parts(reports: Mapping[str, Report]) -> Iterator[RenderableType]:
    first = next(iter(reports.values()))
    columns = [(CRITICAL, "p50"), (CRITICAL, "min")]
    columns += [(label, "p95") for label in first.attacks]
    name = first.ranked[0] if first.ranked else "kl"
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column(Text(printable(name)))
    table.add_column("inputs", justify="right", no_wrap=True)
    for quantity, statistic in columns:
        table.add_column(Text(f"{printable(quantity)} {statistic}"), justify="right")
    table.add_column("verdict")
    for title, report in reports.items():
        cells = (_value(report, name, *column) for column in columns)
        verdict = f"{report.verdict}, exit {report.exit_code}"
        row = (printable(title), str(report.data.n_audited), *cells, verdict)
        table.add_row(*map(Text, row))
    yield table


def _value(report: Report, name: str, quantity: str, statistic: str) -> str:
    divergence = report.divergences.get(name)
    summary = divergence.summary.get(quantity) if divergence else None
    return number(getattr(summary, statistic) if summary else None)
