"""The one engine of every continuous one-dimensional law.

A law is known by its log density f in a chart y of its support (x, log x or logit x)
and by where its bulk is. With score s_i = ∂ log f / ∂φ_i at fixed y, cdf C and
increasing quantile map T, whose derivative at a fixed level is −∂C / density,

    Fisher      F = ∫ f s sᵀ dy
    transport   G = ∫ (∂C)(∂C)ᵀ (dx/dy)² / f dy,       ∂C(y) = ∫ f s up to y

∂C is integrated from the nearer end (∫ f s = 0), so that tails keep their digits.
Divergences are integrals of `integrands` over panels that resolve both laws.

Sources: Amari & Nagaoka, Methods of Information Geometry (2000), section 2.2 (score and
Fisher information); Villani, Topics in Optimal Transportation (2003), section 2.2
(increasing maps).

Shapes: M laws, K nodes, q parameters; `rows` [M, q] is one φ for each law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from audit.families.integrands import Integrand
from audit.families.panels import ORDER, Panels, graded_edges, tail_reach

CHUNK = 3_000_000  # numbers [laws, nodes, parameters] at once
LOG_TINY = -690.0  # below it a density has lost its digits
LONGEST = 1e150  # of a tail, in y


@dataclass(frozen=True)
class Chart:
    """A coordinate y of the support."""

    point: Callable[[Tensor], Tensor]  # x(y)
    log_slope: Callable[[Tensor], Tensor]  # log dx/dy
    log_size: Callable[[Tensor, Tensor], Tensor]  # (step of y, width) -> log |x| grown


REAL = Chart(
    lambda y: y, torch.zeros_like, lambda step, width: (step / width).abs().log()
)
POSITIVE = Chart(torch.exp, lambda y: y, lambda step, width: step)
UNIT = Chart(
    torch.sigmoid,
    lambda y: logsigmoid(y) + logsigmoid(-y),
    lambda step, width: torch.zeros_like(step),
)


class Line(Protocol):
    """A family of laws on a line."""

    @property
    def chart(self) -> Chart:
        """The coordinate y in which densities are given."""

    @property
    def limit(self) -> float:
        """How far y may be from the first centre: π on a circle, else infinity."""

    def bulk(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return centres and widths [M, B] of the B bulks of a law, in y."""

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return log f [M, K] at y [M, K], for parameters [M, 1 or K, q]."""

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ∂ log f / ∂φ [M, K, q] at y [M, K], for parameters [M, q]."""


def automatic_score(line: Line, y: Tensor, rows: Tensor) -> Tensor:
    """Return the score [M, K, q] by reverse mode, with one copy of φ at each node."""
    with torch.enable_grad():
        copies = rows.detach().unsqueeze(1).repeat(1, y.shape[1], 1).requires_grad_()
        total = line.log_density(y.detach(), copies).sum()
        (score,) = torch.autograd.grad(total, copies)
    return score


def fisher_information(line: Line, rows: Tensor) -> Tensor:
    """Return F [M, q, q]."""

    def tensor(rows: Tensor) -> Tensor:
        panels = panels_of(line, rows)
        score = line.score(panels.nodes, rows)
        density = line.log_density(panels.nodes, rows.unsqueeze(1)).exp()
        return _outer(panels.weights * density, score)

    return _by_chunks(tensor, line, rows)


def transport_tensor(line: Line, rows: Tensor) -> Tensor:
    """Return G [M, q, q]; wrong where the second moment is infinite."""

    def tensor(rows: Tensor) -> Tensor:
        panels = panels_of(line, rows, moment=2)
        log_density = line.log_density(panels.nodes, rows.unsqueeze(1))
        density = log_density.exp().unsqueeze(-1)
        flow = density * line.score(panels.nodes, rows)
        below, above = panels.cumulative(torch.cat([density, flow], dim=-1))
        lower = below[..., :1] < above[..., :1]
        step = torch.where(lower, below, -above)[..., 1:]
        slope = (line.chart.log_slope(panels.nodes) - log_density).exp()
        slope = slope * (log_density > LOG_TINY)
        weights = panels.weights * density.squeeze(-1)
        return _outer(weights, torch.nan_to_num(step * slope.unsqueeze(-1)))

    return _by_chunks(tensor, line, rows)


