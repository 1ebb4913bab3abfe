"""DeformConv: a convolution whose taps move."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.limits import check_elements
from audit.importer.ops.sampling import inside, linear_weights, taps
from audit.importer.ops.windows import windows
from audit.importer.registry import operator


@operator("DeformConv")
def deform_conv(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    offset_group: int = 1,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Convolution whose taps are moved by learned offsets, and scaled by a mask."""
    kernel, spatial = tuple(weight.shape[2:]), tuple(x.shape[2:])
    place = windows(spatial, kernel, strides, dilations, pads, "NOTSET")
    out = tuple(offset.shape[2:])
    rank, count = len(kernel), int(torch.Size(kernel).numel())
    n, groups = x.shape[0], offset_group
    check_elements((n, x.shape[1], count, *out), "The columns of DeformConv")
    moves = offset.reshape(n * groups, count, rank, *out)
    positions = []
    for axis in range(rank):
        steps = torch.arange(out[axis], device=x.device) * place.strides[axis]
        taps_ = torch.arange(kernel[axis], device=x.device) * place.dilations[axis]
        base = _along(steps, axis, rank) - place.pads[axis][0]
        base = base.unsqueeze(0) + _tap_axis(taps_, axis, kernel).reshape(
            count, *(1,) * rank
        )
        positions.append((base + moves[:, :, axis]).flatten(1))
    places = [
        inside(linear_weights(position), size)
        for position, size in zip(positions, spatial, strict=True)
    ]
    split = x.reshape(n * groups, -1, *spatial)
    columns = torch.as_tensor(sum(taps(split, places)))
    columns = columns.reshape(n, groups, -1, count, *out)
    if mask is not None:
        columns = columns * mask.reshape(n, groups, 1, count, *out)
    columns = columns.reshape(n, group, x.shape[1] // group, count, -1)
    kernels = weight.reshape(group, weight.shape[0] // group, -1, count)
    y = torch.einsum("ngckp,gock->ngop", columns, kernels)
    y = y.reshape(n, weight.shape[0], *out)
    return y if bias is None else y + bias.reshape(-1, *(1,) * rank)


def _along(steps: Tensor, axis: int, rank: int) -> Tensor:
    shape = [1] * rank
    shape[axis] = -1
    return steps.reshape(shape)


def _tap_axis(steps: Tensor, axis: int, kernel: tuple[int, ...]) -> Tensor:
    return _along(steps, axis, len(kernel)).expand(kernel).reshape(-1)
