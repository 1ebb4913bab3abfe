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

from collections.abc import Callable

import torch
from torch import Tensor

from audit.families.integrands import RELATIVE_ENTROPY, Integrand
from audit.families.lines import Line, by_chunks
from audit.families.panels import ORDER
from audit.families.special import times
from audit.families.survey import Survey, panels_of, survey, where_known

ENOUGH = 0.1  # nats: an expectation of this size has not cancelled


def automatic_score(line: Line, y: Tensor, rows: Tensor) -> Tensor:
    """Return the score [M, K, q] by reverse mode, with one copy of φ at each node."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        copies = rows.detach().unsqueeze(1).repeat(1, y.shape[1], 1).requires_grad_()
        total = line.log_density(y.detach().clone(), copies).sum()
        (score,) = torch.autograd.grad(total, copies)
    return score


def fisher_information(line: Line, rows: Tensor) -> Tensor:
    """Return F [M, q, q]."""

    def tensor(rows: Tensor, surveyed: Survey) -> Tensor:
        panels = panels_of(surveyed)
        score = line.score(panels.nodes, rows)
        density = line.log_density(panels.nodes, rows.unsqueeze(1)).exp()
        return _outer(panels.weights * density, score)

    return _square(tensor, line, rows, moment=0)


def transport_tensor(line: Line, rows: Tensor) -> Tensor:
    """Return G [M, q, q]; meaningless where the second moment is infinite."""

    def tensor(rows: Tensor, surveyed: Survey) -> Tensor:
        panels = panels_of(surveyed)
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
        return torch.where(torch.diag_embed(endless.any(1)), torch.inf, tensor)

    return _square(tensor, line, rows, moment=2)


def _square(
    tensor: Callable[[Tensor, Survey], Tensor], line: Line, rows: Tensor, moment: int
) -> Tensor:
    """Return tensor(rows, their survey) [M, q, q] by chunks, NaN for those lost."""

    def chunk(rows: Tensor) -> Tensor:
        surveyed = survey(line, rows, moment)
        found = where_known(tensor, surveyed.lost, rows, surveyed)
        square = len(rows), rows.shape[1], rows.shape[1]
        return found if found.dim() == 3 else found[:, None, None].expand(square)

    return by_chunks(chunk, line, rows, copies=2 + 2 * rows.shape[1])


def divergence(line: Line, left: Tensor, right: Tensor, integrand: Integrand) -> Tensor:
    """Return the divergence [M] of an integrand; infinite where a tail says so."""

    def value(left: Tensor, right: Tensor, *surveys: Survey) -> Tensor:
        panels = panels_of(*surveys)
        log_f = line.log_density(panels.nodes, left.unsqueeze(1))
        log_g = line.log_density(panels.nodes, right.unsqueeze(1))
        return integrand(log_f, log_g, panels.weights)

    def chunk(left: Tensor, right: Tensor) -> Tensor:
        surveys = [survey(line, left), survey(line, right)]
        lost, infinite = surveys[0].lost | surveys[1].lost, None
        if integrand.tilt > 1:
            surveys.append(_tilted(line, left, right, integrand.tilt))
            infinite = surveys[2].endless & ~lost
            lost = lost | surveys[2].lost
        found = where_known(value, lost, left, right, *surveys)
        if infinite is not None:
            return found.masked_fill(infinite, torch.inf)
        if integrand is RELATIVE_ENTROPY and bool((lost & ~surveys[0].lost).any()):
            return torch.where(lost, _mean_loss(line, left, right, surveys[0]), found)
        return found

    return by_chunks(chunk, line, left, right, copies=8)


def _mean_loss(line: Line, left: Tensor, right: Tensor, surveyed: Survey) -> Tensor:
    """Return KL [M] as E log f/g on panels for f alone, NaN where that cancels.

    Where no panels resolve g it is far from f, so that f has all there is to know.
    """

    def mean(left: Tensor, right: Tensor, surveyed: Survey) -> Tensor:
        panels = panels_of(surveyed)
        log_f = line.log_density(panels.nodes, left.unsqueeze(1))
        log_g = line.log_density(panels.nodes, right.unsqueeze(1))
        loss = times(panels.weights * log_f.exp(), log_f - log_g).sum(-1)
        return torch.where(loss > ENOUGH, loss, torch.nan)

    lost = surveyed.lost | ~torch.isfinite(right).all(-1)
    return where_known(mean, lost, left, right, surveyed)


def _tilted(line: Line, left: Tensor, right: Tensor, tilt: float) -> Survey:
    """Survey f^α g^{1−α}, whose tails may not end for α > 1."""

    def tilted(y: Tensor) -> Tensor:
        log_f = line.log_density(y, left.unsqueeze(1))
        return tilt * log_f + (1 - tilt) * line.log_density(y, right.unsqueeze(1))

    return survey(line, left, log_density=tilted)


def _outer(weights: Tensor, vectors: Tensor) -> Tensor:
    """Return Σ_k w_k v_k v_kᵀ [M, q, q]."""
    return torch.einsum("mki,mkj->mij", weights.unsqueeze(-1) * vectors, vectors)
