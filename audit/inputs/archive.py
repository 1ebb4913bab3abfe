"""Arrays inside `.npy` and `.npz` files, memory-mapped where they lie as they are.

An `.npz` is a zip of `.npy` members; one that is stored without compression lies in the
file byte for byte, so it is mapped at its offset. (`np.load(mmap_mode=...)` ignores the
mode for npz.) Compressed members are read whole. Pickles are never opened.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from audit.errors import InputError

Array = NDArray[Any]
_LOCAL_HEADER = 30
"""Bytes of a zip member's own header, before its name and extra field."""


def look_at(path: str) -> None:
    """Refuse what is not an npz or npy file, by its first bytes.

    Raises:
        InputError: it is missing, unreadable, empty, damaged or something else.
    """
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


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays of an archive by key."""
    found = {info.filename: info for info in archive.infolist()}
    return {
        name.removesuffix(".npy"): info
        for name, info in found.items()
        if name.endswith(".npy")
    }


def member(
    path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str
) -> Array:
    """Map a stored member at its place in the file; read a compressed one.

    Raises:
        InputError: it is cut short, no array, or made of Python objects.
    """
    what = f"key '{key}'"
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
        with Path(path).open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER)
            name, extra = header[26:28], header[28:30]
            lengths = int.from_bytes(name, "little") + int.from_bytes(extra, "little")
            return mapped(
                path, what, file, info.header_offset + _LOCAL_HEADER + lengths
            )
    with archive.open(info) as file:
        shape, fortran, dtype = _header(path, what, file)
        flat = np.frombuffer(file.read(), dtype=dtype)
    if flat.size != np.prod(shape, dtype=int):
        raise InputError(f"In '{path}', {what} is cut short")
    array: Array = flat.reshape(shape, order="F" if fortran else "C")
    return array


def mapped(path: str, what: str, file: IO[bytes], start: int) -> Array:
    """Return the array whose npy header begins at `start`, as a memory map.

    Raises:
        InputError: it is cut short, no array, or made of Python objects.
    """
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
