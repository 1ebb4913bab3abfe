"""The largest element of each window, and its place.

torch looks for the maximum of a window, and for its place, cell by cell. Here the
maximum of a window is that of its cells along one axis after the other, each a maximum
of slices of the image: the same bytes in a tenth of the time.

With places, which a derivative asks for, the cells of a window come one after the other
in the order of memory, and one takes over where it is larger than all before it: of
equal ones the first stays, as in torch. Its distance from the window's first cell grows
in that order, so the place is a maximum too, in a narrow type. Where a maximum is NaN,
torch says where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from audit.importer.ops.windows import Windows
from audit.importer.products import is_bare, is_recorded

_MAX: tuple[Callable[..., Tensor], ...] = (
    functional.max_pool1d,
    functional.max_pool2d,
    functional.max_pool3d,
)


def largest(x: Tensor, place: Windows, positions: bool) -> tuple[Tensor, Tensor | None]:
    """Return the maxima, and on request the place of each in its plane of x."""
    if x.is_cpu and is_bare():
        if not positions:
            return _by_slices(place.pad(x, -torch.inf), place), None
        if _is_plain(x, place):
            return _with_places(x, place)
    if not positions and x.requires_grad and is_recorded() and _is_plain(x, place):
        made: Tensor = _Largest.apply(x, place)  # type: ignore[no-untyped-call]
        return made, None
    run = _MAX[len(place.kernel) - 1]
    inner = place.symmetric and all(
        2 * pad <= k for pad, k in zip(place.padding, place.kernel, strict=True)
    )
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
        x = reduce(torch.maximum, _cells(x, place, axis, axis - first))
    return x


def _cells(x: Tensor, place: Windows, axis: int, own: int) -> list[Tensor]:
    """Return the cells of all windows along an axis, which is one `own` of theirs."""
    k, s, d = (p[own] for p in (place.kernel, place.strides, place.dilations))
    reach = (x.shape[axis] - (k - 1) * d - 1) // s * s + 1
    cells = (x.narrow(axis, j * d, reach) for j in range(k))
    return [cell[(slice(None),) * axis + (slice(None, None, s),)] for cell in cells]


def _is_plain(x: Tensor, place: Windows) -> bool:
    """Whether windows are of planes, of some cells each and of none beside them."""
    inside = place.symmetric and not any(place.padding) and max(place.kernel) > 1
    return inside and len(place.kernel) == 2 and x.dim() == 4 and x.is_cpu


def _with_places(x: Tensor, place: Windows) -> tuple[Tensor, Tensor]:
    """Return the maxima [N, C, *] of windows, and their places in the planes of x.

    Args:
        x: [N, C, H, W], of floats.
        place: plain windows.
    """
    width, spread = x.shape[3], place.dilations
    best, *others = _each_cell(x, place)
    small = torch.int16 if x.shape[2] * width < 2**15 else torch.int32
    further = torch.zeros_like(best, dtype=small)
    for j, cell in enumerate(others, 1):
        row, column = divmod(j, place.kernel[1])
        distance = row * spread[0] * width + column * spread[1]
        larger = (cell > best).to(small)
        further = torch.maximum(further, larger.mul_(distance))
        best = torch.maximum(best, cell)
    if not bool(torch.isfinite(best.sum())) and bool(best.isnan().any()):
        given = (place.kernel, place.strides, 0, place.dilations)
        return torch.ops.aten.max_pool2d_with_indices(x, *given)  # type: ignore[no-any-return]
    rows, columns = (
        torch.arange(count) * step
        for count, step in zip(best.shape[2:], place.strides, strict=True)
    )
    return best, further + ((rows * width).unsqueeze(1) + columns)


def _each_cell(x: Tensor, place: Windows) -> Iterator[Tensor]:
    """Yield the first cells of all windows, the second ones, …, each by themselves."""
    last = torch.channels_last
    turned = x.is_contiguous(memory_format=last) and not x.is_contiguous()
    kind = last if turned else torch.contiguous_format
    for row in _cells(x, place, 2, 0):
        for cell in _cells(row, place, 3, 1):
            yield cell.contiguous(memory_format=kind)


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


class _Largest(Function):
    """The maxima of windows of planes; their derivatives are torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, place: Windows) -> Tensor:  # noqa: ANN401
        """Return the maxima."""
        y, index = _with_places(x, place)
        ctx.save_for_backward(x, index)
        ctx.place = place
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """Put each cotangent at its maximum's place."""
        x, index = ctx.saved_tensors
        place = ctx.place
        given = (place.kernel, place.strides, (0, 0), place.dilations, False)
        back = torch.ops.aten.max_pool2d_with_indices_backward
        return back(g, x, *given, index), None
