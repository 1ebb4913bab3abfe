"""Operators that pick or place elements by index: Gather, Scatter, OneHot, NonZero."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audit.importer.limits import check_elements
from audit.importer.registry import operator
from audit.importer.values import Host, axis_of, from_numpy, integer


def wrapped(index: Tensor | Host, size: int | Tensor, like: Tensor) -> Tensor:
    """Return indices, beside `like`, with the negative ones counted from the end."""
    if isinstance(index, np.ndarray):
        whole = index.astype(np.int64, copy=False)
        if (whole < 0).any():
            whole = np.where(whole < 0, whole + size, whole)
        return from_numpy(whole).to(like.device)
    index = index.to(torch.int64)
    return torch.where(index < 0, index + size, index)


@operator("Gather", host=(1,), zero_inputs=(1,))
def gather(x: Tensor, index: Tensor | Host, *, axis: int = 0) -> Tensor:
    """Pick slices along an axis; the axes of the index take its place."""
    axis = axis_of(axis, x.dim())
    if isinstance(index, np.ndarray) and not index.ndim:
        return x.select(axis, int(index))
    flat = wrapped(index, x.shape[axis], x).reshape(-1)
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, flat).reshape(shape)


@operator("GatherElements", host=(1,), zero_inputs=(1,))
def gather_elements(x: Tensor, index: Tensor | Host, *, axis: int = 0) -> Tensor:
    """Pick one element for each element of the index, along an axis."""
    axis = axis_of(axis, x.dim())
    return x.gather(axis, wrapped(index, x.shape[axis], x))


@operator("GatherND", host=(1,), zero_inputs=(1,))
def gather_nd(x: Tensor, index: Tensor | Host, *, batch_dims: int = 0) -> Tensor:
    """Pick the slices that the last axis of the index points at."""
    depth = index.shape[-1]
    batch = x.shape[:batch_dims]
    flat = x.reshape(*batch, -1, *x.shape[batch_dims + depth :])
    place = _flat_index(index, x.shape[batch_dims : batch_dims + depth], x)
    if not batch_dims:
        picked = flat.index_select(0, place.reshape(-1))
        return picked.reshape(*index.shape[:-1], *x.shape[depth:])
    rows, tail = batch.numel(), x.shape[batch_dims + depth :]
    flat = flat.reshape(rows, -1, *tail)
    place = place.reshape(rows, -1)
    place = place.reshape(*place.shape, *(1,) * len(tail)).expand(-1, -1, *tail)
    picked = flat.gather(1, place)
    return picked.reshape(*index.shape[:-1], *tail)


def _flat_index(index: Tensor | Host, sizes: torch.Size, like: Tensor) -> Tensor:
    """Return the row-major position that each last-axis tuple names.

    A tuple outside the sizes becomes a position that torch refuses.
    """
    strides = [sizes[axis + 1 :].numel() for axis in range(len(sizes))]
    if isinstance(index, np.ndarray):
        ends = np.array(sizes)
        array = np.where(index < 0, index + ends, index)
        inside = ((array >= 0) & (array < ends)).all(-1)
        flat = np.where(inside, array @ np.array(strides, np.int64), sizes.numel())
        return from_numpy(flat).to(like.device)
    limits = torch.tensor(sizes, device=like.device)
    whole = wrapped(index, limits, like)
    outside = ((whole < 0) | (whole >= limits)).any(-1)
    place = (whole * torch.tensor(strides, device=like.device)).sum(-1)
    return torch.where(outside, sizes.numel(), place)


REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("Scatter", "ScatterElements", host=(1,), zero_inputs=(1,))
def scatter_elements(
    x: Tensor,
    index: Tensor | Host,
    updates: Tensor,
    *,
    axis: int = 0,
    reduction: str = "none",
) -> Tensor:
    """Place one update for each element of the index, along an axis."""
    axis = axis_of(axis, x.dim())
    place = wrapped(index, x.shape[axis], x)
    if reduction == "none":
        return x.scatter(axis, place, updates)
    if reduction == "add":
        return x.scatter_add(axis, place, updates)
    return x.scatter_reduce(axis, place, updates, REDUCTIONS[reduction])


@operator("ScatterND", host=(1,), zero_inputs=(1,))
def scatter_nd(
    x: Tensor, index: Tensor | Host, updates: Tensor, *, reduction: str = "none"
) -> Tensor:
    """Place slices where the last axis of the index points."""
    depth = index.shape[-1]
    tail = x.shape[depth:]
    flat = x.reshape(-1, *tail)
    place = _flat_index(index, x.shape[:depth], x).reshape(-1)
    rows = updates.reshape(-1, *tail)
    if reduction == "none":
        result = flat.index_copy(0, place, rows)
    elif reduction == "add":
        result = flat.index_add(0, place, rows)
    else:
        places = place.reshape(-1, *(1,) * len(tail)).expand(rows.shape)
        result = flat.scatter_reduce(0, places, rows, REDUCTIONS[reduction])
    return result.reshape(x.shape)


@operator("OneHot", host=(1,), zero_inputs=(0, 1))
def one_hot(
    index: Tensor, depth: Host | Tensor, values: Tensor, *, axis: int = -1
) -> Tensor:
    """values[1] where the index is, values[0] elsewhere, along a new axis."""
    size = integer(depth)
    check_elements((*index.shape, size), "The result of OneHot")
    places = torch.arange(size, device=index.device)
    where = axis % (index.dim() + 1)
    shape = [1] * (index.dim() + 1)
    shape[where] = size
    hot = wrapped(index, size, index).unsqueeze(where) == places.reshape(shape)
    return torch.where(hot, values[1], values[0])


@operator("NonZero", zero_derivative=True)
def non_zero(x: Tensor) -> Tensor:
    """Indices of the non-zero elements, one row for each axis."""
    if not x.dim():
        return torch.zeros(1, int(x != 0), dtype=torch.int64, device=x.device)
    check_elements((x.dim(), int(torch.count_nonzero(x))), "The result of NonZero")
    return torch.nonzero(x).T


@operator("Compress", zero_inputs=(1,))
def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """Keep the slices where the condition holds."""
    x = x.reshape(-1) if axis is None else x
    index = torch.nonzero(condition).reshape(-1)
    return x.index_select(axis or 0, index)


@operator("Unique", zero_outputs=(1, 2, 3))
def unique(
    x: Tensor,
    *,
    axis: int | None = None,
    sorted: int = 1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distinct slices, first places, the way back, and counts.

    The derivative of a distinct value goes to its first place.
    """
    along = 0 if axis is None else axis_of(axis, x.dim())
    flat = x.reshape(-1) if axis is None else x
    _, inverse, counts = torch.unique(
        flat.detach(), sorted=True, return_inverse=True, return_counts=True, dim=along
    )
    inverse = inverse.reshape(-1)
    size = flat.shape[along]
    places = torch.arange(size, device=x.device)
    first = torch.full_like(counts, size).scatter_reduce(0, inverse, places, "amin")
    if not sorted:
        order = torch.argsort(first)
        first, counts = first[order], counts[order]
        inverse = torch.argsort(order)[inverse]
    return flat.index_select(along, first), first, inverse, counts


@operator("TensorScatter", zero_inputs=(2,))
def tensor_scatter(
    past: Tensor,
    update: Tensor,
    starts: Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Tensor:
    """Write a block into a cache, for each sample at its own place."""
    axis = axis_of(axis, past.dim())
    past_, update_ = past.movedim(axis, 1), update.movedim(axis, 1)
    steps = torch.arange(update_.shape[1], device=past.device).unsqueeze(0)
    if starts is not None:
        steps = steps + starts.reshape(-1, 1).to(torch.int64)
    if mode == "circular":
        steps = steps.remainder(past_.shape[1])
    steps = steps.expand(past.shape[0], -1)
    index = steps.reshape(*steps.shape, *(1,) * (past.dim() - 2)).expand(update_.shape)
    return past_.scatter(1, index, update_).movedim(1, axis)
