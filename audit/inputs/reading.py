"""Data files of every kind behind one contract, told by their content.

A kind is one file with a function (path, memory) -> `InputReader` and a row here. What
it needs beside the core is an extra, and its message names it. Readers of third parties
are in `readers`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

from audit.ground.errors import ConfigError, InputError
from audit.ground.registry import Registry
from audit.ground.storage import open_regular
from audit.ground.storage.arrays import Array, open_data
from audit.ground.storage.fingerprint import fingerprint
from audit.ground.storage.regular import Mark, mark_of
from audit.inputs.joined import Joined


class InputReader(Protocol):
    """Arrays in a data file, by key."""

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


Open = Callable[[str, int], InputReader]

KINDS: Registry[Open] = Registry(
    "kinds",
    {
        ".arrow": "audit.inputs.parquet:open_arrow",
        ".csv": "audit.inputs.csv:open_csv",
        ".h5": "audit.inputs.hdf5:open_hdf5",
        ".mat": "audit.inputs.matlab:open_matlab",
        ".parquet": "audit.inputs.parquet:open_parquet",
        ".pt": "audit.inputs.tensors:open_tensors",
        ".tsv": "audit.inputs.csv:open_csv",
        ".zarr": "audit.inputs.zarr:open_zarr",
    },
)
_BEGINS = {
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"\x89HDF": ".h5",
    b"MATLAB 5.0": ".mat",
}
_known: dict[tuple[str, str, Mark], InputReader] = {}
_OF_NUMPY = (b"PK", b"\x93NUMPY")


@contextlib.contextmanager
def open_input(path: str, memory: int) -> Iterator[InputReader]:
    """Open a data file of any kind that is known.

    Raises:
        InputError: it is missing, unreadable, empty, damaged or something else.
        ConfigError: reading it takes a package that is missing, or more than `memory`.
    """
    kind = _kind_of(path)
    if kind is not None:
        yield _read_once(kind, path, memory)
        return
    with open_data(path) as file:
        yield file


def _read_once(kind: str, path: str, memory: int) -> InputReader:
    """Return a reader; the last one is kept for as long as its file is the same."""
    mark = _mark(path)
    if mark is not None and (kind, path, mark) in _known:
        return _known[kind, path, mark]
    found = KINDS[kind](path, memory)
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
        return ".zarr" if any((place / name).exists() for name in inside) else None
    try:
        with open_regular(path) as file:
            head = file.read(16)
    except OSError:
        return None
    suffix = place.suffix.lower()
    for words, kind in _BEGINS.items():
        if head.startswith(words):
            return kind
    numpy = head.startswith(_OF_NUMPY) and suffix != ".pt"
    return suffix if suffix in KINDS and head and not numpy else None


def whole(path: str, memory: int) -> tuple[bytes, str]:
    """Return a file's bytes and their digest, for kinds that are read at once.

    Raises:
        InputError: it cannot be read.
        ConfigError: it takes more than `memory`.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            if size > memory:
                raise ConfigError(
                    f"The data file '{path}' has {size / 2**30:.1f} GiB, and is read "
                    "whole",
                    f"--memory allows {memory / 2**30:.1f} GiB",
                    "Raise --memory, or save it with np.savez, which is read in place",
                )
            digest = fingerprint(file).sha256
            file.seek(0)
            return file.read(), digest
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"The data file '{path}' cannot be read: {reason}") from None


def needs(path: str, extra: str, load: Callable[[], ModuleType]) -> ModuleType:
    """Return a package that reads a file.

    Raises:
        ConfigError: it is not installed; names the extra.
    """
    try:
        return load()
    except ImportError as error:
        raise ConfigError(
            f"Reading '{path}' takes {error.name or extra}, which is not installed",
            "The core reads .npz, .npy, .csv and .pt",
            f"Run pip install 'robaudit[{extra}]', or save the data with np.savez",
        ) from None


def broken(path: str, kind: str, error: Exception) -> InputError:
    """Return the error for a file that its own package does not read."""
    reason = str(error).strip().partition("\n")[0]
    return InputError(
        f"The data file '{path}' is no readable {kind} ({reason})",
        f"Expected a complete {kind}",
        "Write or copy it again",
    )
