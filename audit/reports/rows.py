"""Rows files: every column of every audited input, written while a scan runs.

Each chunk is appended to one plain file for each column, so memory does not grow with
N; `close` joins them into the files that were asked for, each whole or not at all.
Scalars are [N], `kl.eigenvalues` is [N, K], `kl.directions` is [N, K, *event]. ±∞ are
values; NaN means "not measured". Why stands in `kl.gap.reason`, beside every column
that has something to explain: as text in CSV and Parquet, in an npz as the place of the
sentence in the array `reasons`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from audit.ground.storage.temporary import TemporaryFolder
from audit.reports.columns import REASON, Array, Column, Sentences, split
from audit.reports.files import atomic_file, unwritable
from audit.reports.row_formats import writer_of
from audit.reports.series import Series
from audit.reports.values import Values

PREFIX = ".robaudit-rows-"


class RowsWriter:
    """Writes rows to one or more files, `.npz`, `.parquet` or `.csv`.

    A context manager: leaving it writes the files, leaving it by an exception does not.

    Args:
        paths: the files to write; their folder has to exist.

    Raises:
        ConfigError: parquet is asked for and pyarrow is not installed, or the
            extension is unknown.
        InputError: a file cannot be written.
    """

    def __init__(self, *paths: str) -> None:
        self.paths = paths
        self._writers = {path: writer_of(path) for path in paths}
        self._columns: dict[str, Column] = {}
        self._said = Sentences()
        self._explained: set[str] = set()
        self._closed = False
        self._open_files = ExitStack()
        parent = Path(paths[0]).parent
        try:
            self._temporary = TemporaryFolder(parent, PREFIX)
        except OSError as error:
            raise unwritable(paths[0], error) from None

    @property
    def folder(self) -> Path:
        """Where rows lie while they come: a folder of this process, beside the file."""
        return self._temporary.path

    @property
    def needs_directions(self) -> bool:
        """Whether a file holds more than scalars; CSV does not."""
        return any(not path.lower().endswith(".csv") for path in self._writers)

    def __enter__(self) -> RowsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def append(self, chunk: Mapping[str, Array | Values]) -> None:
        """Add the rows of one chunk: column -> [n, ...], `index` among them.

        Raises:
            ValueError: the columns or their shapes are not those of the first chunk.
        """
        plain = split(chunk, self._said)
        try:
            if not self._columns:
                self._columns = {n: self._column(rows) for n, rows in plain.items()}
            if set(plain) != set(self._columns):
                different = sorted(set(plain) ^ set(self._columns))
                raise ValueError(f"columns differ from the first chunk's: {different}")
            self._write(plain)
        except OSError as error:
            raise unwritable(self.folder.parent, error) from None

    def extend(self, columns: Mapping[str, Array | Series]) -> None:
        """Add columns that are known only when all rows are in, each [N, ...].

        Raises:
            ValueError: a column is there already, or has another number of rows.
            InputError: the disk is full.
        """
        n = next(iter(self._columns.values())).n if self._columns else 0
        for name, column in columns.items():
            if name in self._columns or len(column) != n:
                said = f"{name} has {len(column)} rows, expected {n} new ones"
                raise ValueError(said)
        try:
            for name, column in columns.items():
                self._extend(name, column)
        except OSError as error:
            raise unwritable(self.folder.parent, error) from None

    def _extend(self, name: str, column: Array | Series) -> None:
        for part in [column] if isinstance(column, np.ndarray) else column.parts():
            plain = split({name: part}, self._said)
            for each, rows in plain.items():
                if each not in self._columns:
                    self._columns[each] = self._column(rows)
            self._write(plain)

    def beside(self, name: str, read: Callable[[], Array]) -> None:
        """Offer what belongs to the rows and no file of them holds.

        Args:
            name: "x", the inputs [N, *event], or "unit" [*event], of a perturbation,
                or each input's own [N, *event].
            read: gives it; not called here.
        """

    def _write(self, plain: Mapping[str, Array]) -> None:
        for name, rows in plain.items():
            self._columns[name].append(rows)
            if name.endswith(REASON) and rows.any():
                self._explained.add(name)

    def close(self) -> None:
        """Write the files; a second call does nothing."""
        if self._closed:
            return
        try:
            self._open_files.close()
            kept = {
                name: column
                for name, column in self._columns.items()
                if not name.endswith(REASON) or name in self._explained
            }
            for path, write in self._writers.items():
                with atomic_file(path) as file:
                    write(file, kept, self._said)
        except OSError as error:
            raise unwritable(self.folder.parent, error) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what was appended and write nothing."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._open_files.close()
        self._temporary.remove()

    def _column(self, rows: Array) -> Column:
        path = self.folder / f"{len(list(self.folder.iterdir()))}.bin"
        file = self._open_files.enter_context(path.open("wb"))
        return Column(path, file, rows.dtype.newbyteorder("="), rows.shape[1:])
