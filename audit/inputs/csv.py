"""Tables as text: `.csv` (or `.tsv`), the first line the names of the columns."""

from __future__ import annotations

import csv
import io

import numpy as np

from audit.ground.errors import InputError
from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Table
from audit.inputs.reading import broken, whole

_MISSING = ("", "na", "nan", "null", "none")


def open_csv(path: str, memory: int = MEMORY) -> Table:
    """Read a table.

    Raises:
        InputError: it is no table: no text, or lines of different lengths.
        ConfigError: it takes more than `memory`.
    """
    data, sha256 = whole(path, memory)
    try:
        text = data.decode("utf-8-sig")
        dialect = "excel-tab" if path.lower().endswith(".tsv") else "excel"
        lines = [row for row in csv.reader(io.StringIO(text), dialect) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise broken(path, "CSV file", error) from None
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    _check(path, header, rows)
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return Table(
        path,
        {name: _column(cells) for name, cells in zip(header, columns, strict=True)},
        sha256,
    )


def _check(path: str, header: list[str], rows: list[list[str]]) -> None:
    if len(set(header)) < len(header) or not all(header):
        raise InputError(
            f"The first line of '{path}' has a name twice, or an empty one",
            "Expected a name for each column",
            "Give every column a name of its own",
        )
    if all(_number(name) is not None for name in header):
        raise InputError(
            f"The first line of '{path}' holds numbers",
            "Expected the names of the columns",
            "Write a line of names above the numbers",
        )
    for place, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(
                f"Line {place} of '{path}' has {len(row)} cells",
                f"The first line names {len(header)} columns",
                "Write the file again, with quotes around cells that hold commas",
            )


def _column(cells: tuple[str, ...] | list[str]) -> Array:
    """Return numbers, an empty cell as NaN; or the texts, where one is no number."""
    numbers = [_number(cell) for cell in cells]
    if any(number is None for number in numbers):
        return np.array(cells, dtype=str)
    values = np.array(numbers, dtype=np.float64)
    whole_numbers = all(cell.strip().lstrip("+-").isdigit() for cell in cells)
    small = whole_numbers and bool((np.abs(values) < 2**53).all())
    return values.astype(np.int64) if small and len(values) else values


def _number(cell: str) -> float | None:
    text = cell.strip().lower()
    if text in _MISSING:
        return float("nan")
    if "_" in text:  # Python reads 1_0 as ten, and nobody else does
        return None
    try:
        return float(text)
    except ValueError:
        return None
