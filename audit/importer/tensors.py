"""Reading the numbers of a file: embedded, sparse, or in a file beside it.

A tensor is read only when its bytes are all there. Which files beside a model may be
read, `external` says.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from audit.ground.errors import ModelError, cause
from audit.ground.storage import StoredFile
from audit.importer.external import ExternalFiles
from audit.importer.limits import check_elements
from audit.importer.values import Host

_HALF_BYTE = {TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1}
_QUARTER_BYTE = {25, 26}  # UINT2, INT2
_DIGITS = 20  # of a number of 64 bits


def text(name: str | bytes) -> str:
    """Return a name as text; protobuf hands on bytes that are not UTF-8."""
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


class TensorReader:
    """Reads tensors, and whatever files a model names: nothing else opens one.

    Args:
        files: those beside the model; None where it has none.
    """

    def __init__(self, files: ExternalFiles | None) -> None:
        self._files = files or ExternalFiles(None)

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The external files that tensors were read from so far."""
        return self._files.found

    def __call__(self, proto: TensorProto) -> Host:
        """Return the numbers of a tensor as an array."""
        proto = self.inline(proto)
        try:
            return np.asarray(numpy_helper.to_array(proto))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise _broken(proto, f"cannot be read ({cause(error)})") from error

    def inline(self, proto: TensorProto) -> TensorProto:
        """Return a tensor whose numbers are in it, as many as its shape says.

        Raises:
            ModelError: they are not all there, or where they may not be.
        """
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
        return proto

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
            raise _broken(proto.values, f"cannot be read ({cause(error)})") from error
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

    def file_of(self, proto: TensorProto) -> StoredFile:
        """Return the file that an external tensor is in.

        Raises:
            ModelError: it is not there, or may not be read.
        """
        return self._files.find(_entries(proto).get("location", ""), text(proto.name))

    def _external(self, proto: TensorProto) -> bytes:
        entries = _entries(proto)
        offset, size = _number(proto, entries, "offset"), byte_size(proto)
        length = _number(proto, entries, "length", size)
        if length != size:
            raise _broken(proto, f"needs {size} bytes and its entry says {length}")
        place = entries.get("location", "")
        return self._files.read(place, offset, size, text(proto.name))


def _entries(proto: TensorProto) -> dict[str, str]:
    """Return what a tensor says of where its numbers are."""
    entries = {text(entry.key): text(entry.value) for entry in proto.external_data}
    if len(entries) != len(proto.external_data):
        raise _broken(proto, "says twice where its numbers are")
    return entries


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
    said = entries.get(key, str(default))
    if not (said.isdecimal() and said.isascii() and len(said) < _DIGITS):
        raise _broken(proto, f"has the external {key} '{said[:40]}'")
    return int(said)


def _broken(proto: TensorProto, what: str) -> ModelError:
    return ModelError(
        f"The tensor '{proto.name}' {what}",
        "Expected as many numbers as its shape says",
        "Export or download the file again",
    )
