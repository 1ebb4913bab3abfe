"""Pooling over boxes: RoiAlign and MaxRoiPool."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.limits import check_elements, check_listed, check_trips
from audit.importer.ops.sampling import linear_weights, taps
from audit.importer.registry import operator
from audit.importer.values import listed


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
    check_trips(len(rois), "RoiAlign")
    pooled = [
        _pooled_box(x[int(row)], box, shape, sampling_ratio, aligned, mode)
        for box, row in zip(boxes.unbind(0), listed(rows), strict=True)
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
        grids.append(count)
        check_elements((4, image.shape[0], shape[axis] * count), "A box")
        steps = torch.arange(shape[axis] * count, device=image.device)
        at = start + (steps + 0.5) * cell / count
        places.append(_roi_taps(at, image.shape[1 + axis]))
    points = (shape[0] * grids[0], shape[1] * grids[1])
    check_elements((4, image.shape[0], *points), "A box")
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


@operator("MaxRoiPool")
def max_roi_pool(
    x: Tensor, rois: Tensor, *, pooled_shape: list[int], spatial_scale: float = 1.0
) -> Tensor:
    """Largest element of each cell of each box, with rounded borders."""
    height, width = x.shape[2:]
    check_elements((len(rois), x.shape[1], *pooled_shape), "The result of MaxRoiPool")
    check_listed((len(rois), *pooled_shape), "The cells of MaxRoiPool")
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
