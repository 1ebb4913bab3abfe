"""Data files of every kind, opened: by their content, or a third party's suffix.

Ours and others' are made alike (`readers`). What numpy saved is read in place; ours of
other kinds are read once, and are what a model needs already; what a third party's
reader opens is held to what it declares.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from audit.ground.errors import BrokenPlugin, InputError
from audit.ground.plugins import fault
from audit.ground.storage import open_regular
from audit.ground.storage.arrays import MEMORY, Array, missing, open_data
from audit.ground.storage.regular import Mark, mark_of
from audit.inputs.arrays import Arrays
from audit.inputs.joined import Joined
from audit.inputs.readers import OF_NUMPY, READERS
from audit.inputs.reading import too_large
from audit.inputs.remote import copied, is_remote


class Contents(Protocol):
    """A data file as a model needs it: arrays by key, one row for each input."""

    @property
    def is_archive(self) -> bool:
        """Whether arrays have keys."""

    @property
    def is_table(self) -> bool:
        """Whether arrays are columns, which may be put together."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys."""

    def read(
        self, keys: Iterable[str], memory: int
    ) -> tuple[Mapping[str, Array | Joined], str]:
        """Return some arrays, one row for each input, and the digest of the file.

        Raises:
            InputError: one of them is damaged, or not made of numbers.
            ConfigError: they take more than `memory`.
        """

    def load(self, key: str, memory: int) -> Array:
        """Return an array read whole.

        Raises:
            InputError, ConfigError: as `read`.
        """

    def rest(self, claimed: Iterable[str]) -> str:
        """Return the key of all that nobody claims; "" where there is no such thing."""


_BEGINS = {
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"\x89HDF": ".h5",
    b"MATLAB 5.0": ".mat",
    b"MATLAB 7.3": ".mat",
}
_known: dict[tuple[str, str, Mark], Arrays] = {}
_NUMPY = (b"PK", b"\x93NUMPY")


@contextlib.contextmanager
def open_file(path: str, memory: int = MEMORY) -> Iterator[Contents]:
    """Open a data file: by a third party's reader of its suffix, else by its content.

    Raises:
        InputError: it is missing, unreadable, empty, damaged or something else.
        ConfigError: reading it takes a package that is missing, or more than `memory`.
        BrokenPlugin: its reader is a third party's, and lacks something.
    """
    if is_remote(path):
        with copied(path) as local, open_file(local, memory) as contents:
            yield contents
        return
    suffix = suffix_of(path)
    if suffix in READERS and not READERS.ours(suffix):
        if not Path(path).exists():
            raise missing(path, f"a {suffix} file")
        yield ReadFile(path)
        return
    kind = _kind_of(path)
    if kind is not None:
        yield _read_once(kind, path, memory)
        return
    with open_data(path) as file:
        yield file


def suffix_of(path: str) -> str:
    """Return the suffix by which a reader is chosen."""
    return Path(path).suffix.lower()


def _read_once(kind: str, path: str, memory: int) -> Arrays:
    """Return a reader; the last one is kept for as long as its file is the same."""
    mark = _mark(path)
    if mark is not None and (kind, path, mark) in _known:
        return _known[kind, path, mark]
    found = READERS[kind](path, memory)
    assert isinstance(found, Arrays)
    if mark is not None and mark == _mark(path):
        _known.clear()
        _known[kind, path, mark] = found
    return found


def _mark(path: str) -> Mark | None:
    """Return what changes when a file does; None for folders."""
    if Path(path).is_dir():
        return None
    with open_regular(path) as file:
        return mark_of(file)


def _kind_of(path: str) -> str | None:
    """Return the reader for a file; None for those of NumPy, and what is none."""
    place = Path(path)
    if place.is_dir():
        inside = (".zgroup", ".zarray", "zarr.json")
        if any((place / name).exists() for name in inside):
            return ".zarr"
        raise InputError(
            f"The data file '{path}' cannot be read: it is a folder, not a file",
            "Expected one file with a row for each input, or a Zarr folder",
            "Put its parts together: pyarrow.dataset.dataset(folder).to_table() reads "
            "those of a table, pyarrow.parquet.write_table(table, path) writes them",
        )
    try:
        with open_regular(path) as file:
            head = file.read(16)
    except OSError:
        return None
    suffix = place.suffix.lower()
    for words, kind in _BEGINS.items():
        if head.startswith(words):
            return kind
    numpy = head.startswith(_NUMPY) and suffix != ".pt"
    known = READERS.ours(suffix) and suffix not in OF_NUMPY
    return suffix if known and head and not numpy else None


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
            takes = f"'{key}' takes {size / 2**30:.1f} GiB"
            raise too_large(f"In '{self.path}', {takes}", memory)
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
