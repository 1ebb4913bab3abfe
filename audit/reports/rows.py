"""Rows files: every column of every audited input, written while a scan runs.

Each chunk is appended to one plain file for each column, so memory does not grow with
N; `close` joins them into the files that were asked for, each whole or not at all.
Scalars are [N], `kl.eigenvalues` is [N, K], `kl.directions` is [N, K, *event]. NaN
means "not measured".
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from audit.errors import ConfigError
from audit.reports.files import atomic_file, unwritable

Array = NDArray[Any]
ROWS_AT_ONCE = 4096
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every zip member: equal rows give equal bytes."""


@dataclass
class Column:
    """One column on its way to the disk."""

    path: Path
    file: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """The shape of one row."""
    n: int = 0

    def append(self, rows: Array) -> None:
        """Add rows [n, *shape]."""
        if rows.shape[1:] != self.shape:
            raise ValueError(f"rows of shape {rows.shape[1:]} after {self.shape}")
        self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).tobytes())
        self.n += len(rows)

    def read(self, start: int, stop: int) -> Array:
        """Return some rows."""
        width = math.prod(self.shape)
        flat = np.fromfile(
            self.path,
            self.dtype,
            count=(stop - start) * width,
            offset=start * width * self.dtype.itemsize,
        )
        return flat.reshape(-1, *self.shape)


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
        self._writers = {path: _writer(path) for path in paths}
        self._columns: dict[str, Column] = {}
        self._closed = False
        self._open_files = ExitStack()
        parent = Path(paths[0]).parent
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=".robaudit-rows-", dir=parent))
        except OSError as error:
            raise unwritable(paths[0], error) from None

    def __enter__(self) -> RowsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def append(self, chunk: Mapping[str, Array]) -> None:
        """Add the rows of one chunk: column -> [n, ...], `index` among them.

        Raises:
            ValueError: the columns or their shapes are not those of the first chunk.
        """
        try:
            if not self._columns:
                self._columns = {n: self._column(n, rows) for n, rows in chunk.items()}
            if set(chunk) != set(self._columns):
                different = sorted(set(chunk) ^ set(self._columns))
                raise ValueError(f"columns differ from the first chunk's: {different}")
            for name, rows in chunk.items():
                self._columns[name].append(rows)
        except OSError as error:
            raise unwritable(self._folder.parent, error) from None

    def extend(self, columns: Mapping[str, Array]) -> None:
        """Add columns that are known only when all rows are in, each [N, ...].

        Raises:
            ValueError: a column is there already, or has another number of rows.
        """
        n = next(iter(self._columns.values())).n if self._columns else 0
        for name, rows in columns.items():
            if name in self._columns or len(rows) != n:
                raise ValueError(f"{name} has {len(rows)} rows, expected {n} new ones")
            self._columns[name] = self._column(name, rows)
            self._columns[name].append(rows)

    def close(self) -> None:
        """Write the files; a second call does nothing."""
        if self._closed:
            return
        try:
            self._open_files.close()
            for path, write in self._writers.items():
                with atomic_file(path) as file:
                    write(file, self._columns)
        except OSError as error:
            raise unwritable(self._folder.parent, error) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what was appended and write nothing."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._open_files.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _column(self, name: str, rows: Array) -> Column:
        path = self._folder / f"{len(list(self._folder.iterdir()))}.bin"
        file = self._open_files.enter_context(path.open("wb"))
        return Column(path, file, rows.dtype.newbyteorder("="), rows.shape[1:])


Writer = Callable[[IO[bytes], Mapping[str, Column]], None]


def _writer(path: str) -> Writer:
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        return _parquet_writer()
    if suffix in (".npz", ".csv"):
        return {".npz": _write_npz, ".csv": _write_csv}[suffix]
    raise ConfigError(
        f"Rows cannot be written to '{path}'",
        "Expected a file that ends with .npz, .parquet or .csv",
    )


def _write_npz(file: IO[bytes], columns: Mapping[str, Column]) -> None:
    """Write stored members, so that numpy and `audit.inputs` can map them."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, column in columns.items():
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(info, "w", force_zip64=True) as member:
                member.write(_npy_header(column))
                with column.path.open("rb") as rows:
                    shutil.copyfileobj(rows, member, 1 << 20)


def _npy_header(column: Column) -> bytes:
    buffer = io.BytesIO()
    header = {
        "descr": npy.dtype_to_descr(column.dtype),
        "fortran_order": False,
        "shape": (column.n, *column.shape),
    }
    npy.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def _write_csv(file: IO[bytes], columns: Mapping[str, Column]) -> None:
    """Write the scalar columns; a cell that was not measured is empty."""
    scalars = {name: column for name, column in columns.items() if not column.shape}
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(scalars)
    for start, stop in _spans(scalars):
        parts = [column.read(start, stop).tolist() for column in scalars.values()]
        for row in zip(*parts, strict=True):
            writer.writerow("" if cell != cell else cell for cell in row)
    text.detach()  # flushes, and leaves the file to its owner


def _spans(columns: Mapping[str, Column]) -> Iterator[tuple[int, int]]:
    n = next(iter(columns.values())).n if columns else 0
    for start in range(0, n, ROWS_AT_ONCE):
        yield start, min(start + ROWS_AT_ONCE, n)


def _parquet_writer() -> Writer:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            "Parquet needs pyarrow, which is not installed",
            next_step="pip install 'robaudit[parquet]', or write .npz",
        ) from None

    def write(file: IO[bytes], columns: Mapping[str, Column]) -> None:
        schema = arrow.schema(
            [
                arrow.field(name, _arrow_type(arrow, column), metadata=_shape(column))
                for name, column in columns.items()
            ]
        )
        with parquet.ParquetWriter(file, schema) as writer:
            for start, stop in _spans(columns):
                arrays = [
                    _arrow_array(arrow, column, start, stop)
                    for column in columns.values()
                ]
                writer.write_batch(arrow.record_batch(arrays, schema=schema))

    return write


def _arrow_type(arrow: Any, column: Column) -> Any:  # noqa: ANN401
    """Return a number, or for an array of each row a list of its entries, row-major."""
    kind = arrow.from_numpy_dtype(column.dtype)
    return arrow.list_(kind, math.prod(column.shape)) if column.shape else kind


def _arrow_array(arrow: Any, column: Column, start: int, stop: int) -> Any:  # noqa: ANN401
    values = column.read(start, stop)
    if not column.shape:
        return arrow.array(values)
    flat = arrow.array(values.reshape(-1))
    return arrow.FixedSizeListArray.from_arrays(flat, math.prod(column.shape))


def _shape(column: Column) -> dict[str, str]:
    return {"shape": "x".join(map(str, column.shape))}
