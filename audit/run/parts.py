"""Part files: nested dictionaries of arrays and plain values as an npz, no pickles.

Member "layout" is JSON in bytes: the dictionaries with their order, plain values, and
the number of the member that holds each array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.ground.documents import read_json
from audit.ground.errors import cause
from audit.ground.storage.arrays import DataFile, open_data
from audit.ground.storage.npz import pack
from audit.reports.files import atomic_file

Tree = Mapping[str, Any]
Array = NDArray[Any]
_LAYOUT = "layout"


class Damaged(Exception):
    """A part file is not what was written."""


def write_part(path: Path, tree: Tree) -> None:
    """Write a tree of arrays and plain values, whole or not at all.

    Raises:
        InputError: the folder cannot be written or the disk is full.
    """
    arrays: list[Array] = []
    layout = json.dumps(_pack(tree, arrays), default=_plain).encode()
    named = {str(place): array for place, array in enumerate(arrays)}
    with atomic_file(path) as file:
        pack(file, {_LAYOUT: np.frombuffer(layout, np.uint8), **named})


def read_part(path: Path) -> dict[str, Any]:
    """Return what was written; every byte is held against its checksum.

    Raises:
        FileNotFoundError: there is no such part.
        Damaged: it is truncated, altered or no part at all.
    """
    with path.open("rb"):
        pass  # what is missing or may not be read is not damaged
    try:
        with open_data(str(path)) as file:
            layout = read_json(file.load(_LAYOUT, 0).tobytes())
            tree = _unpack(layout, file)
    except Exception as error:  # whatever a damaged part makes of its readers
        raise Damaged(cause(error)) from None
    if not isinstance(tree, dict):
        raise Damaged("not a part of a run")
    return tree


def _pack(value: object, arrays: list[Array]) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {"map": {str(key): _pack(item, arrays) for key, item in value.items()}}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    return {"plain": value}


def _plain(value: object) -> object:
    """Return a number of numpy as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a part cannot hold {type(value).__name__}")


def _unpack(layout: dict[str, Any], file: DataFile) -> Any:  # noqa: ANN401
    if "map" in layout:
        return {key: _unpack(item, file) for key, item in layout["map"].items()}
    if "array" in layout:
        return np.array(file.load(str(layout["array"]), 0))
    return layout["plain"]
