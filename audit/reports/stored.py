"""The numbers of every input of a saved report: listed in it, or in its rows file.

A report of more than 10,000 inputs lists none; they are in the rows file of the same
scan (`-o rows.npz`), which is read one column at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import float64, int64
from numpy.typing import NDArray

from audit.ground.errors import AuditError, ConfigError, InputError
from audit.reports.files import ROWS
from audit.reports.report import Report
from audit.reports.row_readers import reader_of
from audit.reports.text import count
from audit.reports.values import Floats

Places = NDArray[np.intp]
_CLOSE = 1e-6
"""Relative difference of a number that rounding can make."""


@dataclass(frozen=True)
class Stored:
    """A report and a way to the numbers of its inputs."""

    name: str
    """What to call it: its path."""
    report: Report
    index: NDArray[int64]
    """[N] input indices."""
    column: Callable[[str, str], Floats]
    """(divergence, quantity) -> [N], NaN where it was not measured."""


def stored(name: str, report: Report, rows: str | None = None) -> Stored:
    """Find the numbers of a report's inputs.

    Args:
        name: the report's path.
        report: what it holds.
        rows: the rows file; None to take the numbers in the report, else the file
            that its `run` names, or one with the report's own name beside it.

    Raises:
        ConfigError: there are none, or the rows are those of another scan.
        InputError: the rows file cannot be read.
    """
    if report.inputs is not None and rows is None:
        return Stored(name, report, np.array(report.inputs.index, int64), _of(report))
    path = rows or _beside(name, report)
    read = reader_of(path)
    index = _whole(path, read("index"))
    if len(index) != report.data.n_audited:
        why = f"it has {len(index)} rows, the report {report.data.n_audited} inputs"
        raise _of_another_scan(path, name, why)

    def column(divergence: str, quantity: str) -> Floats:
        values = read(f"{divergence}.{quantity}")
        summary = report.divergences[divergence].summary[quantity]
        there = values[~np.isnan(values)]
        found = [float(end) for end in (there.min(), there.max())] if len(there) else []
        said = [end for end in (summary.min, summary.max) if end is not None]
        if len(there) != summary.n or not np.allclose(found, said, rtol=_CLOSE, atol=0):
            why = f"{divergence}.{quantity} has {_range(found, len(there))} there, "
            why += f"{_range(said, summary.n)} in the report"
            raise _of_another_scan(path, name, why)
        return values

    return Stored(name, report, index, column)


def _whole(path: str, index: Floats) -> NDArray[int64]:
    """Return the indices of a rows file as whole numbers, each of them once."""
    if not (np.abs(index) < 2**53).all() or (index != np.floor(index)).any():
        raise InputError(
            f"The rows file '{path}' has an index that is no whole number",
            "Expected the index of each input",
            "Scan again with -o rows.npz",
        )
    whole = index.astype(int64)
    ordered = np.sort(whole)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise InputError(
            f"The rows file '{path}' has input {twice[0]} more than once",
            "Expected one row for each input",
            "Take the file as it was written, or scan again with -o rows.npz",
        )
    return whole


def listed(name: str, report: Report, rows: str | None = None) -> Stored:
    """Find the numbers of a report's inputs; none where they are nowhere.

    Raises:
        ConfigError, InputError: a rows file that was named is not the report's.
    """
    try:
        return stored(name, report, rows)
    except AuditError:
        if rows is not None:
            raise
        return Stored(name, report, np.zeros(0, int64), _of(report))


def in_memory(report: Report, rows: Mapping[str, NDArray[Any]] | None) -> Stored:
    """Return a report that lies in no file: nothing on the disk is beside it.

    Args:
        report: what it holds.
        rows: columns of its inputs, "index" and "kl.trace"; None: those it lists.
    """
    if rows is None:
        listed_there = report.inputs.index if report.inputs else []
        return Stored("report", report, np.array(listed_there, int64), _of(report))

    def column(divergence: str, quantity: str) -> Floats:
        values: Floats = rows[f"{divergence}.{quantity}"]
        return values

    return Stored("report", report, rows["index"], column)


def _of(report: Report) -> Callable[[str, str], Floats]:
    columns = report.inputs.columns if report.inputs else {}
    return lambda divergence, quantity: np.array(columns[divergence][quantity], float64)


def _range(ends: list[float], n: int) -> str:
    values = count(n, "value")
    return f"{values} from {ends[0]:g} to {ends[1]:g}" if ends else values


def _beside(name: str, report: Report) -> str:
    """Return the rows file of a report, which is where the scan or the user left it."""
    said = [str(path) for path in report.run.get("rows") or ()]
    folder, stem = Path(name).parent, Path(name).with_suffix("")
    tried = [str(folder / Path(path).name) for path in said] + said
    tried += [f"{stem}{suffix}" for suffix in ROWS]
    for path in tried:
        if Path(path).is_file():
            return path
    raise ConfigError(
        f"'{name}' lists none of its {report.data.n_audited} inputs (more than 10,000 "
        "audited), and there is no rows file beside it",
        f"Expected one of {', '.join(tried)}",
        f"Name it as '{name}::ROWS', or scan again with -o rows.npz",
    )


def _of_another_scan(path: str, name: str, why: str) -> ConfigError:
    return ConfigError(
        f"The rows file '{path}' is not of the scan of '{name}': {why}",
        "Expected the rows of the same scan",
        f"Name the one written with it, '{name}::ROWS'",
    )


def in_both(old: Stored, new: Stored) -> tuple[NDArray[int64], Places, Places]:
    """Return the inputs in both reports [n], and their rows in each."""
    index, *places = np.intersect1d(old.index, new.index, True, return_indices=True)
    return index, places[0], places[1]


def stands_for(report: Report, index: NDArray[int64]) -> Floats | None:
    """Return how many inputs each one stands for [n]; None where all were checked."""
    if report.checked is None:
        return None
    pairs = zip(report.checked.index, report.checked.weights, strict=True)
    found = dict(pairs)
    return np.array([found.get(one, 0.0) for one in index.tolist()])
