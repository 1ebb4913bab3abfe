"""Pooling: average, maximum, Lp, global, and MaxUnpool.

torch looks for the maximum of a window, and for its place, cell by cell. Where no
derivative asks for the place, the maximum of a window is that of its cells along one
axis after the other, each a maximum of slices of the image: the same bytes in a tenth
of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_elements
from audit.importer.ops.reduction import lp_norm
from audit.importer.ops.windows import Windows, column_major, windows
from audit.importer.products import is_bare
from audit.importer.registry import Site, operator
from audit.importer.values import Host, ints

_MAX: tuple[Callable[..., Tensor], ...] = (
    functional.max_pool1d,
    functional.max_pool2d,
    functional.max_pool3d,
)


@operator("AveragePool")
def average_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Mean of each window; padding counts only with count_include_pad."""
    kernel = tuple(kernel_shape)
    size = tuple(x.shape[2:])
    place = windows(size, kernel, strides, dilations, pads, auto_pad, ceil_mode)
    axes = tuple(range(-len(kernel), 0))
    total = place.views(place.pad(x, 0.0)).sum(axes)
    if not any(place.extra) and (count_include_pad or not any(map(any, place.pads))):
        return total / prod(kernel)
    return total / _counts(x, place, bool(count_include_pad)).to(x.dtype)


def _counts(x: Tensor, place: Windows, with_pads: bool) -> Tensor:
    """Return how many cells each window averages over."""
    ones = torch.ones((1, 1, *x.shape[2:]), device=x.device)
    if with_pads:
        flat: list[int] = []
        for ends in place.pads:
            flat = [*ends, *flat]
        ones = functional.pad(ones, flat, value=1.0)
        bare = Windows(
            place.kernel,
            place.strides,
            place.dilations,
            ((0, 0),) * len(place.kernel),
            place.extra,
        )
        return bare.views(bare.pad(ones, 0.0)).sum(tuple(range(-len(place.kernel), 0)))
    return place.views(place.pad(ones, 0.0)).sum(tuple(range(-len(place.kernel), 0)))


@operator("MaxPool", zero_outputs=(1,))
def max_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
    site: Site,
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest element of each window and, on request, its flat position in x."""
    kernel, size = tuple(kernel_shape), tuple(x.shape[2:])
    place = windows(size, kernel, strides, dilations, pads, auto_pad, ceil_mode)
    check_elements((*x.shape[:2], *place.counts(size)), "The result of MaxPool")
    real = x if x.is_floating_point() else x.to(torch.float64)
    y, index = _largest(real, place, positions=site.wants(1))
    y = y.to(x.dtype)
    if index is None:
        return y
    index = column_major(index, size) if storage_order else index
    return y, index + _offsets(x)


def _largest(
    x: Tensor, place: Windows, positions: bool
) -> tuple[Tensor, Tensor | None]:
    """Pool, padding beforehand where torch's own padding does not do."""
    run = _MAX[len(place.kernel) - 1]
    inner = place.symmetric and all(
        2 * pad <= k for pad, k in zip(place.padding, place.kernel, strict=True)
    )
    if not positions and x.is_cpu and is_bare():
        return _by_slices(place.pad(x, -torch.inf), place), None
    padded = x if inner else place.pad(x, -torch.inf)
    padding = place.padding if inner else (0,) * len(place.kernel)
    arguments = (padded, place.kernel, place.strides, padding, place.dilations)
    if not positions:
        return run(*arguments), None
    y, index = run(*arguments, return_indices=True)
    return y, _positions(index, x, padded, place)


def _by_slices(x: Tensor, place: Windows) -> Tensor:
    """Return the maxima of windows of a padded image, an axis at a time."""
    first = x.dim() - len(place.kernel)
    for axis in range(first, x.dim()):
        sizes = (place.kernel, place.strides, place.dilations)
        k, s, d = (part[axis - first] for part in sizes)
        reach = (x.shape[axis] - (k - 1) * d - 1) // s * s + 1
        cells = [x.narrow(axis, j * d, reach) for j in range(k)]
        x = reduce(torch.maximum, (_every(cell, axis, s) for cell in cells))
    return x


def _every(x: Tensor, axis: int, step: int) -> Tensor:
    return x[(slice(None),) * axis + (slice(None, None, step),)]


def _positions(index: Tensor, x: Tensor, padded: Tensor, place: Windows) -> Tensor:
    """Turn positions in the padded plane into positions in the plane of x."""
    if padded is x:
        return index
    result, scale = torch.zeros_like(index), 1
    rest = index
    for axis in reversed(range(len(place.kernel))):
        size = padded.shape[2 + axis]
        result = result + (rest % size - place.pads[axis][0]) * scale
        rest, scale = rest // size, scale * x.shape[2 + axis]
    return result


def _offsets(x: Tensor) -> Tensor:
    """Return where each plane starts in the flattened x."""
    planes = torch.arange(x.shape[0] * x.shape[1], device=x.device)
    offsets = planes * x.shape[2:].numel()
    return offsets.reshape(*x.shape[:2], *(1,) * (x.dim() - 2))


@operator("LpPool")
def lp_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    p: float = 2,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Lp norm of each window."""
    kernel = tuple(kernel_shape)
    size = tuple(x.shape[2:])
    place = windows(size, kernel, strides, dilations, pads, auto_pad, ceil_mode)
    views = place.views(place.pad(x, 0.0))
    return lp_norm(views, p, tuple(range(-len(kernel), 0)))


def _spatial(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


@operator("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """Mean over every spatial axis."""
    return x.mean(_spatial(x), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    """Largest element over the spatial axes."""
    return x.amax(_spatial(x), keepdim=True)


@operator("GlobalLpPool")
def global_lp_pool(x: Tensor, *, p: float = 2) -> Tensor:
    """Lp norm over the spatial axes."""
    return lp_norm(x, p, _spatial(x), keep=True)


@operator("MaxUnpool", host=(2,), zero_inputs=(1, 2))
def max_unpool(
    x: Tensor,
    index: Tensor,
    output_shape: Host | Tensor | None = None,
    *,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Put maxima back at their places among zeros."""
    rank = len(kernel_shape)
    steps, ends = strides or [1] * rank, pads or [0] * (2 * rank)
    natural = [
        (n - 1) * s + k - ends[i] - ends[i + rank]
        for i, (n, s, k) in enumerate(
            zip(x.shape[2:], steps, kernel_shape, strict=True)
        )
    ]
    natural = [*x.shape[:2], *natural]
    shape = natural if output_shape is None else ints(output_shape)
    for sizes in (natural, shape):
        check_elements(sizes, "The result of MaxUnpool")
    empty = x.new_zeros(prod(natural))
    result = empty.scatter(0, index.reshape(-1), x.reshape(-1)).reshape(natural)
    flat: list[int] = []
    for now, then in zip(natural, shape, strict=True):
        flat = [0, then - now, *flat]
    return functional.pad(result, flat)
