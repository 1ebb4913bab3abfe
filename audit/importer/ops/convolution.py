"""Conv, ConvTranspose and Col2Im.

torch takes a convolution in float64 as a product for each image: its windows, as
columns, times the weights. Where an image has few windows, as deep in a network, such a
product is all overhead; the windows of many images make one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_elements, check_temporary
from audit.importer.ops.windows import Windows, windows
from audit.importer.products import is_bare
from audit.importer.registry import operator
from audit.importer.values import Host, ints

_CONV: tuple[Callable[..., Tensor], ...] = (
    functional.conv1d,
    functional.conv2d,
    functional.conv3d,
)
_TRANSPOSED: tuple[Callable[..., Tensor], ...] = (
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)
_FEW = 16  # windows of an image
_TOGETHER = 2**18  # numbers in the columns of images that are taken at a time


def _by_rank(
    table: tuple[Callable[..., Tensor], ...], rank: int
) -> Callable[..., Tensor]:
    if not 1 <= rank <= len(table):
        msg = f"{rank} spatial axes; expected 1, 2 or 3"
        raise ValueError(msg)
    return table[rank - 1]


@operator("Conv", bounded=True)
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Cross-correlation over 1, 2 or 3 spatial axes."""
    kernel = tuple(weight.shape[2:])
    place = windows(tuple(x.shape[2:]), kernel, strides, dilations, pads, auto_pad)
    run = _by_rank(_CONV, len(kernel))
    counts = place.counts(tuple(x.shape[2:]))
    check_elements((x.shape[0], weight.shape[0], *counts), "The result of Conv")
    check_temporary((*weight.shape[1:], *counts), "The columns of one image of Conv")
    few = prod(counts) <= _FEW < len(x) * prod(counts)
    if few and group == 1 and x.is_cpu and x.dtype == torch.float64 and is_bare():
        return _together(x, weight, bias, place)
    if place.symmetric:
        padding = place.padding
    else:
        x, padding = place.pad(x, 0.0), (0,) * len(kernel)
    return run(x, weight, bias, place.strides, padding, place.dilations, group)


def _together(x: Tensor, weight: Tensor, bias: Tensor | None, place: Windows) -> Tensor:
    """Return a convolution whose images share a product, the channels last in memory.

    A row of the product is a window [*kernel, C].
    """
    count = prod(place.counts(tuple(x.shape[2:])))
    rows = weight.movedim(1, -1).flatten(1)
    found = []
    size = max(1, _TOGETHER // max(1, count * rows.shape[1]))
    for part in torch.split(x, size):
        last = place.pad(part, 0.0).movedim(1, -1).contiguous().movedim(-1, 1)
        views = place.views(last).movedim(1, -1)
        y = functional.linear(views.reshape(len(part) * count, -1), rows, bias)
        found.append(y.reshape(*views.shape[: x.dim() - 1], len(weight)))
    return torch.cat(found).movedim(-1, 1)


@operator("ConvTranspose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """The transpose of a convolution: run it unpadded, then crop or extend."""
    rank = weight.dim() - 2
    steps, spread = strides or [1] * rank, dilations or [1] * rank
    more = output_padding or [0] * rank
    full = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(x.shape[2:], steps, weight.shape[2:], spread, strict=True)
    ]
    ends = _crops(x, full, steps, more, pads, output_shape, auto_pad)
    image = (x.shape[0], weight.shape[1] * group)
    check_elements((*image, *full), "The result of ConvTranspose")
    columns = (*weight.shape[1:], *x.shape[2:])
    check_temporary(columns, "The columns of one image of ConvTranspose")
    run = _by_rank(_TRANSPOSED, rank)
    y = run(x, weight, bias, steps, 0, 0, group, spread)
    flat: list[int] = []
    for (before, after), size in zip(ends, more, strict=True):
        flat = [-before, size - after, *flat]
    last = [
        max(n - before - after + size, 0)
        for n, (before, after), size in zip(full, ends, more, strict=True)
    ]
    check_elements((*image, *last), "The result of ConvTranspose")
    return _cropped(y, flat, bias)


def _cropped(y: Tensor, flat: list[int], bias: Tensor | None) -> Tensor:
    """Apply (before, after) changes; new cells hold the bias and nothing else."""
    if not any(flat):
        return y
    if bias is None or all(size <= 0 for size in flat):
        return functional.pad(y, flat)
    shift = bias.reshape(-1, *(1,) * (y.dim() - 2))
    return functional.pad(y - shift, flat) + shift


def _crops(
    x: Tensor,
    full: list[int],
    strides: list[int],
    more: list[int],
    pads: list[int] | None,
    output_shape: list[int] | None,
    auto_pad: str,
) -> list[tuple[int, int]]:
    rank = len(full)
    if output_shape is None and auto_pad in ("NOTSET", "VALID", ""):
        given = pads or [0] * (2 * rank)
        return list(zip(given[:rank], given[rank:], strict=True))
    sizes = (
        output_shape[-rank:]
        if output_shape
        else [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    )
    ends = []
    for natural, extra, size in zip(full, more, sizes, strict=True):
        total = natural + extra - size
        small = total // 2
        upper = auto_pad == "SAME_UPPER"
        ends.append((small, total - small) if upper else (total - small, small))
    return ends


@operator("Col2Im", host=(1, 2), zero_inputs=(1, 2))
def col2im(
    x: Tensor,
    image_shape: Host | Tensor,
    block_shape: Host | Tensor,
    *,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Add the columns of blocks back at their places in an image of any rank."""
    image, block = ints(image_shape), tuple(ints(block_shape))
    place = windows(tuple(image), block, strides, dilations, pads, "NOTSET")
    padded = [n + sum(e) for n, e in zip(image, place.pads, strict=True)]
    for sizes in (image, padded, [*block, *place.counts(tuple(image))]):
        check_elements((x.shape[0], *sizes), "The result of Col2Im")
    cells = torch.arange(prod(padded), device=x.device).reshape(1, 1, *padded)
    index = place.views(cells)[0, 0]
    rank = len(block)
    index = index.movedim(tuple(range(rank)), tuple(range(rank, 2 * rank))).reshape(-1)
    columns = x.reshape(x.shape[0], -1, index.numel())
    empty = x.new_zeros(*columns.shape[:2], prod(padded))
    result = empty.index_add(2, index, columns).reshape(*columns.shape[:2], *padded)
    flat: list[int] = []
    for before, after in place.pads:
        flat = [-before, -after, *flat]
    return functional.pad(result, flat)
