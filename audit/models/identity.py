"""One hash of everything a file computes with, whatever its format.

`weights_sha256` tells two models apart that a name or a date does not: files that
compute different functions because some constant differs have different hashes, and
the same weights exported twice have equal ones. So it covers parameters and buffers,
but also what an exporter or `torch.jit.freeze` turns into constants of the graph, the
attributes and numbers that a module's methods use, and what lies in subgraphs, in the
bodies of functions and in files beside the model. It does not cover names of files,
descriptions, or how the numbers are stored (within the file or beside it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from types import NoneType

import numpy as np
import torch
from onnx import SparseTensorProto, TensorProto
from torch import Tensor

from audit.importer import OnnxFile
from audit.importer.stored import Stored, stored_values
from audit.importer.tensors import TensorReader

Named = tuple[str, object]
_PLAIN = (int, float, complex, str, NoneType, Enum, torch.dtype, torch.memory_format)


def hash_values(values: Iterable[Named]) -> str:
    """Return the SHA-256 of named tensors, arrays, numbers and texts, in this order."""
    return _digest(part for name, value in values for part in (name, *_parts(value)))


def _digest(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def _parts(value: object) -> Iterator[str | bytes]:
    """Yield a value as texts and bytes: kind and shape first, then what is in it."""
    if isinstance(value, Tensor):
        yield from _tensor(value)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype.name}{value.shape}"
        if value.dtype.kind == "O":  # strings
            yield from (x if isinstance(x, bytes) else str(x) for x in value.flat)
        else:
            yield value.tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}"
        for key, item in value.items():
            yield from (*_parts(key), *_parts(item))
    elif isinstance(value, (list, tuple)):
        yield f"list {len(value)}"
        for item in value:
            yield from _parts(item)
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, torch.ScriptObject):
        yield from _parts(value.__getstate__())
    elif isinstance(value, _PLAIN):
        yield f"{type(value).__name__} {value!r}"
    else:  # a function or a stream: it holds no number
        yield type(value).__name__


def _tensor(value: Tensor) -> Iterator[str | bytes]:
    yield f"{value.dtype}{tuple(value.shape)}"
    if value.is_quantized:
        if value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            yield f"{value.q_scale()!r} {value.q_zero_point()}"
        else:
            yield from _tensor(value.q_per_channel_scales())
            yield from _tensor(value.q_per_channel_zero_points())
        value = value.int_repr()
    if value.layout != torch.strided:
        value = value.to_dense()
    flat = value.detach().cpu().contiguous().reshape(-1)
    yield flat.view(torch.uint8).numpy().tobytes() if len(flat) else b""


def onnx_hash(file: OnnxFile) -> str:
    """Return the hash of an ONNX file and of the tensors beside it.

    Raises:
        ModelError: a tensor cannot be read.
    """
    proto = file.message()
    known: dict[int, tuple[Stored, str]] = {}  # kept alive: an id is used again

    def numbers() -> Iterator[Named]:
        for place, value in stored_values(proto):
            if id(value) not in known:
                known[id(value)] = value, _digest(_parts(_numbers(value, file.tensors)))
            yield place, known[id(value)][1]

    return hash_values(numbers())


def _numbers(value: Stored, read: TensorReader) -> object:
    if isinstance(value, SparseTensorProto):
        return [read(value.values), read(value.indices), list(value.dims)]
    return read(value) if isinstance(value, TensorProto) else value
