"""Shape arithmetic in NumPy: the operators between Shape and Reshape.

Exporters write a dozen tiny integer nodes for each dynamic reshape. On arrays they
cost no torch dispatch, and the plan answers at once when their inputs did not change.
Each function here means the same as its twin on tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from onnx import TensorProto, helper
from torch import Tensor

from audit.importer.integers import check_divisor, check_quotient, steps_between
from audit.importer.limits import check_elements
from audit.importer.ops.casting import written
from audit.importer.registry import Site, host_operator
from audit.importer.values import Host, axis_of, ints, slice_of


@host_operator("Shape")
def shape(x: Tensor | Host, *, start: int = 0, end: int | None = None) -> Host:
    """The sizes of x."""
    return np.array(x.shape[start:end], np.int64)


@host_operator("Size")
def size(x: Tensor | Host) -> Host:
    """The number of elements of x."""
    return np.array(int(np.prod(x.shape, dtype=np.int64)), np.int64)


def _binary(function: Callable[..., Host], a: Host, b: Host) -> Host:
    with np.errstate(all="ignore"):  # sums and products wrap around, as in torch
        return np.asarray(function(a, b))


def _unary(function: Callable[[Host], Host], x: Host) -> Host:
    with np.errstate(all="ignore"):
        return np.asarray(function(x))


def _divide(a: Host, b: Host) -> Host:
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    check_quotient(a, b)
    quotient = np.floor_divide(a, b)
    inexact = quotient * b != a
    return np.asarray(quotient + (inexact & ((a < 0) != (b < 0))), a.dtype)


BINARY: dict[str, Callable[..., Host]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
}
UNARY: dict[str, Callable[[Host], Host]] = {
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Floor": np.floor,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Sqrt": np.sqrt,
}
ELEMENTWISE = {*BINARY, *UNARY, "Mod", "Max", "Min", "Where"}
"""Their results have the shape to which their operands broadcast."""
for _name, _function in BINARY.items():
    host_operator(_name)(partial(_binary, _function))
for _name, _one in UNARY.items():
    host_operator(_name)(partial(_unary, _one))


@host_operator("Mod")
def mod(a: Host, b: Host, *, fmod: int = 0) -> Host:
    """Remainder with the sign of b, or with fmod=1 of a."""
    if a.dtype.kind in "iu":
        check_divisor(b)
    return _binary(np.fmod if fmod else np.mod, a, b)


@host_operator("Max")
def max_(*arrays: Host) -> Host:
    """Largest, elementwise."""
    result = arrays[0]
    for array in arrays[1:]:
        result = np.maximum(result, array)
    return np.asarray(result)


@host_operator("Min")
def min_(*arrays: Host) -> Host:
    """Smallest, elementwise."""
    result = arrays[0]
    for array in arrays[1:]:
        result = np.minimum(result, array)
    return np.asarray(result)


@host_operator("Identity")
def identity(x: Host) -> Host:
    """Hand on."""
    return x


@host_operator("Cast")
def cast(
    x: Host, *, to: int, saturate: int = 1, round_mode: str = "up", site: Site
) -> Host:
    """Convert, in the floating type the graph is evaluated in."""
    if to == TensorProto.STRING:
        return x if x.dtype.kind in "OUS" else written(x)
    kind = site.policy.host_type(helper.tensor_dtype_to_np_dtype(to))
    return _unary(lambda values: values.astype(kind), x)


@host_operator("Gather")
def gather(x: Host, index: Host, *, axis: int = 0) -> Host:
    """Pick along an axis."""
    return np.asarray(np.take(x, index, axis))


@host_operator("Concat")
def concat(*arrays: Host, axis: int = 1) -> Host:
    """Join along an axis."""
    return np.concatenate(arrays, axis)


@host_operator("Unsqueeze")
def unsqueeze(
    x: Host, axes_: Host | None = None, *, axes: list[int] | None = None
) -> Host:
    """Insert axes of size one."""
    chosen = axes if axes_ is None else ints(axes_)
    return np.expand_dims(x, tuple(chosen or ()))


@host_operator("Squeeze")
def squeeze(
    x: Host, axes_: Host | None = None, *, axes: list[int] | None = None
) -> Host:
    """Drop axes of size one."""
    chosen = axes if axes_ is None else ints(axes_)
    return np.squeeze(x, None if chosen is None else tuple(chosen))


@host_operator("Slice")
def slice_(
    x: Host,
    starts_: Host | None = None,
    ends_: Host | None = None,
    axes_: Host | None = None,
    steps_: Host | None = None,
    *,
    starts: list[int] | None = None,
    ends: list[int] | None = None,
    axes: list[int] | None = None,
) -> Host:
    """Cut out a box."""
    first = starts if starts_ is None else ints(starts_)
    last = ends if ends_ is None else ints(ends_)
    first, last = first or [], last or []
    chosen = (axes if axes_ is None else ints(axes_)) or list(range(len(first)))
    steps = [1] * len(first) if steps_ is None else ints(steps_)
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(first, last, chosen, steps, strict=True):
        place = axis_of(axis, x.ndim)
        index[place] = slice_of(start, end, step, x.shape[place])
    return x[tuple(index)]


@host_operator("Reshape")
def reshape(x: Host, shape: Host, *, allowzero: int = 0) -> Host:
    """Reshape; zero copies a size."""
    sizes = ints(shape)
    if not allowzero:
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return x.reshape(sizes)


@host_operator("Flatten")
def flatten(x: Host, *, axis: int = 1) -> Host:
    """Join the axes before one, and those from it on."""
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(rows, x.size // rows if rows else 0)


@host_operator("Where")
def where(condition: Host, a: Host, b: Host) -> Host:
    """Choose elementwise."""
    return np.where(condition, a, b)


@host_operator("ConstantOfShape")
def constant_of_shape(shape: Host, *, value: Host | None = None, site: Site) -> Host:
    """One number everywhere."""
    sizes = ints(shape)
    check_elements(sizes, "The result of ConstantOfShape")
    one = np.zeros(1, np.float32) if value is None else value
    return np.full(sizes, one.reshape(-1)[0], site.policy.host_type(one.dtype))


@host_operator("Expand")
def expand(x: Host, shape: Host) -> Host:
    """Broadcast."""
    target = np.broadcast_shapes(x.shape, tuple(ints(shape)))
    check_elements(target, "The result of Expand")
    return np.broadcast_to(x, target).copy()


@host_operator("Range")
def range_(start: Host, limit: Host, delta: Host, *, stash_type: int = 1) -> Host:
    """From start to before limit."""
    first, last, step = (value.reshape(-1)[0].item() for value in (start, limit, delta))
    count = steps_between(first, last, step)
    check_elements([count], "The result of Range")
    return np.asarray(first + np.arange(count) * step, start.dtype)


@host_operator("ReduceProd")
def reduce_prod(
    x: Host,
    axes_: Host | None = None,
    *,
    axes: list[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Host:
    """Product over axes."""
    chosen = axes if axes_ is None else ints(axes_)
    if not chosen and noop_with_empty_axes:
        return x
    over = tuple(chosen) if chosen else None
    return np.asarray(np.prod(x, axis=over, keepdims=bool(keepdims), dtype=x.dtype))


@host_operator("Transpose")
def transpose(x: Host, *, perm: list[int] | None = None) -> Host:
    """Permute axes."""
    return np.asarray(np.transpose(x, perm))
