"""Pad and CenterCropPad."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_elements
from audit.importer.registry import operator
from audit.importer.values import Host, axis_of, ints, plain


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
    growth = sorted(range(x.dim()), key=lambda axis: sum(both[axis]))
    for axis in growth:  # what is cropped first, so that nothing on the way is larger
        before, after = both[axis]
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


@operator("CenterCropPad", host=(1,), zero_inputs=(1,))
def center_crop_pad(
    x: Tensor, shape: Host | Tensor, *, axes: list[int] | None = None
) -> Tensor:
    """Crop or pad with zeros around the centre to the given sizes."""
    chosen = list(range(x.dim())) if axes is None else axes
    flat, sizes = [0] * (2 * x.dim()), list(x.shape)
    for axis, size in zip(chosen, ints(shape), strict=True):
        axis = axis_of(axis, x.dim())
        missing = size - x.shape[axis]
        before = missing // 2 if missing >= 0 else -((-missing) // 2)
        place = 2 * (x.dim() - 1 - axis)
        flat[place : place + 2] = [before, missing - before]
        sizes[axis] = size
    check_elements(sizes, "The result of CenterCropPad")
    return functional.pad(x, flat)
