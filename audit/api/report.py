"""A report in the hands of a Python caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from os import PathLike, fspath
from types import NoneType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from audit import ConfigError
from audit.api.words import in_python
from audit.api.worst import Worst, worst_of
from audit.formats import FORMATS, format_of
from audit.formats.reading import headline, quantity_order
from audit.formats.table import is_minor
from audit.reports.files import ROWS, check_writable, write_text
from audit.reports.gate import find
from audit.reports.quantities import SHOWN
from audit.reports.recorded import RecordedRows
from audit.reports.report import Report as Record
from audit.reports.summaries import Summary
from audit.reports.text import number

Summaries = Mapping[str, Summary]


class Report:
    """The result of a scan or of a check.

    Args:
        record: the report itself, schema 1.1: what `-o report.json` holds.
        recorded: the rows of the scan; None for a report that was read from a file.

    Raises:
        ConfigError: the record is none; `audit.check` opens a saved one.
    """

    def __init__(self, record: Record, recorded: RecordedRows | None = None) -> None:
        if not isinstance(record, Record):
            raise ConfigError(
                f"audit.Report was given {record!r}",
                "Expected the record of a scan, report.record",
                "Open a saved report with audit.check('report.json')",
            )
        self.record, self.recorded = record, recorded

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or `none` where there is no limit, or no verdict to trust."""
        return self.record.verdict

    @property
    def exit_code(self) -> int:
        """What the command line would exit with: 0, 1 (a limit failed), 4 or 5."""
        return self.record.exit_code

    @overload
    def summary(self) -> Mapping[str, Summaries]: ...

    @overload
    def summary(self, divergence: str) -> Summaries: ...

    @overload
    def summary(self, divergence: str | None, quantity: str) -> Summary: ...

    def summary(
        self, divergence: str | None = None, quantity: str | None = None
    ) -> Mapping[str, Summaries] | Summaries | Summary:
        """Return the statistics of one quantity, of a divergence's, or all of them.

        Args:
            divergence: by default all; with a quantity the first one.
            quantity: "trace", "eigenvalue", "critical_radius", an attack's label, ...

        Raises:
            ConfigError: the report has no such number; names the nearest.
        """
        for given in (divergence, quantity):
            if not isinstance(given, (str, NoneType)):
                raise ConfigError(
                    f"summary() was given a {type(given).__name__}",
                    "Expected the names of a divergence and of a quantity",
                    "Call report.summary('kl', 'critical_radius')",
                )
        found = {name: self.record.divergences[name].summary for name in self._names}
        if quantity is not None:
            name = divergence or self._names[0]
            return find(self.record, f"{name}.{quantity}", name, quantity)
        if divergence is None:
            return found
        if divergence not in found:
            find(self.record, divergence, divergence, "")  # names the nearest
        return found[divergence]

    @property
    def _names(self) -> list[str]:
        return self.record.ranked

    @property
    def rows(self) -> Mapping[str, NDArray[Any]]:
        """Every column of every audited input, as in a rows file.

        "index" [N], "kl.trace" [N], "kl.eigenvalues" [N, K], "kl.directions"
        [N, K, *event]; NaN where a value was not measured, and "kl.trace.reason" why. A
        report that was read from a file has the scalars it lists.

        Raises:
            ConfigError: it lists none, and its rows file is not here.
        """
        if self.recorded is not None:
            return self.recorded.arrays
        if self.record.inputs is None:
            raise _no_rows("of this many inputs a saved report lists none")
        columns = {
            f"{name}.{quantity}": np.array(values, np.float64)
            for name, found in self.record.inputs.columns.items()
            for quantity, values in found.items()
        }
        return {"index": np.array(self.record.inputs.index, np.int64), **columns}

    def frame(self) -> Any:  # noqa: ANN401
        """Return the scalars of all inputs as a pandas DataFrame, by input.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError:
            raise ConfigError(
                "frame() needs pandas, which is not installed",
                "Expected it beside robaudit",
                "pip install pandas, or take report.rows, a mapping of arrays",
            ) from None
        scalars = {
            name: column for name, column in self.rows.items() if column.ndim == 1
        }
        return pandas.DataFrame(scalars).set_index("index")

    def worst(self, k: int = 10) -> list[Worst]:
        """Return the k most sensitive inputs, by the first divergence.

        Raises:
            ConfigError: the report was read from a file, which holds no inputs.
        """
        if self.recorded is None:
            raise _no_rows("worst() needs the inputs, which no saved report holds")
        return worst_of(self.record, self.recorded, k)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the report in the format that the name asks for.

        .json .html .md .xml (JUnit) .sarif .txt; .npz .parquet .csv hold the rows.

        Raises:
            ConfigError: the name asks for no format, or cannot be written.
        """
        named = isinstance(path, (str, PathLike))
        if not named or "\0" in str(path):
            given = "name with the character NUL" if named else type(path).__name__
            raise ConfigError(
                f"save() was given a {given}",
                "Expected the name of a file",
                "Call report.save('report.html')",
            )
        target = str(fspath(path))
        with in_python({}):
            rows = target.lower().endswith(ROWS)
            if rows and self.recorded is None and not target.lower().endswith(".csv"):
                raise _no_rows("a saved report holds too few rows to write them")
            check_writable(target)
            if rows and self.recorded is not None:
                self.recorded.write(target)
            else:
                write_text(target, FORMATS[format_of(target, ROWS)](self.record))

    def __repr__(self) -> str:
        return f"<audit.Report {_line(self.record)}>"

    def _repr_html_(self) -> str:
        return _html(self.record)


def _no_rows(why: str) -> ConfigError:
    return ConfigError(
        f"The rows are not here: {why}",
        "Expected the report that audit.scan returned",
        "Scan again, and save the rows: report.save('rows.npz')",
    )


def _line(report: Record) -> str:
    """Return the verdict and the headline."""
    return f"verdict {report.verdict}: {headline(report)}"


def _html(report: Record) -> str:
    """Return the verdict, the headline and the main quantities as a small table."""
    said = escape(headline(report))
    head = "".join(f"<th>{name}</th>" for name in ("", *SHOWN, "unit"))
    body = "".join(f"<tr>{cells}</tr>" for cells in _cells(report))
    verdict = escape(report.verdict)
    return (
        f"<p><b>verdict {verdict}</b></p><p>{said}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cells(report: Record) -> Iterator[str]:
    for name in report.ranked:
        divergence = report.divergences[name]
        for quantity in quantity_order(report, divergence):
            if is_minor(quantity):
                continue
            summary = divergence.summary[quantity]
            numbers = [number(getattr(summary, one)) for one in SHOWN]
            cells = [f"{name}.{quantity}", *numbers, summary.unit]
            yield "".join(f"<td>{escape(cell)}</td>" for cell in cells)
