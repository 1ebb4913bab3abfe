"""Columns of very many inputs on the disk while a scan runs, mapped when it is over.

Each column is one plain file of records: the number, whether the form is at rest, and
what explains it. They lie in the folder of temporary files (`TMPDIR`), and are removed
with the process, however it ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from audit.ground import watch
from audit.ground.errors import InputError
from audit.ground.storage.temporary import TemporaryFolder
from audit.reports.columns import Array, Column, Sentences
from audit.reports.values import Values

PREFIX = ".robaudit-columns-"
RECORD = np.dtype([("numbers", "f8"), ("why", "u2"), ("rest", "?")])


class Spill:
    """Columns that grow on the disk; a context manager, which removes them.

    Raises:
        InputError: there is no folder to write to.
    """

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        try:
            self._temporary = TemporaryFolder(parent, PREFIX)
        except OSError as error:
            raise _full(parent, error) from None
        self._folder = self._temporary.path
        watch.tell(temporary=str(self._folder))
        self._columns: dict[str, Column] = {}
        self._said = Sentences()
        self._open_files = ExitStack()

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, *failure: object) -> None:
        self._open_files.close()
        self._temporary.remove()

    def append(self, rows: Mapping[str, Array | Values]) -> None:
        """Add rows of some columns: name -> [n, ...].

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        try:
            for name, column in rows.items():
                plain = self._record(column) if isinstance(column, Values) else column
                if name not in self._columns:
                    self._columns[name] = self._new(plain)
                self._columns[name].append(plain)
        except OSError as error:
            raise _full(self._folder.parent, error) from None

    def values(self, name: str) -> Values:
        """Return a column of values, mapped."""
        records = self.array(name)
        numbers, rest, why = (records[field] for field in ("numbers", "rest", "why"))
        return Values(numbers, rest, why, tuple(self._said.places))

    def array(self, name: str) -> Array:
        """Return a column [N, ...], mapped.

        Raises:
            InputError: the disk is full.
        """
        column = self._columns[name]
        try:
            column.file.flush()
        except OSError as error:
            raise _full(self._folder.parent, error) from None
        return np.memmap(column.path, column.dtype, "r", 0, (column.n, *column.shape))

    def _record(self, values: Values) -> Array:
        records = np.empty(len(values), RECORD)
        records["numbers"], records["rest"] = values.numbers, values.rest
        records["why"] = self._said.codes(values)
        return records

    def _new(self, rows: Array) -> Column:
        path = self._folder / f"{len(self._columns)}.bin"
        file = self._open_files.enter_context(path.open("wb"))
        return Column(path, file, rows.dtype, rows.shape[1:])


def _full(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"The columns of the scan cannot be kept in '{folder}': "
        f"{error.strerror or error}",
        "Expected room for about a thousand bytes an input while a scan of more than "
        "10,000 inputs runs",
        "Free some space, or set TMPDIR to a folder on a larger disk; with --run-dir "
        "finished parts are kept, and --resume goes on with them",
    )
