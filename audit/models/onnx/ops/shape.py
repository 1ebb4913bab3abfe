"""Operators that move elements without changing them: Reshape, Transpose, Pad, ..."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audit.models.onnx.limits import check_elements
from audit.models.onnx.registry import Site, operator
from audit.models.onnx.values import Host, axis_of, ints, plain


@operator("Reshape")
def reshape_attribute(x: Tensor, *, shape: list[int]) -> Tensor:
    """Reshape to an attribute (up to opset 4)."""
    return _reshape(x, shape, allow_zero=False)


@operator("Reshape", since=5, host=(1,), zero_inputs=(1,))
def reshape(x: Tensor, shape: Host | Tensor, *, allowzero: int = 0) -> Tensor:
    """Reshape; -1 is inferred and 0 copies the size unless allowzero."""
    return _reshape(x, ints(shape), bool(allowzero))


def _reshape(x: Tensor, shape: list[int], allow_zero: bool) -> Tensor:
    if not allow_zero and 0 in shape:
        shape = [
            x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)
        ]
    return x.reshape(shape)


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Reshape to two axes: those before `axis`, and the rest."""
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())


@operator("Transpose")
def transpose(x: Tensor, *, perm: list[int] | None = None) -> Tensor:
    """Permute the axes; without perm, reverse them."""
    return x.permute(perm if perm is not None else list(range(x.dim()))[::-1])


@operator("Squeeze")
def squeeze_attribute(x: Tensor, *, axes: list[int] | None = None) -> Tensor:
    """Drop axes of size one (an attribute up to opset 12)."""
    return _squeeze(x, axes)


@operator("Squeeze", since=13, host=(1,), zero_inputs=(1,))
def squeeze(x: Tensor, axes: Host | Tensor | None = None) -> Tensor:
    """Drop axes of size one; all of them when none is named."""
    return _squeeze(x, None if axes is None else ints(axes))


def _squeeze(x: Tensor, axes: list[int] | None) -> Tensor:
    if axes is None:
        return x.squeeze()
    for axis in axes:
        if x.shape[axis] != 1:
            msg = f"axis {axis} has size {x.shape[axis]}, not 1"
            raise ValueError(msg)
    return x.squeeze(axes)


@operator("Unsqueeze")
def unsqueeze_attribute(x: Tensor, *, axes: list[int]) -> Tensor:
    """Insert axes of size one (an attribute up to opset 12)."""
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Unsqueeze", since=13, host=(1,), zero_inputs=(1,))
def unsqueeze(x: Tensor, axes: Host | Tensor) -> Tensor:
    """Insert axes of size one, at their places in the result."""
    return unsqueeze_attribute(x, axes=ints(axes))


@operator("Concat")
def concat_default(*tensors: Tensor, axis: int = 1) -> Tensor:
    """Join along an axis (it has a default up to opset 3)."""
    return torch.cat(tensors, axis)


@operator("Concat", since=4)
def concat(*tensors: Tensor, axis: int) -> Tensor:
    """Join along an axis."""
    return torch.cat(tensors, axis)


@operator("Split")
def split_attribute(
    x: Tensor, *, axis: int = 0, split: list[int] | None = None, site: Site
) -> tuple[Tensor, ...]:
    """Cut along an axis into parts of the given or equal sizes (up to opset 12)."""
    return _split(x, split, len(site.node.outputs), axis)


@operator("Split", since=13, host=(1,), zero_inputs=(1,))
def split(
    x: Tensor,
    sizes: Host | Tensor | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    site: Site,
) -> tuple[Tensor, ...]:
    """Cut along an axis; equal parts, the last one smaller, without sizes."""
    given = None if sizes is None else ints(sizes)
    return _split(x, given, num_outputs or len(site.node.outputs), axis)


