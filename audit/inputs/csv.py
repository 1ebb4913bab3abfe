"""Tables as text: `.csv` (or `.tsv`), the first line the names of the columns.

What programs write is read as they write it: UTF-8, or UTF-16 with its mark; commas,
semicolons or tabs between cells; NumPy's `#` before the names; True and False. What
could mean two things is refused: a comma inside a number (`Table` says so), and a first
line of numbers.
"""

from __future__ import annotations

import csv
import io
import re

import numpy as np

from audit.ground.errors import InputError
from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Table
from audit.inputs.reading import broken, whole

_MISSING = ("", "na", "nan", "null", "none")
_QUOTED = re.compile(r'"[^"]*"')
_TRUTH = {"true": 1.0, "false": 0.0}
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # the marks of UTF-16


def open_csv(path: str, memory: int = MEMORY) -> Table:
    """Read a table.

    Raises:
        InputError: it is no table: no text, or lines of different lengths.
        ConfigError: it takes more than `memory`.
    """
    return table_of(path, *whole(path, memory))


def table_of(path: str, data: bytes, sha256: str) -> Table:
    """Return the table that a text is; its name tells tabs from commas.

    Raises:
        InputError: as `open_csv`.
    """
    lines = _lines(path, _text(path, data))
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    _check(path, header, rows)
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return Table(
        path,
        {name: _column(cells) for name, cells in zip(header, columns, strict=True)},
        sha256,
    )


def _text(path: str, data: bytes) -> str:
    """Return the text, with one character for the end of a line."""
    try:
        text = data.decode("utf-16" if data.startswith(_WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"The data file '{path}' is no text in UTF-8 ({error.reason} at byte "
            f"{error.start})",
            "Expected UTF-8, or UTF-16 with its mark",
            "Save it again as UTF-8 (Excel: 'CSV UTF-8'; pandas: to_csv as it is)",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(path: str, text: str) -> list[list[str]]:
    """Return the cells of each line that has some, the names first."""
    try:
        rows = csv.reader(io.StringIO(text), delimiter=_delimiter(path, text))
        lines = [row for row in rows if row]
    except csv.Error as error:
        raise broken(path, "CSV file", error) from None
    if not any(cell.strip() for row in lines for cell in row):
        raise broken(path, "CSV file", ValueError("it is blank"))
    while len(lines) > 1 and _is_comment(lines[0], lines[1]):
        del lines[0]
    lines[0][0] = lines[0][0].lstrip("# ")
    return lines


def _delimiter(path: str, text: str) -> str:
    """Return what the first line of names has between them."""
    plain = (line for line in text.split("\n") if line.strip())
    named = [line for line in plain if not line.startswith("#")] or [text]
    usual = "\t" if path.lower().endswith((".tsv", ".tsv.gz")) else ","
    first = _QUOTED.sub("", named[0])
    return next((mark for mark in (usual, "\t", ";", ",") if mark in first), usual)


def _is_comment(line: list[str], following: list[str]) -> bool:
    """Whether a line before the names is a remark, and not NumPy's `# a,b,c`."""
    if not line[0].startswith("#"):
        return False
    return following[0].startswith("#") or len(line) != len(following)


def _check(path: str, header: list[str], rows: list[list[str]]) -> None:
    if all(_number(name) is not None for name in header):
        raise InputError(
            f"The first line of '{path}' holds numbers",
            "Expected the names of the columns",
            "Write a line of names above the numbers",
        )
    if not header[0] and all(header[1:]):
        raise InputError(
            f"The first column of '{path}' has no name, like the index of a pandas "
            "table",
            "Expected columns of the model's inputs, each with a name",
            "Write it without the index (to_csv(..., index=False)), or name the column",
        )
    if len(set(header)) < len(header) or not all(header):
        raise InputError(
            f"The first line of '{path}' has a name twice, or an empty one",
            "Expected a name for each column",
            "Give every column a name of its own",
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
        numbers = [_TRUTH.get(cell.strip().lower()) for cell in cells]
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
