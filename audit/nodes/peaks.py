"""Peaks of a density known only as a function: found on lattices, climbed, merged.

A lattice shows a peak where log q is higher than at the neighbours. That needs no point
inside the mode: far from all modes log q is the upper envelope of their slopes, and its
local maxima on a lattice that is coarse against the modes, but fine against their
distances, are still one for each. A window around a peak then climbs: it follows its
best point, shrinks where that is inside and grows where it is at the edge. On a plane,
where each look takes thousands of rows, it ends where log q is the same all over it.

The span of a peak is how far log q takes to fall by half a nat (the standard deviation
of a normal law). A lower peak within two spans of a higher one, and not much narrower,
is the same one: noise of log q, or a ridge.

Shapes: M laws, J peaks (those of height -inf are none), K points, c ∈ {1, 2} axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from audit.nodes.charts import Field, lattice, picked

CLIMB = {1: (9, 0.3, 24), 2: (5, 0.5, 40)}  # points, shrink, rounds
FLAT = {1: -torch.inf, 2: 1e-4}  # nats in a window that is not worth a smaller one
ROUNDED = 3e-7  # of log q, as well: what single precision leaves
STEPS = (-45, 67)  # powers of two between which spans are looked for
SAME = 2.0  # spans within which a lower peak is the same one
NARROWER = 0.25  # ... unless it is narrower than this
NEGLIGIBLE = 40.0  # nats of mass below the heaviest peak
MOST = {1: 128, 2: 48}  # peaks that are kept


class Peaks(NamedTuple):
    """Peaks of M laws, the highest first."""

    at: Tensor  # [M, J, c]
    height: Tensor  # [M, J]; -inf for none
    span: Tensor  # [M, J, c]

    @property
    def log_mass(self) -> Tensor:
        """About the logarithm of the mass of each [M, J]."""
        return self.height + self.span.log().sum(-1)


class Seen(NamedTuple):
    """Points that may be on the slope of a peak; those of height -inf are none."""

    at: Tensor  # [M, K, c]
    gap: Tensor  # how far the nearer neighbour is [M, K, c]
    height: Tensor  # [M, K]
    rise: Tensor  # above the higher neighbour [M, K]


def on_lattice(axes: Tensor, values: Tensor) -> Seen:
    """Return the local maxima of a lattice, the highest first.

    Args:
        axes: the points of each axis, ascending [M, L, c].
        values: log density on `lattice(axes)` [M, L^c].
    """
    laws, points, count = axes.shape
    grid = values.reshape(laws, *[points] * count)
    top, rise = grid.isfinite(), torch.full_like(grid, torch.inf)
    for axis in range(1, count + 1):
        along = grid.movedim(axis, -1)
        back = torch.nn.functional.pad(along[..., :-1], (1, 0), value=-torch.inf)
        ahead = _ahead(along)
        top &= (along > back).movedim(-1, axis)  # of a plateau, its first point
        above = (along - torch.maximum(back, ahead)).movedim(-1, axis)
        rise = torch.minimum(rise, above)
    if count == 2:
        around = torch.nn.functional.max_pool2d(grid.unsqueeze(1), 3, 1, 1)
        top &= grid >= around.squeeze(1)
    top &= rise >= 0
    height, order = best(values.masked_fill(~top.flatten(1), -torch.inf), MOST[count])
    gap = axes.diff(dim=1)
    gap = torch.minimum(
        torch.cat([gap[:, :1], gap], 1), torch.cat([gap, gap[:, -1:]], 1)
    )
    powers = [points ** (count - 1 - i) for i in range(count)]
    index = torch.stack([order // power % points for power in powers], -1)
    rise = rise.flatten(1).gather(1, order)
    return Seen(axes.gather(1, index), gap.gather(1, index), height, rise)


def _ahead(along: Tensor) -> Tensor:
    """Return the next value [..., L] that differs, -inf at the end."""
    points = along.shape[-1]
    at = torch.arange(1, points + 1).expand_as(along).clone()
    same = along[..., 1:] == along[..., :-1]
    at[..., :-1].masked_fill_(same, points)
    at = at.flip(-1).cummin(-1).values.flip(-1)
    return torch.nn.functional.pad(along, (0, 1), value=-torch.inf).gather(-1, at)


def best(values: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the finite values [M, J] of each row in descending order, and where."""
    count = min(most, int(values.isfinite().sum(-1).max()))
    if count == 1:  # the same, and faster
        top, at = values.max(dim=-1, keepdim=True)
        return top, at
    ordered, order = values.sort(dim=-1, descending=True, stable=True)
    return ordered[:, :count], order[:, :count]


