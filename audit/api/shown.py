"""A report in one line, and as the output of a notebook's cell."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from audit.formats.reading import headline, quantity_order
from audit.formats.table import is_minor
from audit.reports.quantities import SHOWN
from audit.reports.report import Report
from audit.reports.text import number


def line(report: Report) -> str:
    """Return the verdict and the headline."""
    return f"verdict {report.verdict}: {headline(report)}"


def html(report: Report) -> str:
    """Return the verdict, the headline and the main quantities as a small table."""
    said = escape(headline(report))
    head = "".join(f"<th>{name}</th>" for name in ("", *SHOWN, "unit"))
    body = "".join(f"<tr>{cells}</tr>" for cells in _rows(report))
    verdict = escape(report.verdict)
    return (
        f"<p><b>verdict {verdict}</b></p><p>{said}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _rows(report: Report) -> Iterator[str]:
    for name in report.ranked:
        divergence = report.divergences[name]
        for quantity in quantity_order(report, divergence):
            if is_minor(quantity):
                continue
            summary = divergence.summary[quantity]
            numbers = [number(getattr(summary, one)) for one in SHOWN]
            cells = [f"{name}.{quantity}", *numbers, summary.unit]
            yield "".join(f"<td>{escape(cell)}</td>" for cell in cells)
