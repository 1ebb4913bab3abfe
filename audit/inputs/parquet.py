"""Tables of columns: Parquet, and Arrow's own file format (Feather)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Table
from audit.inputs.reading import broken, needs, whole


def open_parquet(path: str, memory: int = MEMORY) -> Table:
    """Read a Parquet file.

    Raises:
        ConfigError: pyarrow is missing, or it takes more than `memory`.
        InputError: it is damaged.
    """
    arrow = needs(path, "parquet", _parquet)
    return _table(path, memory, "Parquet file", arrow.parquet.read_table)


def open_arrow(path: str, memory: int = MEMORY) -> Table:
    """Read an Arrow file.

    Raises:
        ConfigError, InputError: as `open_parquet`.
    """
    arrow = needs(path, "parquet", _parquet)

    def read(source: object) -> Any:  # noqa: ANN401
        return arrow.ipc.open_file(source).read_all()

    return _table(path, memory, "Arrow file", read)


def _parquet() -> ModuleType:
    import pyarrow
    import pyarrow.ipc
    import pyarrow.parquet

    module: ModuleType = pyarrow
    return module


def _table(path: str, memory: int, kind: str, read: Any) -> Table:  # noqa: ANN401
    import pyarrow

    data, sha256 = whole(path, memory)
    try:
        table = read(pyarrow.BufferReader(data))
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise broken(path, kind, error) from None
    columns = zip(table.column_names, table.columns, strict=True)
    return Table(path, {name: _numbers(column) for name, column in columns}, sha256)


def _numbers(column: Any) -> Array:  # noqa: ANN401
    """Return a column as NumPy has it; a missing number is NaN, texts are texts."""
    values = column.to_numpy()
    if values.dtype.kind == "O":
        return np.array([str(value) for value in values.tolist()], dtype=str)
    return np.asarray(values)
