"""Where a density lives, found with no hint but the density itself.

The search tells the modes. Rays from the heaviest tell its scale, the distance at
which log q has fallen by half a nat. The chart

    u = center + root sinh(t)

(the root is triangular: on a plane it undoes the correlation at the mode) is linear
over that scale and geometric beyond it, so that a tail |u|^-s decays like e^-(s−1)|t|.
A last lattice in t tells the box outside which nothing is; all modes are in it.

Shapes: M laws, K points, c ∈ {1, 2} coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.nodes.charts import Field, SinhChart, hidden, lattice
from audit.nodes.peaks import Peaks, spans
from audit.nodes.search import FARTHEST, find_mode, find_peaks, hull, survey

DROP = 46.0  # nats: e^-46 = 1e-20, what is left out of a tail
BOX = {1: 257, 2: 65}
FACE = {1: 3, 2: 129}  # points on a face
STRETCH = 10  # steps by which a face may move
BESIDE = 3.0  # the most of t that is added to the box around a mode
AHEAD = 2.0  # nats of mass by which another mode is worth more than the highest
STEEPEST = 1 - 1e-8  # the correlation that a chart undoes


def locate(field: Field, limits: Tensor, laws: int) -> tuple[list[SinhChart], Peaks]:
    """Return the charts that may suit each law (on a plane, two), and its modes.

    A chart is about the heaviest mode, as far as height and span tell.

    Args:
        field: log density of u.
        limits: of u [2, c].
        laws: M.
    """
    seen = survey(field, laws, limits.shape[1])
    center = find_mode(field, *seen)
    peaks = find_peaks(field, seen, center)
    if peaks.height.shape[1]:
        center = _heaviest(peaks, center)
    scale = spans(field, center.unsqueeze(1)).squeeze(1)
    charts = [SinhChart(center, torch.diag_embed(scale))]
    if limits.shape[1] == 2:
        charts.append(SinhChart(center, find_root(field, center, scale)))
    return charts, peaks


def _heaviest(peaks: Peaks, center: Tensor) -> Tensor:
    """Return the peak [M, c] of the most mass: the highest if the others hold less."""
    mass = peaks.log_mass.nan_to_num(-torch.inf, neginf=-torch.inf)
    mass[:, 0] += AHEAD
    at = mass.argmax(-1)[:, None, None].expand(-1, 1, center.shape[1])
    best = peaks.at.gather(1, at).squeeze(1)
    return torch.where(peaks.height[:, :1].isfinite(), best, center)


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


def charted(field: Field, chart: SinhChart, peaks: Peaks) -> Peaks:
    """Return the peaks of the density of u in the coordinates t of a chart."""
    if peaks.height.shape[1] == 0:
        return peaks
    t, density = chart.find(peaks.at), chart.density(field)
    height = density(t).masked_fill(~peaks.height.isfinite(), -torch.inf)
    return Peaks(t, height, spans(density, t))


def find_box(
    field: Field, chart: SinhChart, peaks: Peaks, limits: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the ends [M, c] in t of the box that holds all but e^-46 of a law.

    Args:
        field: log density of u.
        chart: of the laws.
        peaks: in the coordinates of the chart.
        limits: of u [2, c].
    """
    axes, points = chart.center.shape[-1], BOX[chart.center.shape[-1]]
    unit = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    t = torch.asinh(FARTHEST / chart.scale).unsqueeze(1) * unit
    values = chart.density(field)(lattice(t))
    top = torch.cat([values, peaks.height], -1).amax(-1, keepdim=True)
    hoped = values + hidden(values.reshape(-1, *[points] * axes), unit[:, 0])[
        0
    ].flatten(1)
    kept = (hoped > top - DROP).reshape(-1, *[points] * axes)
    lows, highs = [], []
    for axis in range(axes):
        seen = kept if axes == 1 else kept.any(dim=2 - axis)
        first = seen.to(torch.uint8).argmax(-1)
        last = points - 1 - seen.flip(-1).to(torch.uint8).argmax(-1)
        column = t[..., axis]
        lows.append(column.gather(1, (first - 1).clamp_min(0)[:, None]))
        highs.append(column.gather(1, (last + 1).clamp_max(points - 1)[:, None]))
    first, last = hull(peaks, torch.zeros_like(chart.center), BESIDE)
    low, high = torch.cat(lows, 1).minimum(first), torch.cat(highs, 1).maximum(last)
    return widened(field, chart, top.squeeze(-1), (low, high), limits)


def widened(
    field: Field,
    chart: SinhChart,
    top: Tensor,
    box: tuple[Tensor, Tensor],
    limits: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return a box [M, c] whose faces were moved outwards until they cut through none.

    Args:
        field: log density of u.
        chart: of the laws.
        top: the highest log density of t that is known [M].
        box: its ends to begin with.
        limits: of u [2, c], which no face is beyond.
    """
    ends, far = _ends(chart, limits), torch.asinh(FARTHEST / chart.scale)
    low, high = box
    low, high = _widen(field, chart, top, far, low.maximum(-far), high.minimum(far))
    return torch.maximum(low, ends[0]), torch.minimum(high, ends[1])


def _ends(chart: SinhChart, limits: Tensor) -> Tensor:
    """Return the limits of u in t [2, M, c], infinite where they are no lines of t."""
    ends = torch.asinh((limits.unsqueeze(1) - chart.center) / chart.scale)
    straight = chart.root.tril(-1).abs().sum(-1) == 0
    return torch.where(straight, ends, ends.sign() * torch.inf)


def _widen(
    field: Field, chart: SinhChart, top: Tensor, far: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Move those faces of the box outwards that cut through a law, at most to `far`."""
    density = chart.density(field)
    for _ in range(STRETCH):
        cuts = faces(density, low, high) > top.unsqueeze(-1) - DROP
        if not bool(cuts.any()):
            break
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
            found.append(face)
    values = density(torch.cat(found, dim=1))
    return values.reshape(len(low), len(found), -1).amax(-1)


def find_noise(density: Field, like: Tensor) -> Tensor:
    """Return the noise [M] of a log density of t, from its third differences.

    Differences over 1e-4 of the scale leave nothing of a smooth curve, their upper
    quantile nothing of a kink. Those of white noise have the standard deviation √20.
    """
    steps = 0.7 + 1e-3 * torch.linspace(-1, 1, 65, dtype=torch.float64)
    points = torch.cat([steps, -steps])[None, :, None]
    values = density(points.expand(len(like), -1, like.shape[1]))
    jumps = values.reshape(len(like), 2, -1).diff(n=3, dim=-1).abs().nan_to_num(0.0)
    return jumps.quantile(0.8, -1).amax(-1) / 20**0.5
