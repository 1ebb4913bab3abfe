"""Tables of columns: Parquet, and Arrow's own formats, of files (Feather) and streams.

A column of lists of one length is an array [N, length]. The index that pandas stores
beside the columns is none of them, but for who asks for it by its name.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import numpy as np

from audit.ground.documents import Unreadable, read_json
from audit.ground.errors import InputError
from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Table
from audit.inputs.reading import broken, needs, whole

_FILED = b"ARROW1"  # how a file begins; the datasets library keeps streams
_INDEX = re.compile(r"__index_level_\d+__")


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

    def read(source: Any) -> Any:  # noqa: ANN401
        filed = source.read(len(_FILED)) == _FILED
        source.seek(0)
        found = arrow.ipc.open_file if filed else arrow.ipc.open_stream
        return found(source).read_all()

    return _table(path, memory, "Arrow file", read)


def _holds_lists(kind: Any) -> bool:  # noqa: ANN401
    import pyarrow.types as kinds

    tests = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _lists(path: str, name: str, lists: Any) -> Array:  # noqa: ANN401
    """Return lists (of lists) as one array."""
    import pyarrow.compute

    shape = [len(lists)]
    while _holds_lists(lists.type):
        lengths = pyarrow.compute.list_value_length(lists).unique().to_pylist()
        if len(lengths) > 1 or None in lengths:
            raise InputError(
                f"In '{path}', the column '{name}' holds lists of different lengths, "
                "or none in some rows",
                "Expected one length: each is the input of a model",
                "Pad or cut them as the model's own pipeline does",
            )
        shape += lengths or [0]
        lists = lists.flatten()
    return _flat(lists.to_numpy(zero_copy_only=False)).reshape(shape)


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
    columns = {
        name: _numbers(path, name, column)
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not _INDEX.fullmatch(name)
    }
    return Table(path, columns, sha256, _index(table))


def _index(table: Any) -> list[str]:  # noqa: ANN401
    """Return the columns that pandas wrote as the index, by what it says beside."""
    said = (table.schema.metadata or {}).get(b"pandas", b"{}")
    try:
        names = read_json(said)["index_columns"]
    except (Unreadable, LookupError, TypeError):  # it is no word of pandas
        return []
    return [n for n in names if isinstance(n, str)] if isinstance(names, list) else []


def _numbers(path: str, name: str, column: Any) -> Array:  # noqa: ANN401
    """Return a column as NumPy has it; a missing number is NaN, texts are texts."""
    import pyarrow.types as kinds

    if kinds.is_boolean(column.type) and column.null_count:
        column = column.cast("int8")

    if _holds_lists(column.type):
        return _lists(path, name, column.combine_chunks())
    if kinds.is_decimal(column.type):
        column = column.cast("float64")
    return _flat(column.to_numpy())


def _flat(values: Array) -> Array:
    """Return numbers as they are, and anything else as texts, None where it is missing.

    A missing text is no text, not one that says so.
    """
    if values.dtype.kind != "O":
        return np.asarray(values)
    texts = [None if value is None else str(value) for value in values.tolist()]
    return np.array(texts, dtype=object if None in texts else str)
