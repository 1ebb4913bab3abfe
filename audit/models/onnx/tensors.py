"""Reading the numbers of a file: embedded, sparse, or in a file beside it.

The path of an external file may not leave the model's folder, neither by `..` nor by a
symbolic link, and a tensor is read only when its bytes are all there.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from audit.errors import ModelError
from audit.models.onnx.limits import check_elements
from audit.models.onnx.values import Host

_HALF_BYTE = {TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1}
_QUARTER_BYTE = {25, 26}  # UINT2, INT2


class TensorReader:
    """Reads tensors; `folder` is where external data may lie (None: nowhere)."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def __call__(self, proto: TensorProto) -> Host:
        """Return the numbers of a tensor as an array."""
        if any(dim < 0 for dim in proto.dims):
            raise _broken(proto, f"has the shape {list(proto.dims)}")
        if proto.data_location == TensorProto.EXTERNAL:
            inline = TensorProto()
            inline.CopyFrom(proto)
            inline.ClearField("external_data")
            inline.data_location = TensorProto.DEFAULT
            inline.raw_data = self._external(proto)
            proto = inline
        self._check_bytes(proto)
        try:
            return np.asarray(numpy_helper.to_array(proto))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise _broken(proto, f"cannot be read ({error})") from error

    def sparse(self, proto: onnx.SparseTensorProto) -> Host:
        """Return a sparse tensor as a dense array."""
        shape = tuple(proto.dims)
        check_elements(shape, f"The sparse tensor '{proto.values.name}'")
        values, indices = self(proto.values), self(proto.indices)
        try:
            dense = np.zeros(shape, values.dtype)
            if indices.ndim == 1:
                dense.reshape(-1)[indices] = values
            else:
                dense[tuple(indices.T)] = values
        except (IndexError, ValueError, MemoryError) as error:
            raise _broken(proto.values, f"cannot be read ({error})") from error
        return dense

    def _check_bytes(self, proto: TensorProto) -> None:
        if not proto.HasField("raw_data"):
            check_elements(proto.dims, f"The tensor '{proto.name}'")
            return
        if proto.data_type == TensorProto.STRING:
            raise _broken(proto, "keeps strings as raw bytes")
        expected, there = byte_size(proto), len(proto.raw_data)
        if expected != there:
            raise _broken(proto, f"needs {expected} bytes and has {there}")

    def _external(self, proto: TensorProto) -> bytes:
        entries = {entry.key: entry.value for entry in proto.external_data}
        path = self._inside(proto, entries.get("location", ""))
        offset, size = _number(proto, entries, "offset"), byte_size(proto)
        length = _number(proto, entries, "length", size)
        if length != size:
            raise _broken(proto, f"needs {size} bytes and its entry says {length}")
        if path.stat().st_size < offset + size:
            raise _broken(proto, f"needs bytes up to {offset + size} of '{path.name}'")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def _inside(self, proto: TensorProto, location: str) -> Path:
        if self.folder is None:
            raise ModelError(
                f"The tensor '{proto.name}' keeps its numbers in the file '{location}'",
                "A ModelProto has no folder to look in",
                "Pass the path of the model file instead",
            )
        path = (self.folder / location.replace("\0", "")).resolve()
        if not location or "\0" in location or not path.is_relative_to(self.folder):
            raise ModelError(
                f"The tensor '{proto.name}' points to '{location}'",
                "Expected a file inside the model's own folder",
                "Do not use this model unless you know why it points there",
            )
        if not path.is_file():
            raise ModelError(
                f"The external data file '{location}' is missing",
                f"Expected it beside the model, it holds '{proto.name}'",
                "Copy it there, or export with external_data=False",
            )
        return path


def byte_size(proto: TensorProto) -> int:
    """Return how many bytes the raw data of a tensor take."""
    elements: int = prod(proto.dims)
    if proto.data_type in _HALF_BYTE:
        return (elements + 1) // 2
    if proto.data_type in _QUARTER_BYTE:
        return (elements + 3) // 4
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(proto.data_type)
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(proto, f"has the unknown type {proto.data_type}") from error
    return elements * int(np.dtype(kind).itemsize)


def _number(
    proto: TensorProto, entries: dict[str, str], key: str, default: int = 0
) -> int:
    text = entries.get(key, str(default))
    if not text.isdecimal():
        raise _broken(proto, f"has the external {key} '{text}'")
    return int(text)


def _broken(proto: TensorProto, what: str) -> ModelError:
    return ModelError(
        f"The tensor '{proto.name}' {what}",
        "Expected as many numbers as its shape says",
        "Export or download the file again",
    )
