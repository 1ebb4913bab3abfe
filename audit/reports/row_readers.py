"""Rows files read back, one scalar column at a time: npz, Parquet and CSV."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy import float64

from audit.ground.errors import ConfigError, InputError, boundary
from audit.ground.storage.arrays import MEMORY, open_data
from audit.ground.storage.temporary import TemporaryFolder
from audit.reports.columns import REASON, Column
from audit.reports.row_formats import ROWS_AT_ONCE, no_parquet
from audit.reports.rows import PREFIX
from audit.reports.values import Floats

Read = Callable[[str], Floats]
"""Column -> [N]; NaN where it was not measured."""
_WRITTEN = (
    "Expected the one that robaudit scan wrote with -o",
    "Scan again with -o rows.npz",
)


def reader_of(path: str) -> Read:
    """Return what reads the columns of a rows file.

    Raises:
        ConfigError: the extension is unknown, or needs a package that is missing.
        InputError: the file cannot be read.
    """
    suffix = Path(path).suffix.lower()
    readers = {".npz": _npz, ".parquet": _parquet, ".csv": _csv}
    if suffix not in readers:
        raise ConfigError(
            f"'{path}' is no rows file",
            "Expected a file that ends with .npz, .parquet or .csv",
            "Name the one that robaudit scan wrote with -o",
        )
    with _readable(path):
        if not Path(path).is_file():
            raise InputError(f"There is no rows file '{path}'", *_WRITTEN)
        found = readers[suffix](path)

    def read(name: str) -> Floats:
        with _readable(path):
            return found(name)

    return read


def _readable(path: str) -> AbstractContextManager[None]:
    """Return the boundary of what reads a rows file."""
    return boundary(f"The rows file '{path}' cannot be read", *_WRITTEN, InputError)


def _npz(path: str) -> Read:
    with open_data(path):
        pass

    def read(name: str) -> Floats:
        with open_data(path) as file:
            if name not in file.keys:
                raise _missing(path, name)
            return np.array(file.load(name, MEMORY), dtype=float64)

    return read


def _parquet(path: str) -> Read:
    try:
        from pyarrow import parquet
    except ImportError:
        raise no_parquet() from None
    file = parquet.ParquetFile(path)

    def read(name: str) -> Floats:
        if name not in file.schema_arrow.names:
            raise _missing(path, name)
        column = file.read(columns=[name]).column(0)
        return np.array(column.to_numpy(), dtype=float64)

    return read


def _csv(path: str) -> Read:
    """Spill the columns to plain files in one pass: a text has no other order."""
    folder = TemporaryFolder(Path(tempfile.gettempdir()), PREFIX)
    try:
        with ExitStack() as stack:
            file = stack.enter_context(Path(path).open(encoding="utf-8", newline=""))
            columns = _spill(file, folder.path, stack)
    except Exception:
        folder.remove()
        raise

    def read(name: str) -> Floats:
        if name not in columns or not folder.remove.alive:
            raise _missing(path, name)
        return columns[name].read(0, columns[name].n)

    return read


def _spill(file: IO[str], folder: Path, stack: ExitStack) -> dict[str, Column]:
    """Write each column of numbers of a CSV to a file of its own; "" is NaN."""
    lines = csv.reader(file)
    header = next(lines, [])
    numbers = [place for place, n in enumerate(header) if not n.endswith(REASON)]
    columns = {}
    for place in numbers:
        target = folder / f"{place}.bin"
        opened = stack.enter_context(target.open("wb"))
        columns[header[place]] = Column(target, opened, np.dtype(float64), ())
    while rows := list(islice(lines, ROWS_AT_ONCE)):
        if any(len(row) != len(header) for row in rows):
            raise ValueError("a row has too few or too many cells")
        for place in numbers:
            cells = [row[place] or "nan" for row in rows]
            columns[header[place]].append(np.array(cells, dtype=float64))
    return columns


def _missing(path: str, name: str) -> InputError:
    return InputError(f"The rows file '{path}' has no column '{name}'", *_WRITTEN)
