"""Boxes that integrate a density, cut where they do not.

Each cell [low, high] of the chart carries the Clenshaw-Curtis rule of 17 points (on a
plane, its tensor product). The rule of 9 on the same points says how far it can be
trusted, as in QUADPACK: by min(1, (200 |I₁₇ − I₉| / I₁₇)^1.5) I₁₇, once for each axis.
The points include the ends of the cell, so that no jump hides between two cells. A
cell whose share of the error is too large is halved along its worse axis, up to `WAVE`
cells of a law at a time, at most `rounds` times. All sums are kept as logarithms, for
the first cells may lie e^-10^20 below the peak.

A cell that may hide a peak (`zoom.hidden`) counts as an error of the peak's size. A
relative error that the noise of log q explains (float32: 1e-6) is left alone.

Every law is treated by itself: its cells depend on no other law, and only the number
of empty cells at the end on how long the others take.

Source: Piessens et al., QUADPACK (1983), section 3.4.1 (the error estimate); Trefethen,
Is Gauss quadrature better than Clenshaw-Curtis? SIAM Review 50 (2008).

Shapes: M laws, P cells, c coordinates, k = 17^c points in a cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import legendre
from numpy.typing import NDArray
from torch import Tensor

from audit.families.zoom import hidden, lattice

ORDER = 17
WAVE = 12  # cells of a law that are halved at a time
SHARES = 64  # cells among which the error is divided
INSET = 1e-6  # an end of a cell is looked at from inside, for kinks lie on ends
Density = Callable[[Tensor], Tensor]  # t [M, K, c] -> log density of t [M, K]


class Rule(NamedTuple):
    """Nodes in [-1, 1] [17], ascending, and the weights of both rules."""

    nodes: Tensor
    fine: Tensor
    coarse: Tensor  # zero at every other node


@cache
def rule() -> Rule:
    """Return the pair of rules: polynomials of degree 16 and 8 are exact."""
    nodes = -np.cos(np.arange(ORDER) * np.pi / (ORDER - 1)) * (1 - INSET)
    coarse = np.zeros(ORDER)
    coarse[::2] = _interpolatory(nodes[::2])
    parts = (nodes, _interpolatory(nodes), coarse)
    return Rule(*(torch.from_numpy(part) for part in parts))


def _interpolatory(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights that integrate the Legendre polynomials."""
    basis = legendre.legvander(nodes, len(nodes) - 1)
    return np.linalg.solve(basis.T, 2.0 * (np.arange(len(nodes)) == 0))


@dataclass(frozen=True)
class Cells:
    """Cells of M laws; an empty one has no size and no density."""

    low: Tensor  # [M, P, c]
    high: Tensor  # [M, P, c]
    values: Tensor  # log density at the nodes [M, P, k]
    log_error: Tensor  # [M, P]
    log_mass: Tensor  # [M, P]
    axis: Tensor  # along which to cut [M, P]

    def parts(self) -> tuple[Tensor, ...]:
        """Return the six tensors."""
        return tuple(self.__dict__.values())

    @property
    def points(self) -> Tensor:
        """The nodes t [M, P k, c]."""
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        unit = lattice(rule().nodes[None, :, None].expand(1, ORDER, self.low.shape[-1]))
        return (middle.unsqueeze(2) + half.unsqueeze(2) * unit).flatten(1, 2)

    @property
    def log_masses(self) -> Tensor:
        """The logarithm of weight × density at each node [M, P k]."""
        volume = ((self.high - self.low) / 2).log().sum(-1, keepdim=True)
        return (volume + _weights(self.low.shape[-1])[0].log() + self.values).flatten(1)


@cache
def _weights(axes: int) -> tuple[Tensor, ...]:
    """Return the fine rule, then the coarse one on one axis at a time, [k] each."""
    _, fine, coarse = rule()
    if axes == 1:
        return fine, coarse
    return tuple(
        torch.outer(a, b).flatten()
        for a, b in ((fine, fine), (coarse, fine), (fine, coarse))
    )


def evaluate(density: Density, low: Tensor, high: Tensor, used: Tensor) -> Cells:
    """Return cells [M, P] with their integrals and errors; unused ones are empty."""
    high = torch.where(used.unsqueeze(-1), high, low)
    nothing = torch.full_like(low[..., 0], -torch.inf)
    zero = torch.zeros_like(used, dtype=torch.int64)
    axes = low.shape[-1]
    blank = Cells(low, high, nothing.unsqueeze(-1), nothing, nothing, zero)
    values = density(blank.points).reshape(*used.shape, -1)
    values = values.masked_fill(~used.unsqueeze(-1), -torch.inf)
    top = values.amax(-1)
    scale = torch.where(top.isfinite(), top, 0.0)
    mass, error, axis = _integrate((values - scale.unsqueeze(-1)).exp(), axes)
    volume = ((high - low) / 2).log().sum(-1) + scale
    error = torch.maximum(error.log() + volume, _hope(values, axes, volume))
    error = error.masked_fill(~used, -torch.inf)
    mass = torch.where(used, mass.log() + volume, -torch.inf)
    return Cells(low, high, values, error, mass, axis)


