"""Reading images between pixels: GridSample, and what its relatives share.

All of it is gathers and products, so second derivatives exist (torch's own grid_sample
has none).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from audit.importer.registry import Site, operator


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
