"""The data: arrays with one row for each input to audit.

A file is `.npy` (one array) or `.npz` (several, by key), which `ground.storage.arrays`
opens, one of other kinds (tables, tensors, HDF5, Zarr, MATLAB), or one for whose suffix
a third party has a reader (`readers`, `opening`).

Rows that hold NaN or infinity are no error here: they are for the scan to skip, with
the reason that `blemish` gives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audit.ground.errors import ConfigError, InputError, boundary
from audit.ground.storage import split_spec
from audit.ground.storage.arrays import MEMORY, Array
from audit.ground.storage.mapped import let_go
from audit.inputs.deviations import median_deviations, standard_deviations
from audit.inputs.joined import Joined
from audit.inputs.keys import find_keys, require_equal_rows, require_numbers
from audit.inputs.names import CLASSES, read_class_names, read_feature_names
from audit.inputs.opening import open_file
from audit.inputs.texts import Vocabulary, coded, spelled

__all__ = ["Inputs", "Rows", "list_keys", "open_inputs", "split_spec"]
Rows = slice | NDArray[np.int64]

MAPPED = 1 << 25
"""Bytes of a mapped array that may stay in memory once they were read."""


@dataclass(frozen=True)
class Inputs:
    """Arrays that share their number of rows, and where they came from.

    A single number under the key of an input that is held is one of all rows.
    """

    path: str
    arrays: dict[str, Array | Joined]
    """Name of the model's input -> [N, *event], often a memory map."""
    keys: dict[str, str]
    """Name of the model's input -> key in the file ("" for `.npy`)."""
    sha256: str
    """The digest of the file's bytes, all of them."""
    texts: Mapping[str, Vocabulary] = field(default_factory=dict)
    """Name of an input of text, whose array holds codes -> what they stand for."""

    @property
    def n(self) -> int:
        """The number of rows, N."""
        return len(next(iter(self.arrays.values())))

    def take(self, name: str, rows: Rows) -> Array:
        """Return a copy of some rows, contiguous and in the machine's byte order."""
        part = _taken(self.arrays[name], rows)
        return np.array(part, dtype=part.dtype.newbyteorder("="), order="C")

    def saved(self, name: str, rows: Rows) -> Array:
        """Return a copy of some rows as they are in the file: text, not its codes."""
        found = self.take(name, rows)
        return spelled(found, self.texts[name]) if name in self.texts else found

    def finite(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which of `rows` hold no NaN or infinity in any array."""
        marks = []
        for array in self.arrays.values():
            part = _taken(array, rows)
            marks.append(np.isfinite(part.reshape(len(part), -1)).all(axis=1))
        return np.asarray(np.all(marks, axis=0))

    def standard_deviations(self, name: str) -> NDArray[np.float64]:
        """Return each feature's standard deviation over the finite rows [*event].

        Raises:
            ConfigError: there are fewer than two finite rows.
        """
        return standard_deviations(self, name)

    def median_deviations(self, name: str) -> NDArray[np.float64]:
        """Return each feature's median absolute deviation, scaled as a normal's.

        Raises:
            ConfigError: there are fewer than two finite rows.
        """
        return median_deviations(self, name)

    def feature_names(self, event: Sequence[int], memory: int) -> list[str] | None:
        """Return the names of an input's features, row-major; None without any.

        Raises:
            InputError: `feature_names` is no array of strings, or does not fit.
        """
        first = next(iter(self.arrays.values()))
        if isinstance(first, Joined):
            return first.names
        return read_feature_names(self.path, event, memory)

    def class_names(self, memory: int) -> list[str] | None:
        """Return what the data call the classes of a classifier; None: nothing."""
        if CLASSES in self.keys.values():
            return None  # it is an input of the model
        return read_class_names(self.path, memory)

    def blemish(self, row: int) -> str:
        """Say what is not finite in one row, e.g. "input 'x' holds nan at [0, 2]"."""
        for name, array in self.arrays.items():
            bad = np.argwhere(~np.isfinite(array[row]))
            if len(bad):
                value, place = array[row][tuple(bad[0])], bad[0].tolist()
                at = f" at {place}" if place else ""
                more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
                return f"input '{name}' holds {value}{at}{more}"
        return ""


def _taken(array: Array | Joined, rows: Rows) -> Array:
    """Return some rows; what is mapped of a large file is let go, once it was copied.

    Which pages are in memory is the kernel's business: this is safe among threads.
    """
    part = array[rows]
    if isinstance(array, np.ndarray) and array.nbytes > MAPPED:
        part = np.array(part)
        let_go(array)
    return part


def open_inputs(
    spec: str,
    keys: Mapping[str, str | None],
    memory: int = MEMORY,
    texts: frozenset[str] = frozenset(),
    aside: Collection[str] = (),
) -> Inputs:
    """Open the arrays a model needs.

    Args:
        spec: "data.npz", "data.npz::key" (the key of the first input) or "data.npy";
            a path that holds `::` is the file of that name, or has `::` at its end.
        keys: model input -> key in the file, or None to find it: under the input's
            own name, and for the first input also under a usual one (x, inputs, ...)
            or the file's only key.
        memory: bytes that arrays may take which are compressed, and so not mapped.
        texts: the inputs that take text, and are codes here.
        aside: keys of what is no input, such as θ: columns that the first input does
            not take with those that nobody claims.

    Raises:
        ConfigError: a `::key` where there are no keys, or that contradicts `keys`; or
            what is compressed takes more than `memory`.
        InputError: the file cannot be read or is damaged, a key is missing, an array is
            not made of numbers, or the arrays differ in rows.
        NothingAudited: there are no rows.
    """
    path, key = split_spec(spec)
    with _readable(path):
        return _opened(path, key, dict(keys), memory, texts, aside)


def _readable(path: str) -> AbstractContextManager[None]:
    """Return the boundary of what reads a data file."""
    return boundary(
        f"The data file '{path}' cannot be read",
        "Expected arrays of numbers as numpy saves them, one row an input",
        "Write it again with np.savez, or name other data",
        InputError,
    )


def _opened(
    path: str,
    key: str | None,
    wanted: dict[str, str | None],
    memory: int,
    texts: frozenset[str],
    aside: Collection[str],
) -> Inputs:
    first = next(iter(wanted))
    if key and wanted[first] not in (None, key):
        raise ConfigError(
            f"Two keys are given for input '{first}': '{key}' and '{wanted[first]}'",
            "An input of the model has one key",
            "Keep one of DATA::KEY and --condition NAME=KEY",
        )
    wanted[first] = key or wanted[first]
    with open_file(path, memory) as file:
        found = find_keys(path, wanted, file, aside)
        numbers = [key for name, key in found.items() if name not in texts]
        arrays, sha256 = file.read(numbers, memory)
        words = {name: file.load(found[name], memory) for name in texts & set(found)}
    if file.is_table:
        words = {name: array.reshape(-1, 1) for name, array in words.items()}
    codes = {
        name: coded(f"In '{path}', key '{found[name]}'", name, array)
        for name, array in words.items()
    }
    named = {
        name: codes[name][0] if name in codes else arrays[key]
        for name, key in found.items()
    }
    rows = len(named[first]) if named[first].ndim else 0
    for name, array in named.items():
        if name != first and array.ndim == 0 and rows:
            named[name] = np.broadcast_to(np.asarray(array), (rows,))
        require_numbers(path, name, found[name], named[name])
    require_equal_rows(path, named)
    known = {name: vocabulary for name, (_, vocabulary) in codes.items()}
    return Inputs(path, dict(named), found, sha256, known)


def list_keys(data: str) -> tuple[str, ...]:
    """Return the keys of an `.npz`; none for an `.npy`.

    Args:
        data: the file, as the user named it: `::KEY` behind it says nothing here.

    Raises:
        InputError: the file cannot be read.
    """
    path = split_spec(data)[0]
    with _readable(path), open_file(path) as file:
        return file.keys