def _integrate(density: Tensor, axes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return integrals over [-1, 1]^c, their errors and the worse axis [M, P]."""
    full, *coarse = _weights(axes)
    mass = density @ full
    safe = mass.clamp_min(1e-300)
    gaps = torch.stack([(mass - density @ weights).abs() for weights in coarse])
    errors = safe * (200 * gaps / safe).pow(1.5).clamp_max(1)
    return mass, errors.sum(0), errors.argmax(0)


def _hope(values: Tensor, axes: int, volume: Tensor) -> Tensor:
    """Return the log mass of a peak that the nodes may have missed [M, P]."""
    excess = hidden(values.reshape(-1, *[ORDER] * axes), rule().nodes).reshape(
        values.shape
    )
    hoped, at = (values + excess).max(-1)
    found = values.gather(-1, at.unsqueeze(-1)).squeeze(-1)
    missed = (hoped - found > 3) & found.isfinite()
    size = hoped - torch.where(values.amax(-1).isfinite(), values.amax(-1), 0.0)
    return torch.where(missed, volume + size - axes * math.log(ORDER), -torch.inf)


def first_cells(density: Density, low: Tensor, high: Tensor, pieces: int) -> Cells:
    """Return the box [M, c] cut into equal pieces on each axis."""
    unit = torch.linspace(0, 1, pieces + 1, dtype=torch.float64)[:, None]
    edges = low.unsqueeze(1) + (high - low).unsqueeze(1) * unit
    lows, highs = lattice(edges[:, :-1]), lattice(edges[:, 1:])
    used = torch.ones(lows.shape[:2], dtype=torch.bool)
    return evaluate(density, lows, highs, used)


def refine(
    density: Density, cells: Cells, noise: Tensor, tolerance: float, rounds: int
) -> Cells:
    """Halve cells until the errors of each law add up to its tolerance × integral.

    Args:
        density: the laws'.
        cells: to start with.
        noise: of log q [M]; a difference between two rules that it explains is none.
        tolerance: relative.
        rounds: at most.
    """
    for _ in range(rounds):
        total = log_sum(cells.log_mass).unsqueeze(-1) + math.log(tolerance)
        wanted = cells.log_error > total - math.log(SHARES)
        wanted &= cells.log_error > cells.log_mass + _in_vain(cells, noise)
        wanted &= log_sum(cells.log_error).unsqueeze(-1) > total
        if not wanted.any():
            break
        cells = _halve(density, cells, wanted)
    return cells


def _in_vain(cells: Cells, noise: Tensor) -> Tensor:
    """Return the log relative error [M, P] that is noise; it grows with |log q|."""
    top = cells.values.amax(-1)
    below = (top.amax(-1, keepdim=True) - top).clamp_max(50).nan_to_num(0.0)
    gap = noise.unsqueeze(-1) * (1 + below)
    return (3 * (200 * gap).pow(1.5)).clamp_max(0.3).log()


def log_sum(logs: Tensor) -> Tensor:
    """Return log Σ exp over the last axis, in order: empty cells change no bit."""
    top = logs.amax(-1)
    safe = torch.where(top.isfinite(), top, 0.0)
    return (logs - safe.unsqueeze(-1)).exp().cumsum(-1)[..., -1].log() + safe


def _halve(density: Density, cells: Cells, wanted: Tensor) -> Cells:
    """Halve the worst of the wanted cells of each law."""
    urgency = cells.log_error.masked_fill(~wanted, -torch.inf)
    at = urgency.argsort(dim=-1, descending=True, stable=True)[:, :WAVE]
    used = wanted.gather(1, at)
    parent = _take(cells, at)
    left, right = _halves(density, parent, used)
    return _join(_put(cells, at, _choose(used, left, parent)), right)


def _halves(density: Density, parent: Cells, used: Tensor) -> tuple[Cells, Cells]:
    cut = torch.nn.functional.one_hot(parent.axis, parent.low.shape[-1]).bool()
    middle = (parent.low + parent.high) / 2
    low = torch.cat([parent.low, torch.where(cut, middle, parent.low)], dim=1)
    high = torch.cat([torch.where(cut, middle, parent.high), parent.high], dim=1)
    both = evaluate(density, low, high, torch.cat([used, used], dim=1)).parts()
    halves = zip(*(part.chunk(2, dim=1) for part in both), strict=True)
    left, right = (Cells(*parts) for parts in halves)
    return left, right


def _index(part: Tensor, at: Tensor) -> Tensor:
    return at.unsqueeze(-1).expand(*at.shape, part.shape[-1]) if part.dim() > 2 else at


def _take(cells: Cells, at: Tensor) -> Cells:
    return Cells(*(part.gather(1, _index(part, at)) for part in cells.parts()))


def _put(cells: Cells, at: Tensor, new: Cells) -> Cells:
    pairs = zip(cells.parts(), new.parts(), strict=True)
    return Cells(*(old.scatter(1, _index(old, at), part) for old, part in pairs))


def _choose(where: Tensor, new: Cells, old: Cells) -> Cells:
    pairs = zip(new.parts(), old.parts(), strict=True)
    return Cells(
        *(
            torch.where(where.unsqueeze(-1) if a.dim() > 2 else where, a, b)
            for a, b in pairs
        )
    )


def _join(left: Cells, right: Cells) -> Cells:
    pairs = zip(left.parts(), right.parts(), strict=True)
    return Cells(*(torch.cat(pair, dim=1) for pair in pairs))
