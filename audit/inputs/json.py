"""JSON: arrays by name, columns, or records; and one record to the line (`.jsonl`).

    {"x": [[0.1, 2], …], "y": […]}      arrays by name
    {"age": [31, …], "dose": [2, …]}    columns of a table: one number a row in each
    [{"age": 31, "dose": 2}, …]         records: columns of a table too
    [[0.1, 2], …]                       one array, called `x`

null is NaN among numbers. What has another shape is refused: rows of different lengths,
records of different names, objects in objects (pandas' own to_json, without `orient`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from audit.ground.errors import InputError
from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Arrays, Table
from audit.inputs.reading import broken, whole

_LINES = (".jsonl", ".ndjson")


def open_json(path: str, memory: int = MEMORY) -> Arrays:
    """Read arrays or a table.

    Raises:
        InputError: it is damaged, or has another form than the four above.
        ConfigError: it takes more than `memory`.
    """
    data, sha256 = whole(path, memory)
    return arrays_of(path, data, sha256, path.lower().endswith(_LINES))


def arrays_of(path: str, data: bytes, sha256: str, by_line: bool) -> Arrays:
    """Return what a JSON text holds.

    Args:
        path: for messages.
        data: the text in UTF-8.
        sha256: the digest of the file.
        by_line: whether each line is a value of its own.

    Raises:
        InputError: as `open_json`.
    """
    try:
        text = data.decode("utf-8-sig")
        rows = [line for line in text.splitlines() if line.strip()]
        found = [json.loads(row) for row in rows] if by_line else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken(path, "JSON file", error) from None
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return Table(path, _arrays(path, _columns(path, found)), sha256)
    arrays = _arrays(path, found if isinstance(found, dict) else {"x": found})
    flat = isinstance(found, dict) and all(a.ndim == 1 for a in arrays.values())
    return (Table if flat else Arrays)(path, arrays, sha256)


def _columns(path: str, records: list[object]) -> dict[str, list[object]]:
    """Return the values of records by their names."""
    first = records[0]
    assert isinstance(first, dict)
    columns: dict[str, list[object]] = {name: [] for name in first}
    for place, record in enumerate(records):
        if not isinstance(record, dict) or record.keys() != first.keys():
            raise InputError(
                f"Record {place} of '{path}' has other names than record 0",
                f"Expected in each: {', '.join(first)}",
                "Write every value of every record, null where there is none",
            )
        for name, value in record.items():
            columns[name].append(value)
    return columns


def _arrays(path: str, named: Mapping[str, object]) -> dict[str, Array]:
    return {name: _array(path, name, value) for name, value in named.items()}


def _array(path: str, name: str, value: object) -> Array:
    """Return lists in lists as an array of numbers, truth values or texts."""
    try:
        array = np.array(value)
        if array.dtype.kind not in "biufU":
            array = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        array = np.array(None)
    if array.ndim == 0 or array.dtype.kind not in "biufU":
        raise InputError(
            f"In '{path}', '{name}' is no array of numbers",
            "Expected lists of one length in lists, as [[0.1, 2], [3, 4]], or records, "
            'as [{"a": 0.1, "b": 2}]',
            "Write it so (pandas: to_json(path, orient='records')), or save it with "
            "np.savez",
        )
    return array
