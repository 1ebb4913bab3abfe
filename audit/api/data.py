"""Data in memory as a file that the pipeline opens like any other.

An array becomes one member of an uncompressed `.npz`, a dictionary one for each key.
The file is temporary, mapped and not read into memory, and gone with the call.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import ConfigError
from audit.reports.row_formats import pack


@dataclass(frozen=True)
class DataFile:
    """Where the pipeline finds the data, and what they are called in a report.

    Args:
        path: of the file.
        label: "array (150, 10) float32"; "" for a file of the user's own.
    """

    path: str
    label: str = ""

    @property
    def names(self) -> dict[str, str]:
        """What is to stand in the place of a temporary path."""
        return {self.path: self.label} if self.label else {}


@contextmanager
def data_file(data: object, key: str = "x") -> Iterator[DataFile]:
    """Give data as a file while the block runs.

    Args:
        data: a path, an array, a tensor, a list of numbers, or a dict of these.
        key: of an array that has no name.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(data, (str, PathLike)):
        yield DataFile(str(fspath(data)))
        return
    named = data if isinstance(data, Mapping) else {key: data}
    if not named:
        raise _no_data("an empty dict")
    arrays = {str(name): as_array(value, str(name)) for name, value in named.items()}
    labels = {name: label_of(named[name], arrays[str(name)]) for name in named}
    many = ", ".join(f"{name}: {label}" for name, label in labels.items())
    label = many if isinstance(data, Mapping) else next(iter(labels.values()))
    with tempfile.TemporaryDirectory(
        prefix="robaudit-", ignore_cleanup_errors=True
    ) as folder:
        path = Path(folder) / "data.npz"
        write_arrays(path, arrays)
        yield DataFile(str(path), label)


def as_array(value: Any, name: str) -> NDArray[Any]:  # noqa: ANN401
    """Return what holds numbers as an array.

    Raises:
        ConfigError: it holds none, or hides some.
    """
    mask: Any = getattr(value, "mask", None) if np.ma.isMA(value) else None
    hidden = int(np.count_nonzero(mask)) if mask is not None else 0
    if hidden:
        raise ConfigError(
            f"The data for '{name}' are a masked array that hides {hidden} numbers",
            "Expected numbers that all count: what is below a mask is not read as one",
            "Pass data.filled(numpy.nan) to skip these rows, or the rows without them",
        )
    if hasattr(value, "detach"):
        try:
            value = value.detach().cpu().to_dense()
            short = str(value.dtype) == "torch.bfloat16"
            return np.asarray(value.float() if short else value)
        except (NotImplementedError, RuntimeError, TypeError):  # meta, quantised, …
            raise _no_data("a tensor that does not hold plain numbers", name) from None
    if hasattr(value, "__array__") or isinstance(value, (list, tuple)):
        try:
            found = np.asarray(value)
        except ValueError:  # lists of different lengths
            raise _no_data(f"a {type(value).__name__} of unequal rows", name) from None
        if found.dtype.hasobject:
            raise _no_data("an array of Python objects", name)
        return found
    kind = "None" if value is None else f"of the type {type(value).__name__}"
    raise _no_data(kind, name)


def _no_data(given: str, name: str = "") -> ConfigError:
    of = f" for '{name}'" if name and name != "x" else ""
    return ConfigError(
        f"The data{of} are {given}",
        "Expected a path (.npz, .npy), an array or a tensor with one row for each "
        "input, or a dict of these",
        "Pass for example x=numpy.load('data.npy')",
    )


def label_of(value: object, array: NDArray[Any]) -> str:
    """Return what an array is called in a report: "array (4,) float64"."""
    kind = "tensor" if hasattr(value, "detach") else "array"
    return f"{kind} {tuple(array.shape)} {array.dtype}"


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an uncompressed .npz, equal ones as equal bytes."""
    with Path(path).open("wb") as file:
        pack(file, arrays)
