"""How well laws know the θ that was seen: likelihood, depth, PIT and the right class.

Of each input's law q and its θ, with draws θ_1 … θ_S ~ q:

    nll      −ln q(θ), nats
    depth    h = P_q(q(θ') > q(θ)), the mass of what is more likely than θ: θ lies in
             the highest-density region of level α exactly where h < α. A continuous
             law's h is uniform for calibrated laws, and so is its rank among draws,
             (#{q(θ_s) > q(θ)} + V (1 + #{=})) / (S + 1) with V uniform, whatever S. A
             discrete law has the region of all that is as likely as θ, h = #{>} / S:
             its regions hold at least α.
    pit      u_i = P(θ'_i < θ_i) + V P(θ'_i = θ_i) of each coordinate, in the same way
             from ranks: uniform for calibrated laws, discrete ones too.
    right    whether a classifier's likeliest answer is θ.

V is keyed by (seed, input index), so one input has one V at every perturbation.

Sources: Hyndman, The American Statistician 50 (1996), for highest-density regions;
Gneiting, Balabdaoui & Raftery, J. R. Statist. Soc. B 69 (2007), for PIT; Czado,
Gneiting & Held, Biometrics 65 (2009), for discrete laws; Talts et al.,
arXiv:1804.06788, for ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.families.interface import Family
from audit.nodes.noise import Noise

MOST_COORDINATES = 16
"""Of θ, for their PIT."""
_STREAM = 11  # of the noise
_TIE = 1e-9  # relative: closer log-densities are equal
_NUMBERS = 2**22  # of draws at the same time


@dataclass(frozen=True)
class Scores:
    """How well n laws know their θ.

    Args:
        nll: [n], ∞ where the law excludes θ.
        depth: [n] in [0, 1].
        pit: [n, c]; c = 0 where there is none.
        right: [n], 1 or 0; None where the law is no classifier's.
        lost: where x + δ has parameters of no law [n]; there θ is excluded.
    """

    nll: Tensor
    depth: Tensor
    pit: Tensor
    right: Tensor | None
    lost: Tensor


def scores(
    law: Family, phi: Tensor, theta: Tensor, noise: Noise, lost: Tensor
) -> Scores:
    """Return how well laws know the θ that was seen at their inputs.

    Args:
        law: the family.
        phi: φ [n, p], a member where it is not `lost`.
        theta: [n, *event].
        noise: of the inputs.
        lost: where x + δ has parameters of no law [n].
    """
    step = max(1, _NUMBERS // (noise.draws * max(1, math.prod(law.event_shape))))
    parts = [
        _part(law, phi[rows], theta[rows], noise.of(noise.index[rows.cpu()]))
        for rows in torch.split(torch.arange(len(phi), device=phi.device), step)
    ]
    nll, depth, pit = (torch.cat(found) for found in zip(*parts, strict=True))
    guess = law.most_likely(phi)
    right = None
    if guess is not None:
        same = (guess == theta.to(guess)).reshape(len(phi), -1).all(dim=1)
        right = (same & ~lost).double()
    return Scores(
        nll.masked_fill(lost, torch.inf),
        depth.masked_fill(lost, 1.0),
        pit.masked_fill(lost.unsqueeze(1), torch.nan),
        right,
        lost,
    )


def joined_scores(parts: Sequence[Scores]) -> Scores:
    """Return the scores of several groups of inputs as one."""
    rights = [part.right for part in parts if part.right is not None]
    return Scores(
        torch.cat([part.nll for part in parts]),
        torch.cat([part.depth for part in parts]),
        torch.cat([part.pit for part in parts]),
        torch.cat(rights) if rights else None,
        torch.cat([part.lost for part in parts]),
    )


def _part(
    law: Family, phi: Tensor, theta: Tensor, noise: Noise
) -> tuple[Tensor, Tensor, Tensor]:
    """Return nll [n], depth [n] and PIT [n, c]."""
    log_q = law.log_likelihood(theta.unsqueeze(0), phi)[0]
    found = law.drawn(phi, noise)
    targets = found.targets.to(theta)
    others = law.log_likelihood(targets, phi)
    apart = others - log_q
    tie = _TIE * (1 + torch.where(torch.isfinite(log_q), log_q, 0.0).abs())
    more, same = apart > tie, ~(apart.abs() > tie)
    v = _uniform(noise).to(phi)
    if law.discrete:
        depth = _mass(more, found.weights)
    else:
        depth = _rank(more, same, found.weights, v)
    flat = targets.reshape(*targets.shape[:2], -1)
    seen = theta.reshape(len(theta), -1)
    if law.most_likely(phi[:1]) is not None or flat.shape[2] > MOST_COORDINATES:
        return -log_q, depth, phi.new_zeros(len(phi), 0)
    pit = [
        _rank(flat[:, :, i] < seen[:, i], flat[:, :, i] == seen[:, i], found.weights, v)
        for i in range(flat.shape[2])
    ]
    return -log_q, depth, torch.stack(pit, dim=1)


def _mass(marked: Tensor, weights: Tensor | None) -> Tensor:
    """Return the share [n] of draws [S, n], or the weight of nodes, that are marked."""
    if weights is None:
        return marked.double().mean(dim=0)
    return (weights * marked).sum(dim=0)


def _rank(below: Tensor, same: Tensor, weights: Tensor | None, v: Tensor) -> Tensor:
    """Return the rank [n] of what was seen among draws [S, n], ties broken by v."""
    if weights is not None:
        return _mass(below, weights) + v * _mass(same, weights)
    ties = same.sum(dim=0) + 1
    return (below.sum(dim=0) + v * ties) / (len(below) + 1)


def _uniform(noise: Noise) -> Tensor:
    """Return V [n] in (0, 1), keyed by seed and index."""
    return noise.with_draws(1).uniforms(1, _STREAM)[0, :, 0]
