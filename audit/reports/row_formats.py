"""The formats of a rows file: npz, CSV of the scalars, and Parquet."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from audit.ground.errors import ConfigError
from audit.ground.storage.npz import archive_in, member_of
from audit.ground.storage.npz import pack as pack
from audit.reports.columns import REASON, Column, Sentences

ROWS_AT_ONCE = 4096
Writer = Callable[[IO[bytes], Mapping[str, Column], Sentences], None]
REASONS = "reasons"
"""The member of an npz that holds the sentences of its columns of reasons."""


def writer_of(path: str) -> Writer:
    """Return what writes the file that a name asks for.

    Raises:
        ConfigError: the extension is unknown, or needs a package that is missing.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        return _parquet_writer()
    if suffix in (".npz", ".csv"):
        return {".npz": _write_npz, ".csv": _write_csv}[suffix]
    raise ConfigError(
        f"Rows cannot be written to '{path}'",
        "Expected a file that ends with .npz, .parquet or .csv",
        "Rename it",
    )


def _write_npz(file: IO[bytes], columns: Mapping[str, Column], said: Sentences) -> None:
    """Write stored members, so that numpy and `audit.inputs` can map them."""
    with archive_in(file) as archive:
        for name, column in columns.items():
            with member_of(archive, name) as member:
                member.write(_npy_header(column))
                if name.endswith(REASON):
                    for start, stop in _spans(columns):
                        member.write(said.filed(column.read(start, stop)).tobytes())
                    continue
                with column.path.open("rb") as rows:
                    shutil.copyfileobj(rows, member, 1 << 20)
        if any(name.endswith(REASON) for name in columns):
            with member_of(archive, REASONS) as member:
                npy.write_array(member, np.array(said.table), allow_pickle=False)


def _npy_header(column: Column) -> bytes:
    buffer = io.BytesIO()
    header = {
        "descr": npy.dtype_to_descr(column.dtype),
        "fortran_order": False,
        "shape": (column.n, *column.shape),
    }
    npy.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def _write_csv(file: IO[bytes], columns: Mapping[str, Column], said: Sentences) -> None:
    """Write the scalar columns; a cell that was not measured is empty."""
    scalars = {name: column for name, column in columns.items() if not column.shape}
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(scalars)
    for start, stop in _spans(scalars):
        parts = [_cells(name, one, start, stop, said) for name, one in scalars.items()]
        for row in zip(*parts, strict=True):
            writer.writerow("" if cell != cell else cell for cell in row)
    text.detach()  # flushes, and leaves the file to its owner


def _cells(
    name: str, column: Column, start: int, stop: int, said: Sentences
) -> list[Any]:
    """Return some rows of a scalar column: numbers, or sentences."""
    rows = column.read(start, stop)
    if name.endswith(REASON):
        rows = np.array(said.table)[said.filed(rows)]
    return list(rows.tolist())


def _spans(columns: Mapping[str, Column]) -> Iterator[tuple[int, int]]:
    n = next(iter(columns.values())).n if columns else 0
    for start in range(0, n, ROWS_AT_ONCE):
        yield start, min(start + ROWS_AT_ONCE, n)


def no_parquet() -> ConfigError:
    """Return the error where Parquet is asked for, and pyarrow is not installed."""
    return ConfigError(
        "Parquet needs pyarrow, which is not installed",
        "Expected a file that can be read and written here",
        "Run pip install 'robaudit[parquet]', or write .npz",
    )


def _parquet_writer() -> Writer:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise no_parquet() from None

    def write(file: IO[bytes], columns: Mapping[str, Column], said: Sentences) -> None:
        kinds = {
            name: arrow.string() if name.endswith(REASON) else _arrow_type(arrow, one)
            for name, one in columns.items()
        }
        schema = arrow.schema(
            [
                arrow.field(name, kinds[name], metadata=_shape(column))
                for name, column in columns.items()
            ]
        )
        with parquet.ParquetWriter(file, schema) as writer:
            for start, stop in _spans(columns):
                arrays = [
                    arrow.array(_cells(name, column, start, stop, said))
                    if name.endswith(REASON)
                    else _arrow_array(arrow, column, start, stop)
                    for name, column in columns.items()
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
