"""Fresh points in cells that integrate, to find what their nodes did not see.

The rule of a cell is the integral of a polynomial p through its nodes. A second set of
points, evenly spread (on a plane, Roberts' R₂ sequence: k (φ⁻¹, φ⁻²) mod 1 with
φ³ = φ + 1) and moved by another fraction in each round, tells how much of the density q
it does not explain: the mean of (q − p)₊ × volume over the points of a cell estimates,
without bias, the mass there that p misses. All cells get a few points, the largest
that matter, by mass^¼ × volume^¾, get many.

A point that lies above p by more than noise is taken for the slope of a mode: that is
climbed, the cells there are cut down to its span (`seeds`) and integrated again, and
other points look at the result (`assurance`). What is not explained in the end is an
error of the integral. If a point then still stands out above all nodes of its cell,
there are modes that nobody has resolved: expectations may be anything, and the error
is at least one. A mode that one or two points alone have hit may have companions that
none has hit (Good, The population frequencies of species, Biometrika 40, 1953: the
unseen share is about that of the species seen once), so that its mass stays in the
error, though it is integrated.

A mode that no point hits stays unseen, and the error says nothing of it. On a line
the points are about σ/1000 apart over the bulk (4 σ) of a normal law, and see a spike
some ten of its own standard deviations wide: one of σ/10000 is found there, thinner
ones by luck. On a plane it takes σ/100.

Shapes: M laws, P cells, J points of each, c ∈ {1, 2} axes.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Tensor

from audit.nodes.cells import Cells, Density, log_sum
from audit.nodes.charts import picked
from audit.nodes.clenshaw_curtis import ORDER, rule
from audit.nodes.halving import take
from audit.nodes.peaks import Seen, best

ALL = {1: 8, 2: 32}  # points in every cell
MANY = {1: ((12, 512), (20, 640)), 2: ((16, 2048),)}  # cells that matter, points
FACTOR = 1e-4  # nats above p that are no noise
NOISE = 30.0  # times the noise of log q that are none
STANDS_OUT = 1.0  # nats above all nodes of a cell
WORTH = 1e-8  # share of the mass below which a point does not matter
GRAVE = 1e-5  # share of a point that stands out
STARTS = 64  # points that are climbed
STEP = (0.6180339887498949, 0.7548776662466927, 0.5698402909980532)


class Missed(NamedTuple):
    """What the points of a round say."""

    log_mass: Tensor  # that the cells do not explain [M]
    seen: Seen  # points of which to climb [M, J]
    stands_out: Tensor  # which of them lie above all nodes of their cell [M, J]


def look_again(density: Density, cells: Cells, noise: Tensor, turn: int) -> Missed:
    """Return what fresh points see that the cells do not explain.

    Args:
        density: log density of t.
        cells: that integrate it.
        noise: of log q [M].
        turn: of the points, another one for other points.
    """
    axes = cells.low.shape[-1]
    size = (cells.high - cells.low).log().sum(-1)
    matter = (cells.log_mass + 3 * size).masked_fill(~size.isfinite(), -torch.inf)
    order = matter.argsort(dim=-1, descending=True, stable=True)
    visits = [_visit(density, cells, ALL[axes], turn)]
    first = 0
    for number, points in MANY[axes]:
        largest = order[:, first : first + number]
        chosen = take(cells, largest)
        visits.append(_visit(density, chosen, points, turn + len(visits)))
        first += number
    return _judge(visits, cells, noise)


def _judge(visits: list[_Visit], cells: Cells, noise: Tensor) -> Missed:
    """Return what all points together say.

    Less than the error that the cells admit is nothing new.
    """
    missed = torch.stack([log_sum(v.log_mass) for v in visits]).amax(0)
    admitted = log_sum(cells.log_error)
    floor = (log_sum(cells.log_mass) + math.log(WORTH)).unsqueeze(-1)
    worth = torch.cat([v.log_mass for v in visits], 1)
    out = torch.cat([v.stands_out for v in visits], 1)
    seen = Seen(*(torch.cat(p, 1) for p in zip(*(v.seen for v in visits), strict=True)))
    clear = seen.rise > (NOISE * noise.unsqueeze(-1)).clamp_min(FACTOR)
    clear &= (worth > floor) & (missed > admitted).unsqueeze(-1)
    ranks, order = best(worth.masked_fill(~clear, -torch.inf), STARTS)
    out = out.gather(1, order) & (ranks > floor + math.log(GRAVE / WORTH))
    seen = Seen(*(picked(part, order) for part in seen))
    height = seen.height.masked_fill(~ranks.isfinite(), -torch.inf)
    return Missed(missed, seen._replace(height=height), out)


class _Visit(NamedTuple):
    log_mass: Tensor  # that p misses, for each point [M, P J]
    stands_out: Tensor  # [M, P J]
    seen: Seen


def _visit(density: Density, cells: Cells, count: int, turn: int) -> _Visit:
    """Look at the same places of all cells."""
    axes = cells.low.shape[-1]
    places, matrix = _places(axes, count, turn)
    size = cells.high - cells.low
    t = cells.low.unsqueeze(2) + size.unsqueeze(2) * places
    height = density(t.flatten(1, 2)).reshape(*t.shape[:3])
    top = cells.values.amax(-1, keepdim=True)
    scale = torch.where(top.isfinite(), top, 0.0)
    p = ((cells.values - scale).exp() @ matrix).clamp_min(0).log() + scale
    above = torch.where(height.isfinite(), height - p, -torch.inf)
    excess = height + torch.log1p(-(-above.clamp_min(0)).exp())
    mass = excess + size.log().sum(-1, keepdim=True) - math.log(count)
    gap = (size / count ** (1 / axes)).unsqueeze(2).expand_as(t)
    seen = Seen(t.flatten(1, 2), gap.flatten(1, 2), height.flatten(1), above.flatten(1))
    return _Visit(mass.flatten(1), (height > top + STANDS_OUT).flatten(1), seen)


@cache
def _places(axes: int, count: int, turn: int) -> tuple[Tensor, Tensor]:
    """Return points of [0, 1]^c [J, c], and what takes nodes' values there [k, J]."""
    rank = np.arange(count)
    columns = [(rank + 0.5) / count] if axes == 1 else [STEP[1] * rank, STEP[2] * rank]
    shift = (turn + 1) * STEP[0]
    shift = shift / count if axes == 1 else shift
    places = (np.stack(columns, -1) + shift) % 1.0
    nodes = legendre.legvander(rule().nodes.numpy(), ORDER - 1)
    lines = [
        np.linalg.solve(nodes.T, legendre.legvander(2 * x - 1, ORDER - 1).T)
        for x in places.T
    ]
    matrix = lines[0]
    if axes == 2:
        matrix = np.einsum("aj,bj->abj", *lines).reshape(-1, count)
    return torch.from_numpy(places), torch.from_numpy(matrix)
