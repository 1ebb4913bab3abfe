"""Metric tensors and exact values of a law that is only a function.

The Fisher information is the covariance of the score, not its second moment: for a
normalised q and draws from q the mean score m is zero, and subtracting it changes
nothing. Where the file's q is not normalised, log Z(x) moves with x, m = ∇ log Z, and
the covariance is still that of the law q/Z. A mean far from zero says that the draws
or the normalisation do not belong to the density.

Subtracting the mean m̄ takes E[m̄ m̄ᵀ] away from F, which for U independent units with
means c_u (after centring) is estimated without bias by Σ_u c_u c_uᵀ / (U(U − 1)). With
d_s what is left of a score when its unit's mean is subtracted too,

    (1/S) Σ_s d_s d_sᵀ + (1/U) Σ_u c_u c_uᵀ + Σ_u c_u c_uᵀ / (U(U − 1))

is the mean of (d_s + √(U/(U−1)) c_u)(…)ᵀ over draws: the units' means are stretched by
that much. For independent draws this is the division by S − 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.families.computed import ComputedFamily
from audit.families.givers import Nodes
from audit.families.score_gaps import ScoreGaps, judged
from audit.families.summed_scores import summed_scores
from audit.families.tensors import Tensors
from audit.linalg.averaged import Averaged, Sampled
from audit.nodes.noise import Noise
from audit.nodes.noise_box import Speed
from audit.nodes.noise_grid import noise_grid

_NUMBERS = 2**24  # of Jacobians that are only measured


def implicit_root(
    tensor: Tensors, family: ComputedFamily, phi: Tensor, noise: Noise
) -> Averaged:
    """Return the root of a metric tensor, Fisher's or that of the map."""
    if tensor is Tensors.FISHER:
        return _fisher_root(family, phi, noise)
    return _transport_root(family, phi, noise)


def _fisher_root(family: ComputedFamily, phi: Tensor, noise: Noise) -> Averaged:
    """Return centred scores [N, S, p] over √S, or times √w at weighted nodes.

    Of very many nodes it is a triangle of as many rows as columns.
    """
    nodes = family.nodes(phi, noise)
    nested = nodes.nested
    gaps = ScoreGaps(nested, family.size) if nested is not None else None
    if family.sums_scores:
        triangle, mean = summed_scores(family, nodes, phi, gaps)
        return Averaged(triangle, mean, _checks(nodes, gaps, phi))
    scores = family.scores(nodes.targets, phi)  # [S, N, p]
    if nodes.weights is not None:
        weights = nodes.weights.unsqueeze(-1).to(phi.device)
        scores = torch.where(weights > 0, scores, 0.0)
        if gaps is not None:
            one = torch.ones_like(weights)
            gaps.add(slice(None), weights.sqrt() * torch.cat([one, scores], dim=-1))
        checks = _checks(nodes, gaps, phi)
        mean = (weights * scores).sum(dim=0)
        rows = weights.sqrt() * (scores - mean)
        return Averaged(rows.transpose(0, 1), mean, checks)
    mean = scores.mean(dim=0)
    rows = _unbiased(scores - mean, nodes.unit) / math.sqrt(len(scores))
    entries = rows.transpose(0, 1).contiguous()
    return Sampled(entries, mean, nodes.checks, unit=nodes.unit)


def _checks(nodes: Nodes, gaps: ScoreGaps | None, phi: Tensor) -> dict[str, Tensor]:
    """Return what is known of a sum over nodes, where φ is."""
    return {name: one.to(phi.device) for name, one in judged(nodes, gaps).items()}


def _unbiased(centred: Tensor, unit: int) -> Tensor:
    """Return centred scores [S, N, p] with their units' means stretched."""
    units = centred.reshape(-1, unit, *centred.shape[1:])  # [U, unit, N, p]
    means = units.mean(dim=1, keepdim=True)
    stretch = math.sqrt(len(units) / (len(units) - 1))
    return (units + (stretch - 1) * means).flatten(0, 1)


def _transport_root(family: ComputedFamily, phi: Tensor, noise: Noise) -> Averaged:
    """Return Jacobians [N, S·n, p] over √S, n rows for each draw of z, or times √w.

    They are infinite where the second moment is.
    """
    _, base = family.map()
    if base.law is not None:
        grid = noise_grid(base.law, base.size, map_speed(family, phi), len(phi))
        weights = grid.weights[..., None, None].to(phi.device)
        jacobians = family.jacobians(grid.points.to(phi.device), phi)  # [S, N, n, p]
        rows = weights.sqrt() * torch.where(weights > 0, jacobians, 0.0)
        endless = grid.endless[:, None, None].to(phi.device)
        entries = rows.transpose(0, 1).flatten(1, 2).masked_fill(endless, torch.inf)
        checks = {"quadrature_error": grid.error.to(phi.device)}
        return Averaged(entries, checks=checks)
    points = base.points(noise)
    jacobians = family.jacobians(points.values, phi)
    draws = len(jacobians)
    rows = jacobians.transpose(0, 1).flatten(1, 2).div_(math.sqrt(draws))
    return Sampled(rows, draw=family.n, unit=points.unit)


def map_speed(family: ComputedFamily, phi: Tensor) -> Speed:
    """Return z [N, K, m] -> ‖∂T/∂φ‖² [N, K], a part of K at a time."""
    chunk = max(1, _NUMBERS // (len(phi) * family.n * family.size))

    def speed(z: Tensor) -> Tensor:
        parts = [
            family.jacobians(part.transpose(0, 1), phi).double().square().sum((2, 3))
            for part in torch.split(z.to(phi.device), chunk, dim=1)
        ]
        return torch.cat(parts).T.cpu()

    return speed
