"""The one engine of every continuous one-dimensional law.

With score s_i = ∂ log f / ∂φ_i at fixed y, cdf C and increasing quantile map T, whose
derivative at a fixed level is −∂C / density,

    Fisher      F = ∫ f s sᵀ dy
    transport   G = ∫ (∂C)(∂C)ᵀ (dx/dy)² / f dy,       ∂C(y) = ∫ f s up to y

∂C is integrated from the nearer end (∫ f s = 0) and in units of the density around, so
that the thinnest tail keeps its digits.
Divergences are integrals of `integrands` over panels that resolve both laws. What no
panels resolve is NaN.

Sources: Amari & Nagaoka, Methods of Information Geometry (2000), section 2.2 (score and
Fisher information); Villani, Topics in Optimal Transportation (2003), section 2.2
(increasing maps).
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.integrands import Integrand
from audit.families.lines import (
    Line,
    by_chunks,
    edges_of,
    panels_of,
    sides_of,
    unresolved,
)
from audit.families.panels import ORDER


def automatic_score(line: Line, y: Tensor, rows: Tensor) -> Tensor:
    """Return the score [M, K, q] by reverse mode, with one copy of φ at each node."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        copies = rows.detach().unsqueeze(1).repeat(1, y.shape[1], 1).requires_grad_()
        total = line.log_density(y.detach().clone(), copies).sum()
        (score,) = torch.autograd.grad(total, copies)
    return score


def fisher_information(line: Line, rows: Tensor) -> Tensor:
    """Return F [M, q, q]."""

    def tensor(rows: Tensor) -> Tensor:
        panels = panels_of(line, rows)
        score = line.score(panels.nodes, rows)
        density = line.log_density(panels.nodes, rows.unsqueeze(1)).exp()
        found = _outer(panels.weights * density, score)
        return found.masked_fill(_column(unresolved(line, rows)), torch.nan)

    return by_chunks(tensor, line, rows, copies=1 + rows.shape[1])


def transport_tensor(line: Line, rows: Tensor) -> Tensor:
    """Return G [M, q, q]; meaningless where the second moment is infinite."""

    def tensor(rows: Tensor) -> Tensor:
        panels = panels_of(line, rows, moment=2)
        y = panels.nodes
        log_density = line.log_density(y, rows.unsqueeze(1))
        peaks = log_density.reshape(len(y), -1, ORDER).amax(-1)  # of each panel
        density = (log_density - peaks.repeat_interleave(ORDER, -1)).exp().unsqueeze(-1)
        flow = torch.cat([density, density * line.score(y, rows)], dim=-1)
        below, above = panels.scaled_cumulative(flow, peaks)
        lower = below[..., :1] < above[..., :1]
        speed = torch.where(lower, below, -above)[..., 1:] / density
        weights = panels.weights * (log_density + 2 * line.chart.log_slope(y)).exp()
        endless = torch.isinf(speed)  # where the density is nothing beside the flow
        tensor = _outer(weights, torch.where(endless, 0.0, speed))
        infinite = torch.diag_embed(endless.any(1))
        lost = _column(unresolved(line, rows, moment=2))
        return torch.where(infinite, torch.inf, tensor).masked_fill(lost, torch.nan)

    return by_chunks(tensor, line, rows, copies=2 + 2 * rows.shape[1])


def divergence(line: Line, left: Tensor, right: Tensor, integrand: Integrand) -> Tensor:
    """Return the divergence [M] of an integrand; infinite where a tail says so."""

    def value(left: Tensor, right: Tensor) -> Tensor:
        edges, infinite = _tilted_edges(line, left, right, integrand.tilt)
        panels = panels_of(line, left, edges_of(line, right), *edges)
        log_f = line.log_density(panels.nodes, left.unsqueeze(1))
        log_g = line.log_density(panels.nodes, right.unsqueeze(1))
        value = integrand(log_f, log_g, panels.weights)
        lost = unresolved(line, left) | unresolved(line, right)
        value = value.masked_fill(lost, torch.nan)
        return value.masked_fill(infinite, torch.inf)

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


def _column(rows: Tensor) -> Tensor:
    return rows[:, None, None]


def _outer(weights: Tensor, vectors: Tensor) -> Tensor:
    """Return Σ_k w_k v_k v_kᵀ [M, q, q]."""
    return torch.einsum("mki,mkj->mij", weights.unsqueeze(-1) * vectors, vectors)
