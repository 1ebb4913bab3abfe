"""The data: arrays with one row for each input to audit.

A file is `.npy` (one array) or `.npz` (several, by key). An `.npz` is a zip of `.npy`
members; one that is stored without compression lies in the file byte for byte, so it
is memory-mapped at its offset. (`np.load(mmap_mode=...)` ignores the mode for npz.)
Compressed members are read whole.

Rows that hold NaN or infinity are no error here: they are for the scan to skip, with
the reason that `blemish` gives.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from audit.errors import ConfigError, InputError, NothingAudited

Array = NDArray[Any]
Rows = slice | NDArray[np.int64]

USUAL_KEYS = ("x", "X", "inputs", "input", "data", "features", "condition")
_LOCAL_HEADER = 30
"""Bytes of a zip member's own header, before its name and extra field."""


@dataclass(frozen=True)
class Inputs:
    """Arrays that share their number of rows, and where they came from."""

    path: str
    arrays: dict[str, Array]
    """Name of the model's input -> [N, *event], often a memory map."""
    keys: dict[str, str]
    """Name of the model's input -> key in the file ("" for `.npy`)."""

    @property
    def n(self) -> int:
        """The number of rows, N."""
        return len(next(iter(self.arrays.values())))

    @cached_property
    def sha256(self) -> str:
        """The digest of the file's bytes."""
        with Path(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def take(self, name: str, rows: Rows) -> Array:
        """Return a copy of some rows, contiguous and in the machine's byte order."""
        part = self.arrays[name][rows]
        return np.array(part, dtype=part.dtype.newbyteorder("="), order="C")

    def finite(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which of `rows` hold no NaN or infinity in any array."""
        marks = []
        for array in self.arrays.values():
            part = array[rows]
            marks.append(np.isfinite(part.reshape(len(part), -1)).all(axis=1))
        return np.asarray(np.all(marks, axis=0))

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


def open_inputs(spec: str, keys: Mapping[str, str | None]) -> Inputs:
    """Open the arrays a model needs.

    Args:
        spec: "data.npz", "data.npz::key" (the key of the first input) or "data.npy".
        keys: model input -> key in the file, or None to find it: under the input's
            own name, and for the first input also under a usual one (x, inputs, ...)
            or the file's only key.

    Raises:
        ConfigError: a `::key` where there are no keys, or that contradicts `keys`.
        InputError: the file cannot be read, a key is missing, an array is not made of
            numbers, or the arrays differ in rows.
        NothingAudited: there are no rows.
    """
    path, key = split_spec(spec)
    wanted = dict(keys)
    first = next(iter(wanted))
    if key and wanted[first] not in (None, key):
        raise ConfigError(
            f"Two keys are given for input '{first}': '{key}' and '{wanted[first]}'",
            next_step="Keep one of DATA::KEY and --condition NAME=KEY",
        )
    wanted[first] = key or wanted[first]
    _look_at(path)
    if zipfile.is_zipfile(path):
        found, arrays = _from_npz(path, wanted)
    else:
        found, arrays = _from_npy(path, wanted)
    for name, array in arrays.items():
        _check(path, name, found[name], array)
    _check_rows(path, arrays)
    return Inputs(path, arrays, found)


def split_spec(spec: str) -> tuple[str, str | None]:
    """Split "data.npz::key" into the path and the key, if there is one."""
    path, colons, key = spec.rpartition("::")
    return (path, key) if colons and path and key else (spec, None)


def list_keys(path: str) -> tuple[str, ...]:
    """Return the keys of an `.npz`; none for an `.npy`.

    Raises:
        InputError: the file cannot be read.
    """
    _look_at(path)
    if not zipfile.is_zipfile(path):
        return ()
    with zipfile.ZipFile(path) as archive:
        return tuple(_members(archive))


def _look_at(path: str) -> None:
    """Refuse what is not an npz or npy file, by its first bytes."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(
            f"There is no data file '{path}'", next_step="Check the path of DATA"
        ) from None
    except OSError as error:
        raise InputError(f"The data file '{path}' cannot be read: {error}") from None
    if not head:
        raise InputError(f"The data file '{path}' is empty (0 bytes)")
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise InputError(
            f"The data file '{path}' is a truncated or damaged zip",
            next_step="Write or copy it again",
        )
    if not head.startswith((b"PK", b"\x93NUMPY")):
        raise InputError(
            f"The data file '{path}' is neither npz nor npy",
            "Expected arrays saved by numpy",
            f"Save it with np.savez('{Path(path).stem}.npz', x=...)",
        )


def _from_npy(
    path: str, wanted: Mapping[str, str | None]
) -> tuple[dict[str, str], dict[str, Array]]:
    name, *others = wanted
    if others or wanted[name]:
        key = wanted[name] or wanted[others[0]] or others[0]
        raise ConfigError(
            f"'{path}' holds one array without a key, and '{key}' was asked of it",
            next_step="Save an .npz with a key for each input",
        )
    with Path(path).open("rb") as file:
        return {name: ""}, {name: _mapped(path, "its array", file, 0)}


def _from_npz(
    path: str, wanted: Mapping[str, str | None]
) -> tuple[dict[str, str], dict[str, Array]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            first = next(iter(wanted))
            found = {
                name: _find(path, name, key, list(members), name == first)
                for name, key in wanted.items()
            }
            arrays = {
                name: _member(path, archive, members[key], key)
                for name, key in found.items()
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(
            f"The data file '{path}' cannot be unpacked: {error}",
            next_step="Write it again with np.savez",
        ) from None
    return found, arrays


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members = {info.filename: info for info in archive.infolist()}
    return {
        name.removesuffix(".npy"): info
        for name, info in members.items()
        if name.endswith(".npy")
    }


def _find(path: str, name: str, key: str | None, keys: list[str], first: bool) -> str:
    """Return the key that holds the model's input `name`."""
    candidates = [key] if key else [name, *(USUAL_KEYS if first else ())]
    for candidate in candidates:
        if candidate in keys:
            return candidate
    if first and not key and len(keys) == 1:
        return keys[0]
    option = "condition" if first else "held"
    raise InputError(
        f"'{path}' has no key '{key or name}'",
        "Its keys are " + (", ".join(sorted(keys)) or "none"),
        f"Name the one that holds the model's input: --{option} {name}=KEY",
    )


def _member(
    path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str
) -> Array:
    """Map a stored member at its place in the file; read a compressed one."""
    what = f"key '{key}'"
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        with Path(path).open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER)
            name, extra = header[26:28], header[28:30]
            lengths = int.from_bytes(name, "little") + int.from_bytes(extra, "little")
            return _mapped(
                path, what, file, info.header_offset + _LOCAL_HEADER + lengths
            )
    with archive.open(info) as member:
        shape, fortran, dtype = _header(path, what, member)
        flat = np.frombuffer(member.read(), dtype=dtype)
    if flat.size != np.prod(shape, dtype=int):
        raise InputError(f"In '{path}', {what} is cut short")
    array: Array = flat.reshape(shape, order="F" if fortran else "C")
    return array


def _mapped(path: str, what: str, file: IO[bytes], start: int) -> Array:
    """Return the array whose npy header begins at `start`, as a memory map."""
    file.seek(start)
    shape, fortran, dtype = _header(path, what, file)
    order: Literal["F", "C"] = "F" if fortran else "C"
    if 0 in shape:
        return np.empty(shape, dtype)
    try:
        return np.memmap(path, dtype, "r", file.tell(), shape, order)
    except (ValueError, OSError):
        raise InputError(
            f"In '{path}', {what} is cut short", next_step="Write the file again"
        ) from None


def _header(path: str, what: str, file: IO[bytes]) -> tuple[Any, bool, np.dtype[Any]]:
    """Read an npy header: shape, whether columns come first, dtype."""
    try:
        version = npy.read_magic(file)
        read = (
            npy.read_array_header_1_0
            if version == (1, 0)
            else npy.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError) as error:
        raise InputError(f"In '{path}', {what} is not an npy array: {error}") from None
    if dtype.hasobject:
        raise InputError(
            f"In '{path}', {what} holds Python objects (a pickle), which can run code",
            "Expected an array of numbers",
            "Save it again with a numeric dtype, such as array.astype('float32')",
        )
    return shape, fortran, dtype


def _check(path: str, name: str, key: str, array: Array) -> None:
    where = f"In '{path}', key '{key}'" if key else f"In '{path}', the array"
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{where} has dtype {array.dtype}",
            f"Expected real numbers for the model's input '{name}'",
        )
    if array.ndim == 0:
        raise InputError(
            f"{where} is a single number", "Expected an array with one row an input"
        )
    if len(array) == 0:
        raise NothingAudited(
            f"{where} has no rows", next_step="Give at least one input"
        )


def _check_rows(path: str, arrays: Mapping[str, Array]) -> None:
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        shown = ", ".join(f"'{name}' has {count}" for name, count in rows.items())
        raise InputError(
            f"In '{path}' the inputs differ in their number of rows: {shown}",
            "Expected one row of each for every input audited",
        )
