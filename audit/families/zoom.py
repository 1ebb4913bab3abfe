"""Where a density lives, found with no hint but the density itself.

The density of u is first seen on a lattice u = 1e-8 sinh(t) that reaches ±1e20 and is
geometric on the way. log q shows the way to a mode even where q underflows: a window
around the best point is looked at more finely, made smaller where the best point is
inside and larger where it is at its edge, a fixed number of times. Rays from there
tell the scale, the distance at which log q has fallen by half a nat. The chart

    u = center + root sinh(t)

(the root is triangular: on a plane it undoes the correlation at the mode) is linear
over that scale and geometric beyond it, so that a tail |u|^-s decays like e^-(s−1)|t|.
A last lattice in t tells the box outside which nothing is.

Shapes: M laws, K points, c ∈ {1, 2} coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.charts import Chart, Field, hidden, lattice

FARTHEST = 1e20
SMALLEST = 1e-8
DROP = 46.0  # nats: e^-46 = 1e-20, what is left out of a tail
SURVEY = {1: 1025, 2: 61}  # points of the first lattice, on each axis
WINDOW = {1: (33, 0.125, 17), 2: (9, 0.5, 50)}  # points, shrink, rounds
BOX = {1: 257, 2: 65}
FACE = {1: 3, 2: 129}  # points on a face
STRETCH = 10  # steps by which a face may move
STEEPEST = 1 - 1e-8  # the correlation that a chart undoes


def locate(field: Field, limits: Tensor, laws: int) -> list[Chart]:
    """Return the charts that may suit each law: on a plane, two.

    Args:
        field: log density of u.
        limits: of u [2, c].
        laws: M.
    """
    center = find_mode(field, laws, limits.shape[1])
    scale = find_scale(field, center)
    charts = [Chart(center, torch.diag_embed(scale))]
    if limits.shape[1] == 2:
        charts.append(Chart(center, find_root(field, center, scale)))
    return charts


def find_mode(field: Field, laws: int, axes: int) -> Tensor:
    """Return the best point [M, c] of ever smaller windows."""
    reach = torch.asinh(torch.tensor(FARTHEST / SMALLEST, dtype=torch.float64)).item()
    t = torch.linspace(-reach, reach, SURVEY[axes], dtype=torch.float64)
    grid = (SMALLEST * t.sinh()).repeat(axes, laws, 1).permute(1, 2, 0)
    center, at = _best(field, grid)
    near = [grid.gather(1, i.unsqueeze(1)).squeeze(1) for i in (at - 1, at + 1)]
    half = torch.maximum(center - near[0], near[1] - center)
    points, shrink, rounds = WINDOW[axes]
    unit = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    for _ in range(rounds):
        window = center.unsqueeze(1) + half.unsqueeze(1) * unit
        center, at = _best(field, window)
        inside = (at > 1) & (at < points - 2)
        half = torch.where(inside, shrink * half, 1.5 * half)
    return center


def _best(field: Field, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best point [M, c] of a lattice, and its index on each axis.

    An index at an end of an axis is moved inside, so that it has neighbours.
    """
    _, points, count = axes.shape
    values = field(lattice(axes))
    seen = values.isfinite().any(-1)
    flat = torch.where(seen, values.argmax(-1), values.shape[1] // 2)
    powers = [points ** (count - 1 - i) for i in range(count)]
    at = torch.stack([flat // power % points for power in powers], dim=-1)
    best = axes.gather(1, at.unsqueeze(1)).squeeze(1)
    return best, at.clamp(1, points - 2)


def find_scale(field: Field, center: Tensor) -> Tensor:
    """Return how far [M, c] log q takes to fall by half a nat, on the longer side."""
    steps = torch.arange(-45, 67, dtype=torch.float64).exp2()
    top = field(center.unsqueeze(1))
    scales = []
    for axis in range(center.shape[-1]):
        along = torch.zeros_like(center)
        along[:, axis] = 1.0
        sides = []
        for sign in (-1, 1):
            ray = steps[:, None] * (sign * along).unsqueeze(1)
            fallen = field(center.unsqueeze(1) + ray) < top - 0.5
            fallen[:, -1] = True
            sides.append(steps[fallen.to(torch.uint8).argmax(-1)])
        floor = center[:, axis].abs() * 1e-15
        scales.append(torch.maximum(torch.maximum(*sides), floor))
    return torch.stack(scales, dim=-1)


def find_root(field: Field, center: Tensor, scale: Tensor) -> Tensor:
    """Return a triangular root [M, 2, 2] of the covariance that log q has nearby.

    Second differences over half the scales give the curvatures a and b of −log q along
    the axes and the correlation r of its Hessian; the inverse of that Hessian has the
    root [[1 / √a, 0], [−r / √b, √(1 − r²) / √b]] / √(1 − r²).
    """
    signs = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)[:, None]
    points = center.unsqueeze(1) + 0.5 * signs * scale.unsqueeze(1)
    g = 4 * field(lattice(points)).reshape(-1, 3, 3)
    ends = (g[:, ::2, 1].sum(-1), g[:, 1, ::2].sum(-1))
    a, b = (2 * g[:, 1, 1] - end for end in ends)
    cross = (g[:, 0, 2] + g[:, 2, 0] - g[:, 0, 0] - g[:, 2, 2]) / 4
    plain = ~(((a * b) > 0) & (a > 0) & torch.isfinite(a * b * cross))
    a, b, cross = (v.masked_fill(plain, f) for v, f in ((a, 1.0), (b, 1.0), (cross, 0)))
    r = (cross * (a * b).rsqrt()).clamp(-STEEPEST, STEEPEST)
    long = (1 - r * r).rsqrt()
    parts = [a.rsqrt() * long, torch.zeros_like(r), -r * long * b.rsqrt(), b.rsqrt()]
    return torch.stack(parts, dim=-1).reshape(-1, 2, 2) * scale.unsqueeze(-1)


def find_box(field: Field, chart: Chart, limits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends [M, c] in t of the box that holds all but e^-46 of a law."""
    axes, points = chart.center.shape[-1], BOX[chart.center.shape[-1]]
    unit = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    t = torch.asinh(FARTHEST / chart.scale).unsqueeze(1) * unit
    u, slope = chart.place(lattice(t))
    values = field(u) + slope
    top = values.amax(-1, keepdim=True)
    hoped = values + hidden(values.reshape(-1, *[points] * axes), unit[:, 0]).flatten(1)
    kept = (hoped > top - DROP).reshape(-1, *[points] * axes)
    lows, highs = [], []
    for axis in range(axes):
        seen = kept if axes == 1 else kept.any(dim=2 - axis)
        first = seen.to(torch.uint8).argmax(-1)
        last = points - 1 - seen.flip(-1).to(torch.uint8).argmax(-1)
        column = t[..., axis]
        lows.append(column.gather(1, (first - 1).clamp_min(0)[:, None]))
        highs.append(column.gather(1, (last + 1).clamp_max(points - 1)[:, None]))
    ends = torch.asinh((limits.unsqueeze(1) - chart.center) / chart.scale)
    straight = chart.root.tril(-1).abs().sum(-1) == 0  # else an end is no line of t
    ends = torch.where(straight, ends, ends.sign() * torch.inf)
    top, far = top.squeeze(-1), t[:, -1]
    low, high = _widen(field, chart, top, far, torch.cat(lows, 1), torch.cat(highs, 1))
    return torch.maximum(low, ends[0]), torch.minimum(high, ends[1])


def _widen(
    field: Field, chart: Chart, top: Tensor, far: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Move those faces of the box outwards that cut through a law, at most to `far`."""

    def density(t: Tensor) -> Tensor:
        u, slope = chart.place(t)
        return field(u) + slope

    for _ in range(STRETCH):
        cuts = faces(density, low, high) > top.unsqueeze(-1) - DROP
        low = torch.where(cuts[:, ::2], (low - 1).maximum(-far), low)
        high = torch.where(cuts[:, 1::2], (high + 1).minimum(far), high)
    return low, high


def faces(density: Field, low: Tensor, high: Tensor) -> Tensor:
    """Return the highest log density on each face of a box [M, 2 c].

    Args:
        density: log density of t.
        low: the lower ends of the box [M, c].
        high: the upper ends; the faces are low and high of each axis in turn.
    """
    unit = torch.linspace(0, 1, FACE[low.shape[-1]], dtype=torch.float64)
    found = []
    for axis in range(low.shape[-1]):
        for end in (low, high):
            face = low.unsqueeze(1) + (high - low).unsqueeze(1) * unit[:, None]
            face[..., axis] = end[:, axis, None]
            values = density(face)
            found.append(values.amax(-1))
    return torch.stack(found, dim=-1)


def find_noise(density: Field, like: Tensor) -> Tensor:
    """Return the noise [M] of a log density of t, from its third differences.

    Differences over 1e-4 of the scale leave nothing of a smooth curve, their upper
    quantile nothing of a kink. Those of white noise have the standard deviation √20.
    """
    steps = 0.7 + 1e-3 * torch.linspace(-1, 1, 65, dtype=torch.float64)
    points = [
        s[None, :, None].expand(len(like), -1, like.shape[1]) for s in (steps, -steps)
    ]
    sides = [density(t) for t in points]
    jumps = [side.diff(n=3, dim=-1).abs().nan_to_num(0.0) for side in sides]
    return torch.stack([j.quantile(0.8, -1) for j in jumps]).amax(0) / 20**0.5