def divergence(line: Line, left: Tensor, right: Tensor, integrand: Integrand) -> Tensor:
    """Return the divergence [M] of an integrand; infinite where a tail says so."""

    def tilted(y: Tensor) -> Tensor:
        log_f = line.log_density(y, left.unsqueeze(1))
        log_g = line.log_density(y, right.unsqueeze(1))
        return integrand.tilt * log_f + (1 - integrand.tilt) * log_g

    parts = [_edges(line, left), _edges(line, right)]
    infinite = torch.zeros(len(left), dtype=torch.bool, device=left.device)
    if integrand.tilt > 1:
        tails = _edges(line, left, log_density=tilted)
        infinite = ~torch.isfinite(tails).all(-1)
        parts.append(torch.where(infinite.unsqueeze(-1), parts[0][:, :1], tails))
    panels = _merged(line, left, parts)
    log_f = line.log_density(panels.nodes, left.unsqueeze(1))
    log_g = line.log_density(panels.nodes, right.unsqueeze(1))
    value = integrand(log_f, log_g, panels.weights)
    return torch.where(infinite, torch.inf, value)


@dataclass(frozen=True)
class _Side:
    """One side of a bulk, seen from its centre by distances [M, K]."""

    line: Line
    log_density: Callable[[Tensor], Tensor]  # of y [M, K]
    center: Tensor
    width: Tensor
    side: int

    def at(self, steps: Tensor) -> Tensor:
        """Return the log density [M, K] at distances [M, K]."""
        return self.log_density(self.center.unsqueeze(-1) + self.side * steps)

    def log_mass(self, moment: int, steps: Tensor) -> Tensor:
        """Return the log of density × distance × |x|^moment [M, K]."""
        size = self.line.chart.log_size(self.side * steps, self.width.unsqueeze(-1))
        return self.at(steps) + steps.log() + moment * size.clamp_min(0)


def panels_of(line: Line, rows: Tensor, moment: int = 0) -> Panels:
    """Return panels that resolve the law of each row, and that moment of its tails."""
    return _merged(line, rows, [_edges(line, rows, moment)])


def _merged(line: Line, rows: Tensor, edges: list[Tensor]) -> Panels:
    first = line.bulk(rows)[0][:, :1]
    inside = torch.cat(edges, -1).clamp(first - line.limit, first + line.limit)
    return Panels(inside.sort(dim=-1).values)


def _edges(
    line: Line,
    rows: Tensor,
    moment: int = 0,
    log_density: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return edges [M, E + 1] around every bulk, as far as `log_density` reaches.

    Args:
        moment: tails are cut where they hold nothing of that moment of x either.
        log_density: y [M, K] -> [M, K], instead of the law's own; where its tails do
            not end, the edges are infinite.
    """

    def own(y: Tensor) -> Tensor:
        return line.log_density(y, rows.unsqueeze(1))

    edges = []
    for center, width in zip(*(b.unbind(-1) for b in line.bulk(rows)), strict=True):
        for side in (-1, 1):
            law = _Side(line, log_density or own, center, width, side)
            reach = tail_reach(partial(law.log_mass, moment), width, line.limit)
            if log_density is None:
                reach = reach.clamp_max(LONGEST)
            steps = graded_edges(law.at, width, reach)
            edges.append(center.unsqueeze(-1) + side * steps)
    return torch.cat(edges, dim=-1)


def _outer(weights: Tensor, vectors: Tensor) -> Tensor:
    """Return Σ_k w_k v_k v_kᵀ [M, q, q]."""
    return torch.einsum("mk,mki,mkj->mij", weights, vectors, vectors)


def _by_chunks(tensor: Callable[[Tensor], Tensor], line: Line, rows: Tensor) -> Tensor:
    """Apply `tensor` to a few laws at a time, so that memory stays bounded."""
    nodes = 32 * ORDER * line.bulk(rows[:1])[0].shape[1]
    size = max(1, CHUNK // (nodes * (1 + rows.shape[1])))
    return torch.cat([tensor(rows[i : i + size]) for i in range(0, len(rows), size)])
