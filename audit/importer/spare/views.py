"""What makes an operand of values that are there: the calls of `assembly`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from audit.importer.spare.numbering import Named


def shaper(source: Named, value: Named) -> Callable[[Tensor], Tensor]:
    """Return what gives a value's shape to the same numbers in the same order."""
    if source.names.shape == value.names.shape and source.axis == value.axis:
        return _same
    assert source.axis is not None
    assert value.axis is not None
    sizes = [s for k, s in enumerate(value.names.shape) if k != value.axis]
    return partial(_shaped, source.axis, value.axis, tuple(sizes))


def _same(x: Tensor) -> Tensor:
    return x


def _shaped(before: int, after: int, sizes: tuple[int, ...], x: Tensor) -> Tensor:
    x = x.movedim(before, 0) if before else x
    x = x.reshape(len(x), *sizes)
    return x.movedim(0, after) if after else x


def stretch(
    axis: int, start: int, length: int, shaped: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """Return a stretch of an axis, shaped."""
    return shaped(x.narrow(axis, start, length))


def unbound(axis: int, x: Tensor) -> tuple[Tensor, ...]:
    """Return all slices along an axis."""
    return x.unbind(axis)


def one_of(
    axis: int,
    place: int,
    shaped: Callable[[Tensor], Tensor],
    slices: tuple[Tensor, ...],
) -> Tensor:
    """Return one of some slices, shaped."""
    return shaped(slices[place].unsqueeze(axis))


def picked(
    axis: int, index: Tensor, shaped: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """Return numbers picked from a row, shaped."""
    flat = (x.movedim(axis, 0) if axis else x).flatten(1)
    return shaped(flat.index_select(1, index))


def expanded(sizes: tuple[int, ...], x: Tensor) -> Tensor:
    """Return a value repeated to some sizes, −1 for as it is."""
    return x.expand(sizes)


def repeated(axis: int, rows: int, x: Tensor) -> Tensor:
    """Return a constant for so many rows."""
    sizes = list(x.shape)
    sizes[axis] = rows
    return x.expand(sizes)


def cat(axis: int, *parts: Tensor) -> Tensor:
    """Return values one after the other."""
    return torch.cat(parts, dim=axis)