def _split(
    x: Tensor, sizes: list[int] | None, parts: int, axis: int
) -> tuple[Tensor, ...]:
    if sizes is None:
        size = -(-x.shape[axis] // parts)
        last = x.shape[axis] - size * (parts - 1)
        sizes = [size] * (parts - 1) + [last]
    return tuple(torch.split(x, sizes, axis))


@operator("Slice")
def slice_attribute(
    x: Tensor, *, starts: list[int], ends: list[int], axes: list[int] | None = None
) -> Tensor:
    """Cut out a box given by attributes (up to opset 9)."""
    return _slice(x, starts, ends, axes, None)


@operator("Slice", since=10, host=(1, 2, 3, 4), zero_inputs=(1, 2, 3, 4))
def slice_(
    x: Tensor,
    starts: Host | Tensor,
    ends: Host | Tensor,
    axes: Host | Tensor | None = None,
    steps: Host | Tensor | None = None,
) -> Tensor:
    """Cut out a box; negative positions count from the end, steps may be negative."""
    return _slice(
        x,
        ints(starts),
        ints(ends),
        None if axes is None else ints(axes),
        None if steps is None else ints(steps),
    )


def _slice(
    x: Tensor,
    starts: list[int],
    ends: list[int],
    axes: list[int] | None,
    steps: list[int] | None,
) -> Tensor:
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index = [slice(None)] * x.dim()
    flipped = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis, size = axis_of(axis, x.dim()), x.shape[axis]
        picked = range(size)[slice_of(start, end, step, size)]
        if step < 0:
            flipped.append(axis)
            picked = picked[::-1]
        stop = picked[-1] + 1 if len(picked) else picked.start
        index[axis] = slice(picked.start, stop, abs(step))
    x = x[tuple(index)]
    return x.flip(flipped) if flipped else x


def slice_of(start: int, end: int, step: int, size: int) -> slice:
    """Return the Python slice for ONNX bounds (clamped, counted from the end)."""
    first = start + size if start < 0 else start
    last = end + size if end < 0 else end
    if step > 0:
        return slice(max(first, 0), max(last, 0), step)
    return slice(max(min(first, size - 1), 0), last if last >= 0 else None, step)


@operator("Expand", host=(1,), zero_inputs=(1,))
def expand(x: Tensor, shape: Host | Tensor) -> Tensor:
    """Broadcast to a shape; both sides may stretch."""
    target = np.broadcast_shapes(tuple(x.shape), tuple(ints(shape)))
    check_elements(target, "The result of Expand")
    return x.expand(target)


@operator("Tile", since=1, host=(1, 2), zero_inputs=(1, 2))
def tile_one_axis(x: Tensor, tiles: Host | Tensor, axis: Host | Tensor) -> Tensor:
    """Repeat along one axis (up to opset 5)."""
    repeats = [1] * x.dim()
    repeats[ints(axis)[0]] = ints(tiles)[0]
    return _tile(x, repeats)


@operator("Tile", since=6, host=(1,), zero_inputs=(1,))
def tile(x: Tensor, repeats: Host | Tensor) -> Tensor:
    """Repeat along every axis."""
    return _tile(x, ints(repeats))


def _tile(x: Tensor, repeats: list[int]) -> Tensor:
    sizes = [size * times for size, times in zip(x.shape, repeats, strict=True)]
    check_elements(sizes, "The result of Tile")
    return x.repeat(repeats)


@operator("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Move channels into blocks of pixels; mode says which end of the channels."""
    n, c, h, w = x.shape
    b, rest = blocksize, c // blocksize**2
    if mode == "DCR":
        y = x.reshape(n, b, b, rest, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, rest, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(n, rest, h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Move blocks of pixels into channels."""
    n, c, h, w = x.shape
    b = blocksize
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return blocks.permute(order).reshape(n, c * b * b, h // b, w // b)


@operator("Pad")
def pad_attribute(
    x: Tensor,
    *,
    pads: list[int] | None = None,
    paddings: list[int] | None = None,
    value: float = 0.0,
    mode: str = "constant",
) -> Tensor:
    """Pad by attributes (up to opset 10; opset 1 calls them paddings)."""
    return _pad(x, pads or paddings or [], value, list(range(x.dim())), mode)


@operator("Pad", since=11, host=(1, 2, 3), zero_inputs=(1, 3))
def pad(
    x: Tensor,
    pads: Host | Tensor,
    value: Host | Tensor | None = None,
    axes: Host | Tensor | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """Pad each axis at both ends; negative pads crop."""
    chosen = list(range(x.dim())) if axes is None else ints(axes)
    fill = 0.0 if value is None else plain(value)
    return _pad(x, ints(pads), fill, [axis_of(a, x.dim()) for a in chosen], mode)


def _pad(
    x: Tensor,
    pads: list[int],
    value: Tensor | float,
    axes: list[int],
    mode: str,
) -> Tensor:
    low, high = pads[: len(axes)], pads[len(axes) :]
    both = [(0, 0)] * x.dim()
    for axis, before, after in zip(axes, low, high, strict=True):
        both[axis] = (before, after)
    sizes = [size + sum(ends) for size, ends in zip(x.shape, both, strict=True)]
    check_elements(sizes, "The result of Pad")
    if mode == "constant":
        return _pad_constant(x, both, value)
    for axis, (before, after) in enumerate(both):
        if before or after:
            x = x.index_select(axis, _border(x, axis, before, after, mode))
    return x


def _pad_constant(
    x: Tensor, both: list[tuple[int, int]], value: Tensor | float
) -> Tensor:
    flat = [size for ends in reversed(both) for size in ends]
    if not isinstance(value, Tensor):
        return functional.pad(x, flat, value=value)
    inside = functional.pad(torch.ones_like(x, dtype=torch.bool), flat)
    return torch.where(inside, functional.pad(x, flat), value.reshape(()).to(x.dtype))


def _border(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Return which element stands at each place of the padded axis."""
    size = x.shape[axis]
    places = torch.arange(-before, size + after, device=x.device)
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places.remainder(size)
    if mode != "reflect":
        msg = f"mode '{mode}' is unknown; expected constant, edge, reflect or wrap"
        raise ValueError(msg)
    if size == 1:
        return torch.zeros_like(places)
    around = places.remainder(2 * (size - 1))
    return torch.minimum(around, 2 * (size - 1) - around)


@operator("Trilu", host=(1,), zero_inputs=(1,))
def trilu(x: Tensor, k: Host | Tensor | None = None, *, upper: int = 1) -> Tensor:
    """Keep the upper or the lower triangle of the last two axes."""
    diagonal = 0 if k is None else ints(k)[0]
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)


@operator("ReverseSequence", zero_inputs=(1,))
def reverse_sequence(
    x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Tensor:
    """Reverse the first `length` steps of each sequence of a batch."""
    moved = x.movedim((batch_axis, time_axis), (0, 1))
    steps = torch.arange(moved.shape[1], device=x.device).unsqueeze(0)
    ends = lengths.unsqueeze(1).to(torch.int64)
    index = torch.where(steps < ends, ends - 1 - steps, steps)
    index = index.reshape(index.shape + (1,) * (moved.dim() - 2)).expand(moved.shape)
    return moved.gather(1, index).movedim((0, 1), (batch_axis, time_axis))


@operator("CenterCropPad", host=(1,), zero_inputs=(1,))
def center_crop_pad(
    x: Tensor, shape: Host | Tensor, *, axes: list[int] | None = None
) -> Tensor:
    """Crop or pad with zeros around the centre to the given sizes."""
    chosen = list(range(x.dim())) if axes is None else axes
    flat = [0] * (2 * x.dim())
    for axis, size in zip(chosen, ints(shape), strict=True):
        axis = axis_of(axis, x.dim())
        missing = size - x.shape[axis]
        before = missing // 2 if missing >= 0 else -((-missing) // 2)
        place = 2 * (x.dim() - 1 - axis)
        flat[place : place + 2] = [before, missing - before]
    return functional.pad(x, flat)
