"""The search for every mode of a density that is only known as a function.

log q shows the way to a mode even where q underflows: a window around the best point
of a first lattice is looked at more finely, made smaller where the best point is
inside and larger where it is at its edge, a fixed number of times. More lattices then
look for other modes, and what they find is climbed:

    geometric about u = 0       (all magnitudes from 1e-8 to 1e20)
    geometric about a mode      (neighbours at all distances; the broadest modes)
    even over the hull          (all modes ± 9 spans and half as much), coarse and fine

log q far from all modes is the upper envelope of their slopes, so that a lattice finds
a mode whose own basin is wider than its pitch, however narrow the mode. Beside a normal
law of scale σ at a distance d, one of scale s has a basin of 2 d s / σ. The geometric
lattice has a pitch of 0.19 % of d on a line, for s ≥ σ/1000 up to 1000 σ away, and of
19 % on a plane, where the even one has 193 × 193 points. `probe` looks for thinner
modes afterwards, but in the bulk of those found: a thinner one outside is not found.

Shapes: M laws, J peaks, L points on an axis, c ∈ {1, 2} axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.nodes.charts import Field, lattice, picked
from audit.nodes.peaks import Peaks, Seen, climb, flat, join, on_lattice, spans
from audit.nodes.ridges import follow

FARTHEST = 1e20
SMALLEST = 1e-8
SURVEY = {1: 1025, 2: 61}  # points of the first lattice, on each axis
WINDOW = {1: (33, 0.125, 17), 2: (9, 0.5, 50)}  # points, shrink, rounds
ABOUT = {1: (7.6, 8193, 384), 2: (7.6, 81, 8)}  # t, points within, beyond on a side
CENTERS = 4  # modes that have such a lattice
EVEN = {1: ((513, 0.5), (1537, 0.05)), 2: ((49, 0.5), (193, 0.05))}  # points, wider by
RISE = 0.02  # nats above the neighbours that are no noise
ROUNDING = 1e-5  # of the depth of log q, a rise that is none
MARGIN = 9.0  # spans by which the hull is wider than the modes


def find_peaks(field: Field, seen: tuple[Tensor, Tensor], center: Tensor) -> Peaks:
    """Return the peaks of each law, the highest first.

    Args:
        field: log density of u.
        seen: a first lattice [M, L, c] and the log density on it [M, L^c].
        center: the best point known [M, c].
    """
    at, axes = center.unsqueeze(1), center.shape[1]
    peaks = add(field, Peaks(at, field(at), spans(field, at)), on_lattice(*seen))
    if peaks.height.shape[1] == 0:
        return peaks
    peaks = _about(field, peaks, _first(peaks, 1))
    for turn, (points, wider) in enumerate(EVEN[axes]):
        unit = torch.linspace(-wider, 1 + wider, points, dtype=torch.float64)[:, None]
        low, high = hull(peaks, center)
        even = low.unsqueeze(1) + (high - low).unsqueeze(1) * unit
        peaks = add(field, peaks, on_lattice(even, field(lattice(even))))
        if turn == 0 and peaks.height.shape[1] > 1:
            peaks = _about(field, peaks, _first(_broadest(peaks), CENTERS))
    return peaks


def _first(peaks: Peaks, most: int) -> Peaks:
    return Peaks(*(part[:, :most] for part in peaks))


def _broadest(peaks: Peaks) -> Peaks:
    """Return the peaks of the laws that have several, the broadest first."""
    several = peaks.height.isfinite().sum(-1, keepdim=True) > 1
    size = peaks.span.log().sum(-1)
    size = size.masked_fill(~(peaks.height.isfinite() & several), -torch.inf)
    order = size.argsort(dim=-1, descending=True, stable=True)
    height = peaks.height.masked_fill(~size.isfinite(), -torch.inf)
    return Peaks(*(picked(part, order) for part in (peaks.at, height, peaks.span)))


def _about(field: Field, peaks: Peaks, known: Peaks) -> Peaks:
    """Return the peaks and those that geometric lattices about known ones add."""
    laws, count, c = known.at.shape
    near, points, beyond = ABOUT[c]
    far = torch.asinh(FARTHEST / known.span).clamp_min(near + 1).unsqueeze(2)
    unit = torch.linspace(0, 1, beyond + 1, dtype=torch.float64)[1:, None]
    side = near + (far - near) * unit
    middle = torch.linspace(-near, near, points, dtype=torch.float64)[:, None]
    middle = middle.expand(laws, count, -1, c)
    t = torch.cat([-side.flip(2), middle, side], 2)
    axes = (known.at.unsqueeze(2) + known.span.unsqueeze(2) * t.sinh()).flatten(0, 1)
    there = known.height.isfinite().flatten()[:, None, None]
    looked = lattice(axes).masked_fill(~there, torch.nan)
    values = field(looked.reshape(laws, -1, c)).reshape(laws * count, -1)
    seen = on_lattice(axes, values)
    found = count * seen.height.shape[1]
    each = (part.reshape(laws, found, *part.shape[2:]) for part in seen)
    return add(field, peaks, Seen(*each))


def hull(
    peaks: Peaks, center: Tensor, most: float = torch.inf
) -> tuple[Tensor, Tensor]:
    """Return the ends [M, c] of what holds the center and all peaks.

    Args:
        peaks: of M laws.
        center: a point of each [M, c].
        most: the margin around a peak is `MARGIN` spans, but at most this.
    """
    none = ~peaks.height.isfinite().unsqueeze(-1)
    reach = (MARGIN * peaks.span).clamp_max(most)
    low = (peaks.at - reach).masked_fill(none, torch.inf)
    high = (peaks.at + reach).masked_fill(none, -torch.inf)
    center = center.unsqueeze(1)
    return (
        torch.cat([center, low], 1).amin(1),
        torch.cat([center, high], 1).amax(1),
    )


def add(field: Field, peaks: Peaks, seen: Seen) -> Peaks:
    """Return the peaks and those uphill of some points.

    A point beside a peak that is known is left alone: as near as its own neighbours,
    or within a span and hardly higher than they. So is one far down whose rise may be
    the rounding of log q.
    """
    far = (seen.at.unsqueeze(2) - peaks.at.unsqueeze(1)).abs()  # [M, K, J, c]
    beside = (far <= 1.01 * seen.gap.unsqueeze(2)).all(-1)
    noise = (far <= peaks.span.unsqueeze(1)).all(-1) & (seen.rise < RISE).unsqueeze(2)
    lower = seen.height.unsqueeze(2) <= peaks.height.unsqueeze(1)
    known = ((beside | noise) & lower).any(-1)
    top = torch.cat([peaks.height, seen.height], 1).amax(-1, keepdim=True)
    new = seen.height.isfinite() & ~known & (seen.rise > ROUNDING * (top - seen.height))
    count = int(new.sum(-1).max())
    if count == 0:
        return peaks
    order = new.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[:, :count]
    own = new.gather(1, order).unsqueeze(-1)
    start = torch.where(own, picked(seen.at, order), torch.nan)  # nobody looks there
    at, top = climb(field, start, picked(seen.gap, order))
    span = torch.where(own, spans(field, at), 1.0)
    top = top.masked_fill(~own.squeeze(-1), -torch.inf)
    return join(peaks, Peaks(at.nan_to_num(0.0), top, span))


def survey(field: Field, laws: int, axes: int) -> tuple[Tensor, Tensor]:
    """Return the first lattice [M, L, c] and the log density on it [M, L^c]."""
    reach = torch.asinh(torch.tensor(FARTHEST / SMALLEST, dtype=torch.float64)).item()
    t = torch.linspace(-reach, reach, SURVEY[axes], dtype=torch.float64)
    grid = (SMALLEST * t.sinh()).repeat(axes, laws, 1).permute(1, 2, 0)
    return grid, field(lattice(grid))


def find_mode(field: Field, grid: Tensor, values: Tensor) -> Tensor:
    """Return the best point [M, c] of ever smaller windows, from a first lattice."""
    center, at = _best(grid, values)
    near = [grid.gather(1, i.unsqueeze(1)).squeeze(1) for i in (at - 1, at + 1)]
    half = torch.maximum(center - near[0], near[1] - center)
    points, shrink, rounds = WINDOW[grid.shape[-1]]
    unit = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    looking = torch.ones_like(center[:, :1], dtype=torch.bool)
    for _ in range(rounds):
        window = center.unsqueeze(1) + half.unsqueeze(1) * unit
        there = torch.where(looking.unsqueeze(2), window, torch.nan)  # else nobody
        seen = field(lattice(there))
        best, at = _best(window, seen)
        center = torch.where(looking, best, center)
        inside = (at > 1) & (at < points - 2)
        half = torch.where(inside, shrink * half, 1.5 * half)
        done = inside.all(-1) & flat(seen, grid.shape[-1])
        looking = looking & ~done.unsqueeze(-1)
        if not bool(looking.any()):
            break
    if grid.shape[-1] == 1:
        return center
    at = center.unsqueeze(1)
    return follow(field, at, spans(field, at))[0].squeeze(1)


def _best(axes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best point [M, c] of a lattice, and its index on each axis.

    An index at an end of an axis is moved inside, so that it has neighbours.
    """
    _, points, count = axes.shape
    seen = values.isfinite().any(-1)
    flat = torch.where(seen, values.argmax(-1), values.shape[1] // 2)
    powers = [points ** (count - 1 - i) for i in range(count)]
    at = torch.stack([flat // power % points for power in powers], dim=-1)
    best = axes.gather(1, at.unsqueeze(1)).squeeze(1)
    return best, at.clamp(1, points - 2)
