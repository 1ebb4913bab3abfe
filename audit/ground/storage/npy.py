"""The header of an npy array: what lies behind it, and how many bytes that is.

The header is a Python literal (`np.lib.format`); numpy reads it without running it. It
is believed only where it says exactly as many bytes as there are: with fewer rows than
bytes some would be lost, with more some invented.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib import format as npy

from audit.ground.errors import InputError, cause

HEAD = 1 << 16
"""Bytes that hold any header: numpy itself reads no more than 10,000 characters."""
_READERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
    (3, 0): npy.read_array_header_2_0,  # they differ in the names of fields alone
}
_MOST_AXES = 32
_MOST_BYTES = 1 << 62


@dataclass(frozen=True)
class Header:
    """What an npy header says.

    Args:
        shape: of the array. fortran: whether columns come first. dtype: of a number.
        length: the bytes of the header itself.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    length: int

    @property
    def bytes(self) -> int:
        """How many bytes the array takes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(head: bytes, size: int, where: str) -> Header:
    """Read a header and see that the array behind it is all there, and no more.

    Args:
        head: the first `HEAD` bytes of the array's file, or all of them.
        size: how many there are.
        where: the array, for the error: "In 'data.npz', key 'x'".

    Raises:
        InputError: it is no array, not of numbers, cut short or followed by more.
    """
    header = _parsed(head, where)
    if header.dtype.hasobject:
        raise InputError(
            f"{where} holds Python objects (a pickle), which can run code",
            "Expected an array of numbers",
            "Save it again with a numeric dtype, such as array.astype('float32')",
        )
    if not _possible(header):
        raise InputError(
            f"{where} says it has the shape {list(header.shape)} of {header.dtype}",
            "Expected an array that can be",
            "Write the file again",
        )
    there = size - header.length
    if there != header.bytes:
        what = "is cut short" if there < header.bytes else "holds more than one array"
        raise InputError(
            f"{where} {what}: its header says {header.bytes} bytes, it has {there}",
            "Expected one array, and all of it",
            "Write the file again",
        )
    return header


def _parsed(head: bytes, where: str) -> Header:
    with _said(where):
        found = _read(head[: _end(head)])
    if isinstance(found, Header):
        return found
    raise InputError(
        f"{where} is in version {found[0]}.{found[1]} of the npy format",
        "Expected 1.0, 2.0 or 3.0",
        "Save it with numpy",
    )


def _end(head: bytes) -> int:
    """Return where a header ends that says how long it is, in 2 bytes or in 4."""
    field = 10 if head[6:7] == b"\x01" else 12
    return field + int.from_bytes(head[8:field], "little")


@lru_cache(maxsize=256)
def _read(header: bytes) -> Header | tuple[int, int]:
    """Return what a header says, or its version where that is another.

    Columns of one length have one header: a part of a run holds a hundred.
    """
    file = io.BytesIO(header)
    version = npy.read_magic(file)
    if version not in _READERS:
        return version
    shape, fortran, dtype = _READERS[version](file)
    return Header(shape, fortran, dtype, file.tell())


@contextlib.contextmanager
def _said(where: str) -> Iterator[None]:
    """Turn whatever numpy, or the parser of literals beneath it, raises into words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is read again, or refused
            yield
    except Exception as error:
        raise InputError(
            f"{where} is not an npy array: {cause(error)}",
            "Expected an array saved by numpy",
            "Write the file again",
        ) from None


def _possible(header: Header) -> bool:
    """Whether numpy can make the array: no axis is negative, nothing overflows."""
    axes = [max(1, size) for size in header.shape]
    return (
        all(type(size) is int and size >= 0 for size in header.shape)
        and len(axes) <= _MOST_AXES
        and 0 < header.dtype.itemsize * math.prod(axes) < _MOST_BYTES
    )