def climb(field: Field, at: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Return the peaks [M, J, c] uphill of points, and their heights [M, J].

    Args:
        field: log density.
        at: where to start [M, J, c].
        half: the half width of the first window [M, J, c].
    """
    laws, count, axes = at.shape
    points, shrink, rounds = CLIMB[axes]
    unit = torch.linspace(-1, 1, points, dtype=torch.float64)[None, :, None]
    unit = lattice(unit.expand(1, points, axes))[0]
    middle = len(unit) // 2
    height, climbing = at.new_zeros(laws, count), torch.isfinite(at).all(-1)
    for _ in range(rounds):
        here = torch.where(climbing.unsqueeze(-1), at, torch.nan)  # else nobody looks
        window = here.unsqueeze(2) + half.unsqueeze(2) * unit
        values = field(window.flatten(1, 2)).reshape(laws, count, -1)
        top, index = values.max(-1)
        index = torch.where(values[..., middle] < top, index, middle)
        step = unit[index]
        at = torch.where(climbing.unsqueeze(-1), at + half * step, at)
        height = torch.where(climbing, top, height)
        inside = step.abs() <= 0.5
        half = torch.where(inside, shrink * half, 1.5 * half)
        climbing = climbing & ~(inside.all(-1) & flat(values, axes))
        if not bool(climbing.any()):
            break
    return at, height


def flat(values: Tensor, axes: int) -> Tensor:
    """Return whether a window's values [..., k] differ by no more than `FLAT`."""
    top = values.amax(-1)
    return values.amin(-1) >= top - FLAT[axes] - ROUNDED * top.abs()


def spans(field: Field, at: Tensor) -> Tensor:
    """Return how far log q takes to fall by half a nat [M, J, c], on the longer side.

    Args:
        field: log density.
        at: peaks [M, J, c].
    """
    laws, count, axes = at.shape
    steps = torch.arange(*STEPS, dtype=torch.float64).exp2()
    along = torch.eye(axes, dtype=torch.float64).repeat_interleave(2, 0)
    along[::2] *= -1
    rays = (along.unsqueeze(1) * steps[:, None]).flatten(0, 1)
    points = torch.cat([at.unsqueeze(2), at.unsqueeze(2) + rays], dim=2)
    values = field(points.flatten(1, 2)).reshape(laws, count, -1)
    fallen = values[..., 1:] < values[..., :1] - 0.5
    fallen = fallen.reshape(laws, count, axes, 2, -1)
    fallen[..., -1] = True
    sides = steps[fallen.to(torch.uint8).argmax(-1)]
    return torch.maximum(sides.amax(-1), at.abs() * 1e-15)


def merge(peaks: Peaks) -> Peaks:
    """Return the peaks that are no part of a higher one and not negligible."""
    height, order = best(peaks.height, peaks.height.shape[1])
    if height.shape[1] == 0:
        return Peaks(peaks.at[:, :0], height, peaks.span[:, :0])
    at, span = (picked(part, order) for part in (peaks.at, peaks.span))
    far = (at.unsqueeze(2) - at.unsqueeze(1)).abs()  # [M, j, i, c]
    same = (far <= SAME * span.unsqueeze(1)).all(-1)
    same &= (span.unsqueeze(2) >= NARROWER * span.unsqueeze(1)).all(-1)
    rank = torch.arange(height.shape[1])
    height = height.masked_fill((same & (rank < rank[:, None])).any(-1), -torch.inf)
    mass = Peaks(at, height, span).log_mass
    negligible = mass < mass.amax(-1, keepdim=True) - NEGLIGIBLE
    height, order = best(height.masked_fill(negligible, -torch.inf), MOST[at.shape[-1]])
    return Peaks(picked(at, order), height, picked(span, order))


def join(one: Peaks, two: Peaks) -> Peaks:
    """Return the peaks of both, merged."""
    return merge(Peaks(*(torch.cat(pair, 1) for pair in zip(one, two, strict=True))))
