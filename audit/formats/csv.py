"""CSV of a report: one line for each listed input, one column for each scalar."""

from __future__ import annotations

import csv
import io

from audit.ground.errors import ConfigError
from audit.reports.columns import REASON
from audit.reports.listed import Outcomes
from audit.reports.report import Report


def render(report: Report) -> str:
    """Return the inputs of a report as CSV; a cell that was not measured is empty.

    Why it is empty stands beside it, but for inputs that were not to be checked.

    Raises:
        ConfigError: the report does not list its inputs (more than 10,000).
    """
    if report.inputs is None:
        raise ConfigError(
            f"The report lists none of its {report.data.n_audited} inputs",
            "A report lists up to 10,000 inputs",
            "Scan again with -o rows.csv or rows.npz",
        )
    index = report.inputs.index
    columns: dict[str, list[float | str | None]] = {"index": [*index]}
    for divergence, quantities in report.inputs.columns.items():
        outcomes = report.inputs.outcomes.get(divergence, Outcomes())
        for name, values in quantities.items():
            columns[f"{divergence}.{name}"] = [*values]
            said = outcomes.not_measured.get(name)
            if said:
                why = {row: text for text, rows in said.items() for row in rows}
                columns[f"{divergence}.{name}{REASON}"] = [
                    why.get(row, "") for row in index
                ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
