"""Metrics of `dvc metrics`: the numbers of the table alone, by the keys of limits.

`-o report.metrics.json`, a small document of nested objects, as DVC reads it
(https://dvc.org/doc/command-reference/metrics): the verdict, the exit code, and of each
quantity that the table shows the statistics that it shows. A number that was not
measured is left out; an infinite one is the text "Infinity", which JSON has no number
for.
"""

from __future__ import annotations

from typing import Any

from audit.formats.table import is_minor
from audit.reports.json import finite, indented
from audit.reports.quantities import SHOWN
from audit.reports.report import Report
from audit.reports.summaries import Divergence


def render(report: Report) -> str:
    """Return the metrics as JSON: nested objects, sorted keys, a final newline."""
    found: dict[str, Any] = {
        name: _of(divergence) for name, divergence in report.divergences.items()
    }
    found |= {"verdict": report.verdict, "exit_code": report.exit_code}
    found["inputs"] = {
        "audited": report.data.n_audited,
        "skipped": report.data.n_skipped,
    }
    return indented(finite(found), allow_nan=False)


def _of(divergence: Divergence) -> dict[str, dict[str, float]]:
    """Return quantity -> statistic -> number of what the table shows."""
    every = {
        quantity: {
            statistic: value
            for statistic in SHOWN
            if (value := getattr(summary, statistic)) is not None
        }
        for quantity, summary in divergence.summary.items()
        if not is_minor(quantity)
    }
    return {quantity: values for quantity, values in every.items() if values}
