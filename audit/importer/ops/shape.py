"""Operators that move elements without changing them: Reshape, Transpose, Pad, ..."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audit.importer.limits import check_elements
from audit.importer.registry import operator
from audit.importer.values import Host, ints


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
