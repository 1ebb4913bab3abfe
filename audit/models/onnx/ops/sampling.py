"""Reading images between pixels: GridSample, RoiAlign, DeformConv, MaxRoiPool.

All of it is gathers and products, so second derivatives exist (torch's own grid_sample
has none).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from audit.models.onnx.limits import check_elements
from audit.models.onnx.ops.windows import windows
from audit.models.onnx.registry import Site, operator

Place = Callable[[Tensor, int], Tensor]  # whole positions of an axis -> inside it


def taps(x: Tensor, places: list[list[tuple[Tensor, Tensor]]]) -> Iterator[Tensor]:
    """Yield weight times value for each combination of taps.

    Args:
        x: [rows, channels, *sizes].
        places: for each axis its taps: (position [rows, points], weight).
    """
    flat, sizes = x.flatten(2), x.shape[2:]
    for combination in product(*places):
        index: Tensor | int = 0
        weight: Tensor | float = 1.0
        for (position, share), size in zip(combination, sizes, strict=True):
            index = index * size + position
            weight = weight * share
        chosen = torch.as_tensor(index).unsqueeze(1).expand(-1, x.shape[1], -1)
        yield torch.as_tensor(weight).unsqueeze(1) * flat.gather(2, chosen)


def linear_weights(position: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the two whole positions around a real one, with their weights."""
    low = torch.floor(position.detach())
    part = position - low
    return [(low, 1 - part), (low + 1, part)]


def cubic_weights(position: Tensor, a: float = -0.75) -> list[tuple[Tensor, Tensor]]:
    """Return the four whole positions around a real one, with Keys' weights."""
    low = torch.floor(position.detach())
    part = position - low

    def near(t: Tensor) -> Tensor:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Tensor) -> Tensor:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    shares = (far(part + 1), near(part), near(1 - part), far(2 - part))
    return [
        (low + step, share) for step, share in zip((-1, 0, 1, 2), shares, strict=True)
    ]


def inside(
    pairs: list[tuple[Tensor, Tensor]], size: int
) -> list[tuple[Tensor, Tensor]]:
    """Give positions outside the axis the weight zero."""
    result = []
    for position, weight in pairs:
        there = (position >= 0) & (position <= size - 1)
        result.append((position.clamp(0, size - 1).long(), weight * there))
    return result


def _reflected(x: Tensor, low: float, high: float) -> Tensor:
    """Fold positions back between two borders, as often as needed."""
    span = high - low
    if span <= 0:
        return torch.zeros_like(x)
    away = torch.remainder(x - low, 2 * span)
    return torch.where(away > span, 2 * span - away, away) + low


