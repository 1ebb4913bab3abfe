"""Boxes that integrate a density, and say how well.

Each cell [low, high] of the chart carries the Clenshaw-Curtis rule of 17 points (on a
plane, its tensor product). The rule of 9 on the same points says how far it can be
trusted, as in QUADPACK: by min(1, (200 |I₁₇ − I₉| / I₁₇)^1.5) I₁₇, once for each axis.
The points include the ends of the cell, so that no jump hides between two cells. All
sums are kept as logarithms, for the first cells may lie e^-10^20 below the peak. A
cell that may hide a peak (`charts.hidden`) counts as an error of the peak's size.

Source: Piessens et al., QUADPACK (1983), section 3.4.1 (the error estimate).

Shapes: M laws, P cells, c coordinates, k = 17^c points in a cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from audit.nodes.charts import hidden, lattice
from audit.nodes.clenshaw_curtis import ORDER, rule, weights
from audit.nodes.kinks import change, rough_error, roughness

Density = Callable[[Tensor], Tensor]  # t [M, K, c] -> log density of t [M, K]

_FROM_ZERO = ("low", "high", "axis", "rough")  # in an empty cell
BEYOND = 1.0  # nats by which a hidden mode may be higher than all others


@dataclass(frozen=True)
class Cells:
    """Cells of M laws; an empty one has no size and no density."""

    low: Tensor  # [M, P, c]
    high: Tensor  # [M, P, c]
    values: Tensor  # log density at the nodes [M, P, k]
    log_error: Tensor  # [M, P]
    log_mass: Tensor  # [M, P]
    axis: Tensor  # along which to cut [M, P]
    ceiling: Tensor  # the log density of the law's highest known mode [M, P]
    log_gap: Tensor  # between the two rules, along each axis [M, P, c]
    log_told: Tensor  # error, also of a rough cell; elsewhere log_error [M, P]
    rough: Tensor  # halvings that did not make it fall (`kinks`) [M, P]

    def parts(self) -> tuple[Tensor, ...]:
        """Return the ten tensors."""
        return tuple(self.__dict__.values())

    def padded(self, count: int) -> Cells:
        """Return as many cells of each law [M, count], the last ones empty."""
        parts = []
        for name, part in self.__dict__.items():
            blank = 0.0 if name in _FROM_ZERO else -torch.inf
            shape = (len(part), count - part.shape[1], *part.shape[2:])
            parts.append(torch.cat([part, part.new_full(shape, blank)], dim=1))
        return Cells(*parts)

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
        return (volume + weights(self.low.shape[-1])[0].log() + self.values).flatten(1)


def evaluate(
    density: Density,
    low: Tensor,
    high: Tensor,
    used: Tensor,
    ceiling: Tensor,
    parent: Cells | None = None,
) -> Cells:
    """Return cells [M, P] with their integrals and errors; unused ones are empty.

    Args:
        density: log density of points [M, K, c].
        low: corners [M, P, c].
        high: the opposite ones.
        used: which cells there are [M, P].
        ceiling: the log density of the highest known mode [M, P], ∞ if unknown.
        parent: the cells [M, P / 2] that these are the halves of; None: none are.
    """
    high = torch.where(used.unsqueeze(-1), high, low)
    nothing = torch.full_like(low[..., 0], -torch.inf)
    zero = torch.zeros_like(used, dtype=torch.int64)
    axes = low.shape[-1]
    none = nothing.unsqueeze(-1)
    blank = Cells(low, high, none, nothing, nothing, zero, ceiling, none, nothing, zero)
    values = density(_there(blank.points, used)).reshape(*used.shape, -1)
    values = values.masked_fill(~used.unsqueeze(-1), -torch.inf)
    top = values.amax(-1)
    scale = torch.where(top.isfinite(), top, 0.0)
    found = _integrate((values - scale.unsqueeze(-1)).exp(), axes)
    volume = ((high - low) / 2).log().sum(-1) + scale
    mass, error = (part.log() + volume for part in found[:2])
    gap = found.gaps.log() + volume.unsqueeze(-1)
    told, rough = _judged(parent, mass, error, gap) if parent else (error, zero)
    hope, axis = _hope(values, axes, volume, ceiling), found.axis
    axis = torch.where(hope > error, (high - low).argmax(-1), axis)
    error, told = torch.maximum(error, hope), torch.maximum(told, hope)
    logs = (part.masked_fill(~used, -torch.inf) for part in (error, mass, told))
    error, mass, told = logs
    return Cells(low, high, values, error, mass, axis, ceiling, gap, told, rough)


def _there(points: Tensor, used: Tensor) -> Tensor:
    """Return points [M, P k, c], NaN in cells that are empty: nobody looks there."""
    many = used.repeat_interleave(points.shape[1] // used.shape[1], dim=1)
    return points.masked_fill(~many.unsqueeze(-1), torch.nan)


def _judged(
    parent: Cells, mass: Tensor, error: Tensor, gap: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the log errors of halves, and how many halvings were in vain."""
    if parent.low.shape[-1] == 1:  # halving reaches any tolerance on a line
        return error, torch.zeros_like(parent.rough).repeat(1, 2)
    along = parent.axis.unsqueeze(-1)
    before = parent.log_gap.gather(-1, along).squeeze(-1)
    after = gap.gather(-1, along.repeat(1, 2, 1)).squeeze(-1)
    rough = roughness(before, parent.log_mass, parent.rough, after)
    changed = change(parent.log_mass, mass)
    return rough_error(error, gap.logsumexp(-1), changed, rough), rough


class _Sums(NamedTuple):
    mass: Tensor
    error: Tensor
    gaps: Tensor  # [M, P, c]
    axis: Tensor


def _integrate(density: Tensor, axes: int) -> _Sums:
    """Return integrals over [-1, 1]^c, errors, gaps, and the worse axis [M, P]."""
    full, *coarse = weights(axes)
    mass = density @ full
    safe = mass.clamp_min(1e-300)
    gaps = torch.stack([(mass - density @ w).abs() for w in coarse])
    errors = safe * (200 * gaps / safe).pow(1.5).clamp_max(1)
    return _Sums(mass, errors.sum(0), gaps.movedim(0, -1), errors.argmax(0))


def _hope(values: Tensor, axes: int, volume: Tensor, ceiling: Tensor) -> Tensor:
    """Return the log mass of a peak that the nodes may have missed [M, P].

    A parabola through points far down a slope reaches any height: no further than
    `BEYOND` nats above what is known is hoped for, and a peak that is thinner than the
    lattice has no more than its own share of a step.
    """
    lattice = values.reshape(-1, *[ORDER] * axes)
    excess, width = (
        part.reshape(values.shape) for part in hidden(lattice, rule().nodes)
    )
    hoped, at = (values + excess).max(-1)
    found, thin = (p.gather(-1, at.unsqueeze(-1)).squeeze(-1) for p in (values, width))
    missed = (hoped - found > 3) & found.isfinite()
    top = values.amax(-1)
    hoped = torch.minimum(hoped, torch.maximum(ceiling, top) + BEYOND)
    size = hoped - torch.where(top.isfinite(), top, 0.0)
    share = (thin * ORDER / 2).clamp_max(1.0).log() - axes * math.log(ORDER)
    return torch.where(missed, volume + size + share, -torch.inf)


def log_sum(logs: Tensor) -> Tensor:
    """Return log Σ exp over the last axis, in order: empty cells change no bit."""
    top = logs.amax(-1)
    safe = torch.where(top.isfinite(), top, 0.0)
    return (logs - safe.unsqueeze(-1)).exp().cumsum(-1)[..., -1].log() + safe
