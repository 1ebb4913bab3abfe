"""Joining and cutting: Concat, Split, Slice."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.limits import check_elements, check_trips
from audit.importer.registry import Site, operator
from audit.importer.values import Host, axis_of, ints, slice_of


@operator("Concat", bounded=True)
def concat_default(*tensors: Tensor, axis: int = 1) -> Tensor:
    """Join along an axis (it has a default up to opset 3)."""
    return concat(*tensors, axis=axis)


@operator("Concat", since=4, bounded=True)
def concat(*tensors: Tensor, axis: int) -> Tensor:
    """Join along an axis."""
    check_elements([sum(part.numel() for part in tensors)], "The result of Concat")
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
        check_trips(parts, "Split")
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
