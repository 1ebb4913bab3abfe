"""Draws from a family whose noise is keyed by (seed, input index).

Which numbers an input sees must not depend on the batch it is in, the worker or the
engine. So each input has its own counter-based generator, Philox with the key (seed,
index), and the family's law is reached from its uniform or normal noise: by the
inverse distribution function where torch has one, by the law's own sampler under a
seed made of the same key where it has not.

Reference:
    Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC11 (2011).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
)

from audit.families.tensors import Drawn
from audit.linalg.averaged import Sampled
from audit.nodes.noise import Noise, Points, own_generator


def draws_of(family: Drawn, phi: Tensor, noise: Noise) -> Points:
    """Return θ [S, N, *event] drawn from q_φ, and how many of them make a unit.

    A law that only its own sampler can draw from ignores how the noise fills the cube.
    """
    law = family.distribution(phi)
    size = max(1, int(np.prod(family.event_shape, dtype=int)))
    points = noise.points(size + 1)
    try:
        return Points(_transform(law, points.values.to(phi.device)), points.unit)
    except NotImplementedError:
        return Points(_by_own_sampler(family, phi, noise), 1)


def _transform(law: Distribution, u: Tensor) -> Tensor:
    """Turn uniforms [S, N, n + 1] into draws [S, N, *event]; the last picks a part."""
    if isinstance(law, MixtureSameFamily):
        parts = _components(law.component_distribution, u)
        weights = law.mixture_distribution.probs.cumsum(-1)  # [N, K]
        choice = (u[..., -1:] > weights[..., :-1]).sum(-1)
        draws = torch.arange(choice.shape[0], device=u.device)[:, None]
        rows = torch.arange(choice.shape[1], device=u.device)[None, :]
        return parts[draws, rows, choice]
    event = law.event_shape
    flat = u[..., : max(1, event.numel())].reshape(*u.shape[:2], *event)
    if isinstance(law, MultivariateNormal):
        z = torch.special.ndtri(flat).unsqueeze(-1)
        return _affine(law, z)
    return _inverse(law, flat)


def _affine(law: MultivariateNormal, z: Tensor) -> Tensor:
    moved: Tensor = law.loc + (law.scale_tril @ z).squeeze(-1)
    return moved


def _components(law: Distribution, u: Tensor) -> Tensor:
    """Return one draw of each component from the same noise [S, N, K, *event]."""
    event, k = law.event_shape, law.batch_shape[-1]
    noise = u[..., :-1].reshape(*u.shape[:2], 1, *event)
    noise = noise.expand(*u.shape[:2], k, *event)
    if isinstance(law, MultivariateNormal):
        z = torch.special.ndtri(noise).unsqueeze(-1)
        return _affine(law, z)
    return _inverse(law, noise)


def _inverse(law: Distribution, u: Tensor) -> Tensor:
    base = law.base_dist if isinstance(law, Independent) else law
    values: Tensor = base.icdf(u)
    return values


def _by_own_sampler(family: Drawn, phi: Tensor, noise: Noise) -> Tensor:
    """Sample each input under a seed made of its key; the global state is kept."""
    parts = []
    with own_generator():
        for row in range(len(phi)):
            seed = int(noise.generator(row, 0).integers(2**62))
            torch.default_generator.manual_seed(seed)  # of the CPU, where the law is
            law = family.distribution(phi[row : row + 1].cpu())
            parts.append(law.sample(torch.Size((noise.draws,))))
    return torch.cat(parts, dim=1).to(phi.device)


def scores_at(family: Drawn, phi: Tensor, targets: Tensor) -> Tensor:
    """Return scores ∇_φ log q_φ(θ_s) [N, S, p] at θ [S, N, *event].

    No network is involved: the score is taken in parameter space and pulled back
    later, so a draw costs no pass through the model.
    """
    draws = len(targets)
    many = phi.detach().expand(draws, *phi.shape).reshape(-1, phi.shape[1])
    leaf = many.clone().requires_grad_()
    flat = targets.reshape(-1, *family.event_shape)
    total = family.distribution(leaf).log_prob(flat).sum()
    (scores,) = torch.autograd.grad(total, leaf)
    return scores.reshape(draws, *phi.shape).transpose(0, 1)


def sampled_fisher_root(family: Drawn, phi: Tensor, noise: Noise) -> Sampled:
    """Return scores / √S at draws from q_φ: BᵀB estimates F(φ) without bias."""
    found = draws_of(family, phi, noise)
    scores = scores_at(family, phi, found.values.detach())
    return Sampled(scores / math.sqrt(scores.shape[1]), unit=found.unit)
