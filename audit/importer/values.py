"""What flows through a graph, and how ONNX types map to torch and NumPy.

A value is a torch tensor, or a *host* value: a NumPy array that holds shape arithmetic
(the results of Shape and what is computed from them), strings and the constants that
operators read as plain numbers. Host values cost no torch dispatch and never carry a
derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from audit.ground.errors import UnsupportedOperator
from audit.importer.limits import check_listed

Host: TypeAlias = npt.NDArray[Any]
Value: TypeAlias = (
    "Tensor | Host | list[Value] | dict[Any, Any] | tuple[Value, ...] | None"
)

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FLOAT8 = (
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
)
_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)

TORCH_TYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.COMPLEX64: torch.complex64,
    TensorProto.COMPLEX128: torch.complex128,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: torch.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
}
E8M0 = 24  # an 8-bit power of two
# Types torch lacks travel in a wider one: (carrier, NumPy type that rounds to it).
CARRIED: dict[int, tuple[torch.dtype, type]] = {
    TensorProto.UINT4: (torch.uint8, ml_dtypes.uint4),
    TensorProto.INT4: (torch.int8, ml_dtypes.int4),
    TensorProto.FLOAT4E2M1: (torch.float32, ml_dtypes.float4_e2m1fn),
    E8M0: (torch.float32, ml_dtypes.float8_e8m0fnu),
    25: (torch.uint8, ml_dtypes.uint2),
    26: (torch.int8, ml_dtypes.int2),
}
_BITS = {  # NumPy types torch cannot read: reinterpret the same bits.
    "bfloat16": (np.int16, torch.bfloat16),
    "float8_e4m3fn": (np.uint8, torch.float8_e4m3fn),
    "float8_e4m3fnuz": (np.uint8, torch.float8_e4m3fnuz),
    "float8_e5m2": (np.uint8, torch.float8_e5m2),
    "float8_e5m2fnuz": (np.uint8, torch.float8_e5m2fnuz),
}
_CARRIERS = {np.dtype(kind).name: carrier for carrier, kind in CARRIED.values()}


@dataclass(frozen=True)
class Policy:
    """In which floating type, and where, a graph is evaluated."""

    dtype: torch.dtype | None = None
    device: torch.device | None = None

    def dtype_of(self, onnx_type: int) -> torch.dtype:
        """Return the torch type that stands for an ONNX element type."""
        if onnx_type in CARRIED:
            return CARRIED[onnx_type][0]
        if onnx_type not in TORCH_TYPES:
            raise UnsupportedOperator(
                f"Element type {onnx_type} ({_type_name(onnx_type)}) has no torch type",
                "Expected a numeric or boolean tensor",
                "Cut the graph before this node, or export the file again",
            )
        return self.cast(TORCH_TYPES[onnx_type])

    def cast(self, dtype: torch.dtype) -> torch.dtype:
        """Return the floating type in use in place of the file's own."""
        return self.dtype if self.dtype and dtype in FLOATS else dtype

    def tensor(self, array: Host) -> Tensor:
        """Copy a NumPy array into a tensor of the right type, in the right place."""
        tensor = from_numpy(array)
        return tensor.to(device=self.device, dtype=self.cast(tensor.dtype))

    def host_type(self, kind: np.dtype[Any]) -> np.dtype[Any]:
        """Return the NumPy type of a host value (bfloat16 travels as float32)."""
        if kind.kind != "f" and kind.name != "bfloat16":
            return kind
        if self.dtype is torch.bfloat16:
            return np.dtype(np.float32)
        return np.dtype(str(self.dtype).removeprefix("torch.")) if self.dtype else kind