@operator("GridSample")
def grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
    site: Site,
) -> Tensor:
    """Read x at the positions of a grid, given between -1 and 1 with x first."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if mode not in ("linear", "nearest", "cubic"):
        raise site.refuse(f"mode '{mode}' is unknown")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise site.refuse(f"padding_mode '{padding_mode}' is unknown")
    sizes = list(x.shape[2:])
    places = []
    for axis, size in enumerate(sizes):
        at = grid[..., len(sizes) - 1 - axis].flatten(1)
        position = (
            (at + 1) / 2 * (size - 1) if align_corners else (((at + 1) * size - 1) / 2)
        )
        places.append(_axis_taps(position, size, mode, padding_mode, align_corners))
    result = sum(taps(x, places))
    return torch.as_tensor(result).reshape(*x.shape[:2], *grid.shape[1:-1])


def _axis_taps(
    position: Tensor, size: int, mode: str, padding: str, align: int
) -> list[tuple[Tensor, Tensor]]:
    borders = (0.0, size - 1.0) if align else (-0.5, size - 0.5)

    def settle(p: Tensor) -> Tensor:
        if padding == "reflection":
            p = _reflected(p, *borders)
        return p.clamp(0, size - 1) if padding != "zeros" else p

    if mode == "nearest":
        whole = torch.round(settle(position.detach()))
        return inside([(whole, torch.ones_like(position))], size)
    if mode == "linear":
        return inside(linear_weights(settle(position)), size)
    pairs = cubic_weights(position)
    return inside([(settle(whole), weight) for whole, weight in pairs], size)


@operator("RoiAlign", zero_inputs=(2,))
def roi_align_half_pixel(
    x: Tensor,
    rois: Tensor,
    rows: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """Pool boxes of x, each from a grid of linearly read points."""
    aligned = coordinate_transformation_mode == "half_pixel"
    boxes = rois * spatial_scale - (0.5 if aligned else 0.0)
    shape = (output_height, output_width)
    check_elements((len(rois), x.shape[1], *shape), "The result of RoiAlign")
    pooled = [
        _pooled_box(x[int(row)], box, shape, sampling_ratio, aligned, mode)
        for box, row in zip(boxes.unbind(0), rows.tolist(), strict=True)
    ]
    return torch.stack(pooled) if pooled else x.new_zeros(0, x.shape[1], *shape)


@operator("RoiAlign", since=10, zero_inputs=(2,))
def roi_align(
    x: Tensor,
    rois: Tensor,
    rows: Tensor,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """Opset 10 has no half-pixel shift."""
    return roi_align_half_pixel(
        x,
        rois,
        rows,
        coordinate_transformation_mode="output_half_pixel",
        mode=mode,
        output_height=output_height,
        output_width=output_width,
        sampling_ratio=sampling_ratio,
        spatial_scale=spatial_scale,
    )


operator("RoiAlign", since=16, zero_inputs=(2,))(roi_align_half_pixel)


def _pooled_box(
    image: Tensor,
    box: Tensor,
    shape: tuple[int, int],
    ratio: int,
    aligned: bool,
    mode: str,
) -> Tensor:
    places, grids = [], []
    for axis, (start, end) in enumerate(((box[1], box[3]), (box[0], box[2]))):
        extent = end - start
        if not aligned:
            extent = extent.clamp(min=1.0)
        cell = extent / shape[axis]
        count = ratio if ratio > 0 else max(int(torch.ceil(cell.detach())), 1)
        steps = torch.arange(shape[axis] * count, device=image.device)
        at = start + (steps + 0.5) * cell / count
        places.append(_roi_taps(at, image.shape[1 + axis]))
        grids.append(count)
    check_elements((image.shape[0], shape[0] * grids[0], shape[1] * grids[1]), "A box")
    shares = torch.stack(list(taps(image.unsqueeze(0), _crossed(*places))))
    grid = (-1, shape[0], grids[0], shape[1], grids[1])
    if mode == "max":
        return shares.amax(0).reshape(grid).amax((2, 4))
    return shares.sum(0).reshape(grid).mean((2, 4))


def _crossed(
    rows: list[tuple[Tensor, Tensor]], columns: list[tuple[Tensor, Tensor]]
) -> list[list[tuple[Tensor, Tensor]]]:
    """Turn taps of rows and of columns into taps of every point of their grid."""
    down, across = len(rows[0][0]), len(columns[0][0])

    def tall(x: Tensor) -> Tensor:
        return x.unsqueeze(1).expand(down, across).reshape(1, -1)

    def wide(x: Tensor) -> Tensor:
        return x.expand(down, across).reshape(1, -1)

    return [
        [(tall(index), tall(weight)) for index, weight in rows],
        [(wide(index), wide(weight)) for index, weight in columns],
    ]


def _roi_taps(at: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Read within one pixel beyond the border as the border, further out as zero."""
    there = (at >= -1) & (at <= size)
    pairs = linear_weights(at.clamp(0, size - 1))
    return [(i.clamp(0, size - 1).long(), w * there) for i, w in pairs]


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


@operator("MaxRoiPool")
def max_roi_pool(
    x: Tensor, rois: Tensor, *, pooled_shape: list[int], spatial_scale: float = 1.0
) -> Tensor:
    """Largest element of each cell of each box, with rounded borders."""
    height, width = x.shape[2:]
    check_elements((len(rois), x.shape[1], *pooled_shape), "The result of MaxRoiPool")
    boxes = []
    for row, *corners in rois.detach().tolist():
        left, top, right, bottom = (_half_up(c * spatial_scale) for c in corners)
        image = x[int(row)]
        rows = _cells(top, bottom, pooled_shape[0], height)
        columns = _cells(left, right, pooled_shape[1], width)
        boxes.append(torch.stack([
            torch.stack([_peak(image[:, a:b, c:d]) for c, d in columns], -1)
            for a, b in rows
        ], -2))  # fmt: skip
    return torch.stack(boxes)


def _half_up(value: float) -> int:
    return int(value + 0.5) if value >= 0 else -int(-value + 0.5)


def _cells(start: int, end: int, count: int, size: int) -> list[tuple[int, int]]:
    extent = max(end - start + 1, 1)
    return [
        (
            min(max(start + i * extent // count, 0), size),
            min(max(start - (-(i + 1) * extent // count), 0), size),
        )
        for i in range(count)
    ]


def _peak(cell: Tensor) -> Tensor:
    return cell.amax((1, 2)) if cell.numel() else cell.new_zeros(cell.shape[0])
