"""Does the density integrate to one? Z = ∫ q(θ|x) dθ, whoever draws θ.

With one continuous coordinate, or none, the integral is taken on a grid. With more it
is estimated by importance sampling, Z = E_r[q/r], in unconstrained coordinates. r is a
kernel estimate around some of the model's own draws, mixed with one wide normal law,
so that q/r stays bounded where q has its mass. Discrete coordinates are drawn
uniformly. A density whose draws miss a mode is not caught by this. In many dimensions
few points carry all the weight, and Z would seem small with a small error: it is NaN
where the effective number of points is below 64.

Reference:
    Owen & Zhou, Safe and effective importance sampling, JASA 95 (2000), for the
    defensive component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.families.computed import ComputedFamily
from audit.linalg.spectrum import Estimate
from audit.nodes import grid_nodes
from audit.nodes.noise import Noise

_GRID = 1  # continuous coordinates that a grid can take
_KERNELS, _POINTS = 64, 1024
_WIDE = 8  # every so many points one comes from the wide law
_STRETCH = 2.0  # of the wide law's standard deviations
_STREAM = 5  # of the noise
_EFFECTIVE = 64  # points, (Σ w)² / Σ w²
_LARGEST = 300.0  # of a log weight, whose square is still a number


def normalisation(family: ComputedFamily, phi: Tensor, noise: Noise) -> Estimate:
    """Return Z [N] and its standard error (zero on a grid) at φ [N, p + c]."""
    if len(family.space.continuous) <= _GRID:
        value = grid_nodes(family.density(), phi, family.space).normalisation
        return Estimate(value, torch.zeros_like(value))
    proposal = _proposal(family, phi, noise)
    u, log_r = proposal.draw(noise.with_draws(_POINTS))  # [M, N, c], [M, N]
    theta, slope = family.space.to_target(u)
    choices = family.space.choices().to(phi)
    which = noise.with_draws(_POINTS).uniforms(1, _STREAM + 1)[..., 0].to(phi.device)
    discrete = choices[(which * len(choices)).long()]
    log_q = family.log_prob(family.space.assemble(theta, discrete), phi)
    log_weights = log_q + slope - log_r + math.log(len(choices))
    weights = log_weights.clamp_max(_LARGEST).exp()
    weights = torch.where(weights.isnan(), 0.0, weights)
    value, error = weights.mean(dim=0), weights.std(dim=0) / math.sqrt(_POINTS)
    known = error * math.sqrt(_EFFECTIVE) <= value
    value, error = (torch.where(known, v, torch.nan) for v in (value, error))
    return Estimate(value, error)


@dataclass(frozen=True)
class _Proposal:
    """Kernels at centers [K, N, c], and a wide normal law about their mean [N, c].

    factor: the Cholesky factor of the draws' covariance [N, c, c]. width: of a kernel,
    in units of it.
    """

    centers: Tensor
    mean: Tensor
    factor: Tensor
    width: float

    def draw(self, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return points [M, N, c] and their log density [M, N]."""
        u = noise.uniforms(self.mean.shape[1], _STREAM).to(self.mean)
        z = torch.special.ndtri(u)
        order = torch.arange(len(z), device=z.device)
        turn = order - order // _WIDE - 1  # of the others: each kernel as often
        kernels = self.centers[turn % len(self.centers)] + self.width * self._turn(z)
        wide = self.mean + _STRETCH * self._turn(z)
        is_wide = (order % _WIDE == 0)[:, None, None]
        points = torch.where(is_wide, wide, kernels)
        return points, self._log_density(points)

    def _turn(self, z: Tensor) -> Tensor:
        return torch.einsum("nij,mnj->mni", self.factor, z)

    def _log_density(self, points: Tensor) -> Tensor:
        near = torch.stack([self._normal(points - c, self.width) for c in self.centers])
        kernels = torch.logsumexp(near, dim=0) - math.log(len(self.centers))
        wide = self._normal(points - self.mean, _STRETCH)
        share = 1 / _WIDE
        return torch.logaddexp(kernels + math.log(1 - share), wide + math.log(share))

    def _normal(self, apart: Tensor, scale: float) -> Tensor:
        """Return log N(apart; 0, scale² Σ) [M, N]."""
        columns = apart.permute(1, 2, 0)
        z = torch.linalg.solve_triangular(self.factor, columns, upper=False) / scale
        c = apart.shape[-1]
        size = self.factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        constant = c * (math.log(scale) + 0.5 * math.log(2 * math.pi))
        values: Tensor = -0.5 * z.square().sum(dim=1) - size[:, None] - constant
        return values.T


def _proposal(family: ComputedFamily, phi: Tensor, noise: Noise) -> _Proposal:
    targets = family.nodes(phi, noise).targets
    u = family.space.from_target(targets[..., list(family.space.continuous)])
    mean = u.mean(dim=0)
    centred = u - mean
    covariance = torch.einsum("sni,snj->nij", centred, centred) / (len(u) - 1)
    size = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    ridge = 1e-9 * size * torch.eye(u.shape[2], device=u.device, dtype=u.dtype)
    factor = torch.linalg.cholesky_ex(covariance + ridge).L
    c, kernels = u.shape[2], min(_KERNELS, len(u))
    width = (4 / ((c + 2) * kernels)) ** (1 / (c + 4))  # Silverman's
    centers = u[torch.linspace(0, len(u) - 1, kernels).long()]
    return _Proposal(centers, mean, factor, width)
