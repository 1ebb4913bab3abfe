"""The one engine of every continuous one-dimensional law.

With score s_i = ∂ log f / ∂φ_i at fixed y, cdf C and increasing quantile map T, whose
derivative at a fixed level is −∂C / density,

    Fisher      F = ∫ f s sᵀ dy
    transport   G = ∫ (∂C)(∂C)ᵀ (dx/dy)² / f dy,       ∂C(y) = ∫ f s up to y

∂C is integrated from the nearer end (∫ f s = 0), so that tails keep their digits.
Divergences are integrals of `integrands` over panels that resolve both laws.

Sources: Amari & Nagaoka, Methods of Information Geometry (2000), section 2.2 (score and
Fisher information); Villani, Topics in Optimal Transportation (2003), section 2.2
(increasing maps).
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.integrands import Integrand
from audit.families.lines import Line, by_chunks, edges_of, panels_of, sides_of

LOG_TINY = -690.0  # below it a density has lost its digits
GAP = 1e-9  # mass on both sides of such a place: a gap, not a tail


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

    return by_chunks(tensor, line, rows, copies=1 + rows.shape[1])


def transport_tensor(line: Line, rows: Tensor) -> Tensor:
    """Return G [M, q, q]; meaningless where the second moment is infinite."""

    def tensor(rows: Tensor) -> Tensor:
        panels = panels_of(line, rows, moment=2)
        log_density = line.log_density(panels.nodes, rows.unsqueeze(1))
        density = log_density.exp().unsqueeze(-1)
        flow = density * line.score(panels.nodes, rows)
        below, above = panels.cumulative(torch.cat([density, flow], dim=-1))
        lower = below[..., :1] < above[..., :1]
        step = torch.where(lower, below, -above)
        faint = log_density < LOG_TINY
        slope = (line.chart.log_slope(panels.nodes) - log_density).exp()
        speed = step[..., 1:] * slope.masked_fill(faint, 0).unsqueeze(-1)
        weights = panels.weights * density.squeeze(-1)
        gap = (faint & (step[..., 0].abs() > GAP)).any(-1)
        return _outer(weights, speed).masked_fill(gap[:, None, None], torch.inf)

    return by_chunks(tensor, line, rows, copies=1 + rows.shape[1])


def divergence(line: Line, left: Tensor, right: Tensor, integrand: Integrand) -> Tensor:
    """Return the divergence [M] of an integrand; infinite where a tail says so."""

    def value(left: Tensor, right: Tensor) -> Tensor:
        edges, infinite = _tilted_edges(line, left, right, integrand.tilt)
        panels = panels_of(line, left, edges_of(line, right), *edges)
        log_f = line.log_density(panels.nodes, left.unsqueeze(1))
        log_g = line.log_density(panels.nodes, right.unsqueeze(1))
        return integrand(log_f, log_g, panels.weights).masked_fill(infinite, torch.inf)

    return by_chunks(value, line, left, right, copies=8)


def _tilted_edges(
    line: Line, left: Tensor, right: Tensor, tilt: float
) -> tuple[list[Tensor], Tensor]:
    """Return edges for f^α g^{1−α}, and where its tails do not end [M]."""

    def tilted(y: Tensor) -> Tensor:
        log_f = line.log_density(y, left.unsqueeze(1))
        return tilt * log_f + (1 - tilt) * line.log_density(y, right.unsqueeze(1))

    edges, infinite = [], torch.zeros_like(left[:, 0], dtype=torch.bool)
    if tilt > 1:
        for side in sides_of(line, left, tilted):
            reach = side.reach(moment=0)
            endless = torch.isinf(reach)
            infinite = infinite | endless
            edges.append(side.edges(torch.where(endless, side.width, reach)))
    return edges, infinite


def _outer(weights: Tensor, vectors: Tensor) -> Tensor:
    """Return Σ_k w_k v_k v_kᵀ [M, q, q]."""
    return torch.einsum("mk,mki,mkj->mij", weights, vectors, vectors)