def from_numpy(array: Host) -> Tensor:
    """Return a tensor with an array's numbers, sharing memory where torch can.

    Raises:
        UnsupportedOperator: the array holds strings, objects or a type torch lacks.
    """
    name = array.dtype.name
    if array.dtype.kind in "OUS":
        raise UnsupportedOperator(
            "A tensor of strings is used where numbers are needed",
            "Expected a numeric tensor",
            "Cut the graph before this node",
        )
    if name in _BITS:
        storage, dtype = _BITS[name]
        bits: Tensor = torch.from_numpy(np.ascontiguousarray(array).view(storage))
        return bits.view(dtype).reshape(array.shape)
    if name in _CARRIERS:
        kind = str(_CARRIERS[name]).removeprefix("torch.")
        array = array.astype(kind)
    if not array.flags.writeable or any(step < 0 for step in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise UnsupportedOperator(
            f"A tensor of the type {name} is used, which torch does not have",
            "Expected a numeric or boolean tensor",
            "Cut the graph before this node, or export the file again",
        ) from error


def round_to(value: Tensor, onnx_type: int, how: str = "up") -> Tensor:
    """Round to a type that torch lacks and return the numbers in its carrier."""
    carrier, kind = CARRIED[onnx_type]
    array = to_host(value)
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    if onnx_type == E8M0:
        rounded = numpy_helper.to_float8e8m0(array, True, how).astype(np.float32)
    elif carrier is torch.float32:
        rounded = numpy_helper.saturate_cast(array, np.dtype(kind)).astype(np.float32)
    else:  # integers wrap around, as elsewhere
        rounded = array.astype(kind).astype(np.float32)
    return torch.as_tensor(rounded, device=value.device).to(carrier)


def is_text(value: object) -> bool:
    """Return whether a value is an array of text."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "OUS"


def to_host(value: Tensor) -> Host:
    """Return a tensor's numbers as a NumPy array (no derivative passes)."""
    tensor = value.detach().cpu()
    if tensor.is_floating_point() and tensor.dtype not in _NUMPY_FLOATS:
        tensor = tensor.to(torch.float32)
    return np.asarray(tensor.numpy())


def listed(value: Tensor | Host) -> list[Any]:
    """Return the elements as a list, each an object of Python's."""
    check_listed(value.shape, "A list of numbers")
    items: list[Any] = value.reshape(-1).tolist()
    return items


def ints(value: Value | Sequence[int]) -> list[int]:
    """Return the integers of a one-dimensional operand (axes, sizes, ...)."""
    if isinstance(value, Tensor | np.ndarray):
        return [int(item) for item in listed(value)]
    return [int(item) for item in value or ()]  # type: ignore[arg-type]


def floats(value: Value | Sequence[float]) -> list[float]:
    """Return the numbers of a one-dimensional operand (scales, ...)."""
    if isinstance(value, Tensor | np.ndarray):
        return [float(item) for item in listed(value)]
    return [float(item) for item in value or ()]  # type: ignore[arg-type]


def integer(value: Value) -> int:
    """Return the one integer an operand holds."""
    return ints(value)[0]


def plain(value: Tensor | Host) -> Tensor | float | int | bool:
    """Return a host scalar as a Python number, and a tensor as it is."""
    if isinstance(value, np.ndarray):
        return value.reshape(-1)[0].item()  # type: ignore[no-any-return]
    return value


def axis_of(axis: int, rank: int) -> int:
    """Return an axis counted from the front; ONNX allows -rank..rank-1."""
    if not -max(rank, 1) <= axis < max(rank, 1):
        msg = f"axis {axis} is out of range for rank {rank}"
        raise IndexError(msg)
    return axis % rank if rank else 0


_UNBOUNDED = (2**31 - 1, 2**63 - 1)


def slice_of(start: int, end: int, step: int, size: int) -> slice:
    """Return the Python slice for ONNX bounds (clamped, counted from the end).

    A start beyond the front is 0 in both directions, unlike NumPy's. The largest end is
    the end of the axis in both, as onnxruntime reads it; the standard says it of steps
    forward.
    """
    first = start + size if start < 0 else start
    last = end + size if end < 0 else end
    if step < 0 and end in _UNBOUNDED:
        last = -1
    if step > 0:
        return slice(max(first, 0), max(last, 0), step)
    return slice(max(min(first, size - 1), 0), last if last >= 0 else None, step)


def _type_name(onnx_type: int) -> str:
    names = TensorProto.DataType
    return names.Name(onnx_type) if onnx_type in names.values() else "unknown"
