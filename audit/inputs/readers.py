"""Readers of data files, by the file's suffix.

A reader is called with a path and returns the file, opened: which arrays there are,
windows of their rows, and a digest of all its bytes. Third parties add one by the entry
point group `robaudit.inputs`, under the suffix (".zarr").
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from audit.ground.errors import BrokenPlugin, ConfigError, InputError
from audit.ground.plugins import fault, lacks_of_function
from audit.ground.registry import Registry
from audit.ground.storage.arrays import MEMORY, Array, open_data
from audit.inputs.reading import InputReader as OpenFile
from audit.inputs.reading import open_input


@dataclass(frozen=True)
class Field:
    """An array of a data file, as the file declares it.

    Args:
        shape: with the number of rows first.
        dtype: numpy's name for its type.
    """

    shape: tuple[int, ...]
    dtype: str


class InputReader(Protocol):
    """A data file, open; a reader is a function from a path to one."""

    def fields(self) -> Mapping[str, Field]:
        """Return the arrays by name; one that has none is called ""."""

    def window(self, name: str, start: int, stop: int) -> Array:
        """Return rows [start, stop) of an array."""

    def fingerprint(self) -> str:
        """Return the sha256 of the file's bytes, or of what it stands for."""


def _lacks(found: object) -> Iterable[str]:
    return lacks_of_function(found, "path")


_PLACE = "audit.inputs.readers:Saved"
READERS: Registry[Callable[[str], InputReader]] = Registry(
    "inputs", {".npz": _PLACE, ".npy": _PLACE}, _lacks
)


class Saved:
    """A file that numpy saved, as any reader opens one."""

    def __init__(self, path: str) -> None:
        self.path = path

    def fields(self) -> Mapping[str, Field]:
        """Return the arrays by key; the one of an `.npy` has the key ""."""
        with open_data(self.path) as file:
            headers = {key: file.header(key) for key in file.keys or ("",)}
        return {key: Field(h.shape, str(h.dtype)) for key, h in headers.items()}

    def window(self, name: str, start: int, stop: int) -> Array:
        """Return rows [start, stop) of an array."""
        with open_data(self.path) as file:
            return file.read([name], MEMORY)[0][name][start:stop]

    def fingerprint(self) -> str:
        """Return the sha256 of the file's bytes."""
        with open_data(self.path) as file:
            return file.read([], MEMORY)[1]


class ReadFile:
    """What a third party's reader opened, as the arrays that a model needs."""

    is_archive, is_table = True, False

    def __init__(self, path: str) -> None:
        self.path, self._make = path, READERS[suffix_of(path)]
        self._file = self._make(path)
        missing = [name for name in _METHODS if not hasattr(self._file, name)]
        if missing:
            raise self._fault(f"opens a file without {', '.join(missing)}")
        self._fields = self._file.fields()

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._fields)

    def read(self, keys: Iterable[str], memory: int) -> tuple[dict[str, Array], str]:
        """Return some arrays and the digest of the file; see `DataFile.read`."""
        arrays = {key: self.load(key, memory) for key in dict.fromkeys(keys)}
        digest = self._file.fingerprint()
        if not isinstance(digest, str) or not digest:
            raise self._fault("gives no text as the fingerprint")
        return arrays, digest

    def load(self, key: str, memory: int) -> Array:
        """Return one array, all its rows.

        Raises:
            ConfigError: it takes more than `memory`.
            BrokenPlugin: it is not the one that the file declares.
        """
        field = self._fields[key]
        size = int(np.prod(field.shape, dtype=int)) * np.dtype(field.dtype).itemsize
        if size > memory:
            raise ConfigError(
                f"In '{self.path}', '{key}' takes {size / 2**30:.1f} GiB",
                f"--memory allows {memory / 2**30:.1f} GiB",
                "Raise --memory, or save it with np.savez, which is read in place",
            )
        array = np.asarray(self._file.window(key, 0, field.shape[0]))
        if array.shape != tuple(field.shape) or array.dtype != np.dtype(field.dtype):
            said = f"{list(field.shape)} of {field.dtype}"
            raise self._fault(
                f"declares '{key}' as {said} and reads {list(array.shape)} of "
                f"{array.dtype}"
            )
        return array

    def rest(self, claimed: Iterable[str]) -> str:
        """Return "": it has no columns to put together."""
        return ""

    def _fault(self, clause: str) -> BrokenPlugin:
        return fault("inputs", self._make, clause)


_METHODS = ("fields", "window", "fingerprint")


def suffix_of(path: str) -> str:
    """Return the suffix by which a reader is chosen."""
    return Path(path).suffix.lower()


@contextlib.contextmanager
def open_file(path: str, memory: int = MEMORY) -> Iterator[OpenFile]:
    """Open a data file: by a third party's reader of its suffix, else by its content.

    Raises:
        InputError: it is missing, unreadable, empty, damaged or something else.
        BrokenPlugin: its reader is a third party's, and lacks something.
    """
    suffix = suffix_of(path)
    if READERS.ours(suffix) or suffix not in READERS:
        with open_input(path, memory) as file:
            yield file
    elif not Path(path).exists():
        raise InputError(
            f"There is no data file '{path}'", next_step="Check the path of DATA"
        )
    else:
        yield ReadFile(path)
