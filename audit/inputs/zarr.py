"""Zarr folders: arrays by their path, as in `data.zarr::group/x`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from audit.ground.errors import ConfigError
from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Arrays
from audit.inputs.reading import broken, needs


def open_zarr(path: str, memory: int = MEMORY) -> Arrays:
    """Read every array of numbers.

    Raises:
        ConfigError: zarr is missing, or they take more than `memory`.
        InputError: the folder is damaged.
    """
    zarr = needs(path, "zarr", _zarr)
    try:
        root = zarr.open(path, mode="r")
        found = dict(_arrays(root, "x" if hasattr(root, "dtype") else ""))
    except Exception as error:  # zarr raises whatever a broken folder leads to
        raise broken(path, "Zarr folder", error) from None
    size = sum(int(array.nbytes) for array in found.values())
    if size > memory:
        raise ConfigError(
            f"The arrays of '{path}' take {size / 2**30:.1f} GiB",
            f"--memory allows {memory / 2**30:.1f} GiB",
            "Raise --memory, or save the data with np.savez, which is read in place",
        )
    arrays: dict[str, Array] = {name: np.asarray(a[...]) for name, a in found.items()}
    return Arrays(path, arrays, _digest(Path(path)))


def _arrays(node: Any, path: str) -> list[tuple[str, Any]]:  # noqa: ANN401
    if hasattr(node, "dtype"):
        return [(path, node)] if node.dtype.kind in "biuf" else []
    parts = []
    for name, item in node.members():
        parts += _arrays(item, f"{path}/{name}" if path else name)
    return parts


def _digest(folder: Path) -> str:
    """Return the digest of every file of a folder, with its place in it."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _zarr() -> ModuleType:
    import zarr

    module: ModuleType = zarr
    return module
