"""Arrays that safetensors wrote: the size of a header, it in JSON, and the numbers.

    8 bytes      n, an integer whose least byte comes first
    n bytes      {NAME: {"dtype": "F32", "shape": [N, d], "data_offsets": [a, b]}, ...}
    the rest     bytes a to b of it are the numbers, row by row, least byte first

A number of bfloat16 is the first half of one of float32.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math

import numpy as np

from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Arrays
from audit.inputs.reading import broken, whole

_HALF = "BF16"
_TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", _HALF: "<u2", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
}


def open_safetensors(path: str, memory: int = MEMORY) -> Arrays:
    """Read every array; their first axis is the rows.

    Raises:
        InputError: it is damaged, or holds numbers of another type.
        ConfigError: it takes more than `memory`.
    """
    data, sha256 = whole(path, memory)
    try:
        header, numbers = _parts(data)
        arrays = {
            name: _array(name, entry, numbers)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise broken(path, "safetensors file", error) from None
    return Arrays(path, arrays, sha256)


def _parts(data: bytes) -> tuple[dict[str, dict[str, object]], memoryview]:
    """Return the header, and the bytes that it speaks of.

    Raises:
        ValueError: it has none.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end]) if end <= len(data) else None
    if not isinstance(header, dict):
        raise ValueError("it has no header")  # noqa: TRY004
    return header, memoryview(data)[end:]


def _array(name: str, entry: dict[str, object], data: memoryview) -> Array:
    """Return one array.

    Raises:
        ValueError, TypeError, KeyError: the entry is not as the format says.
    """
    kind, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"'{name}' has the type {kind}")
    sizes = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not sizes or not isinstance(span, list) or len(span) != 2:
        raise ValueError(f"'{name}' has no shape or no place")
    assert isinstance(shape, list)
    dtype, (first, last) = np.dtype(_TYPES[kind]), span
    length = math.prod(shape) * dtype.itemsize
    if not 0 <= first <= last <= len(data) or last - first != length:
        raise ValueError(f"'{name}' does not lie where the header says")
    array = np.frombuffer(data, dtype, math.prod(shape), first).reshape(shape)
    if kind == _HALF:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array
