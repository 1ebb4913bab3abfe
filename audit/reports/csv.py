"""CSV of a report: one line for each listed input, one column for each scalar."""

from __future__ import annotations

import csv
import io

from audit.errors import ConfigError
from audit.reports.report import Report


def render(report: Report) -> str:
    """Return the inputs of a report as CSV; a cell that was not measured is empty.

    Raises:
        ConfigError: the report does not list its inputs (more than 10,000).
    """
    if report.inputs is None:
        raise ConfigError(
            f"The report lists none of its {report.data.n_audited} inputs",
            next_step="Scan again with -o rows.csv or rows.npz",
        )
    columns: dict[str, list[float | None]] = {"index": [*report.inputs.index]}
    for divergence, quantities in report.inputs.columns.items():
        columns |= {f"{divergence}.{name}": vs for name, vs in quantities.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
