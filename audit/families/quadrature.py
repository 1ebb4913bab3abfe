"""The one engine of every continuous one-dimensional law.

With score s_i = ∂ log f / ∂φ_i at fixed y, cdf C and increasing quantile map T, whose
derivative at a fixed level is −∂C / density,

    Fisher      F = ∫ f s sᵀ dy
    transport   G = ∫ (∂C)(∂C)ᵀ (dx/dy)² / f dy,       ∂C(y) = ∫ f s up to y

∂C is integrated from the nearer end (∫ f s = 0) and in units of the density around, so
that the thinnest tail keeps its digits. Between bulks that are far apart 1/f is huge on
a small stretch; panels are halved there.
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
from audit.families.one_sided import on_first_panels
from audit.nodes import line_nodes
from audit.nodes.lines import Line, by_chunks, resolved
from audit.nodes.panels import DEEPEST, FALL, ORDER, Panels
from audit.nodes.special import times
from audit.nodes.survey import Survey, panels_of, survey, where_known

ROUNDS = 12  # of halving panels, at most
TOLERANCE = 1e-7  # of the trace of a transport tensor, what one panel may be wrong by
ENOUGH = 0.1  # nats: an expectation of this size has not cancelled


def automatic_score(line: Line, y: Tensor, rows: Tensor) -> Tensor:
    """Return the score [M, K, q] by reverse mode, with one copy of φ at each node."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        copies = rows.detach().unsqueeze(1).repeat(1, y.shape[1], 1).requires_grad_()
        total = line.log_density(y.detach().clone(), copies).sum()
        (score,) = torch.autograd.grad(total, copies)
    return score


def fisher_information(line: Line, rows: Tensor) -> Tensor:
    """Return F [M, q, q], NaN for the laws that no panels resolve."""

    def chunk(rows: Tensor) -> Tensor:
        nodes = line_nodes(line, rows)
        return nodes.outer(line.score(nodes.points, nodes.rows))

    return by_chunks(chunk, line, rows, copies=2 + 2 * rows.shape[1])


def transport_tensor(line: Line, rows: Tensor) -> Tensor:
    """Return G [M, q, q]; meaningless where the second moment is infinite."""

    def tensor(rows: Tensor, surveyed: Survey) -> Tensor:
        panels = _stepped(line, rows, panels_of(surveyed))
        for _ in range(ROUNDS):
            speed = _speed(line, rows, panels)
            coarse = panels.coarse(speed.square().sum(-1), TOLERANCE)
            if not bool(coarse.any()):
                break
            panels = panels.halved(coarse)
        else:
            speed = _speed(line, rows, panels)
        endless = torch.isinf(speed)
        found = _outer(panels.weights, torch.where(endless, 0.0, speed))
        return torch.where(torch.diag_embed(endless.any(1)), torch.inf, found)

    return _square(tensor, line, rows)


def _stepped(line: Line, rows: Tensor, panels: Panels) -> Panels:
    """Return the panels, halved until the density falls by a few nats in each.

    Between bulks that are far apart no law's own panels are.
    """
    for _ in range(ROUNDS):
        log_density = line.log_density(panels.nodes, rows.unsqueeze(1))
        floor = log_density.amax(-1, keepdim=True) - DEEPEST
        log_density = torch.maximum(log_density, floor)
        steep = _peaks(log_density) + _peaks(-log_density) > 3 * FALL
        if not bool(steep.any()):
            break
        panels = panels.halved(steep)
    return panels


def _speed(line: Line, rows: Tensor, panels: Panels) -> Tensor:
    """Return ∂C dx/dy / √f [M, K, q]; infinite where f is nothing beside the flow."""
    y = panels.nodes
    log_density = line.log_density(y, rows.unsqueeze(1))
    peaks = _peaks(log_density)
    density = (log_density - _at_nodes(peaks)).exp().unsqueeze(-1)
    flow = torch.cat([density, density * line.score(y, rows)], dim=-1)
    log_size = line.chart.log_slope(y) - log_density / 2  # of dx/dy / √f
    units = _peaks(log_size)
    below, above = panels.scaled_cumulative(flow, peaks, -units)
    lower = below[..., :1] < above[..., :1]
    speed = torch.where(lower, below, -above)[..., 1:]
    return times((log_size - _at_nodes(units)).exp().unsqueeze(-1), speed)


def _square(
    tensor: Callable[[Tensor, Survey], Tensor], line: Line, rows: Tensor
) -> Tensor:
    """Return tensor(rows, their survey) [M, q, q] by chunks, NaN for those lost."""

    def chunk(rows: Tensor) -> Tensor:
        surveyed = survey(line, rows, moment=2)
        found = where_known(tensor, surveyed.lost, rows, surveyed)
        square = len(rows), rows.shape[1], rows.shape[1]
        return found if found.dim() == 3 else found[:, None, None].expand(square)

    return by_chunks(chunk, line, rows, copies=2 + 2 * rows.shape[1])


def divergence(line: Line, left: Tensor, right: Tensor, integrand: Integrand) -> Tensor:
    """Return the divergence [M] of an integrand; infinite where a tail says so.

    Where the panels of the left laws do, those of the right ones are not looked for.
    """
    if integrand.tilt > 1:
        return _on_both(line, left, right, integrand)
    resolved(line)
    found = on_first_panels(line, left, right, integrand)
    rest = found.isnan().nonzero()[:, 0]
    if not len(rest):
        return found
    values = _on_both(line, left[rest], right[rest], integrand)
    return found.index_put((rest,), values)


def _on_both(line: Line, left: Tensor, right: Tensor, integrand: Integrand) -> Tensor:
    """Return the divergence [M] on panels of both laws."""

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


def _peaks(values: Tensor) -> Tensor:
    """Return the largest value in each panel [M, E]."""
    return values.reshape(len(values), -1, ORDER).amax(-1)


def _at_nodes(values: Tensor) -> Tensor:
    """Return values of panels [M, E] at their nodes [M, E k]."""
    return values.repeat_interleave(ORDER, -1)


def _outer(weights: Tensor, vectors: Tensor) -> Tensor:
    """Return Σ_k w_k v_k v_kᵀ [M, q, q]."""
    return torch.einsum("mki,mkj->mij", weights.unsqueeze(-1) * vectors, vectors)
