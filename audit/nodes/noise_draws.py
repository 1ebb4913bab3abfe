"""Draws of base noise where a map moves most: what a perturbation does to its samples.

E‖T(φ, z) − T(φ', z)‖² is wanted for many φ', and where T jumps in z the place of the
jump moves with φ: nodes of a rule that lie on both sides of its way never see it. So z
is drawn, each input's from its own noise, but not from its law ρ alone: from a density
p that is constant on the meshes of the lattice of `noise_box` and there the mean of

    f(s) = ρ(s) (1 + ‖∂T/∂φ‖² / c)

at the corners. With the weights ρ/p the mean has no bias, whatever T is. A log-normal
sampler is seen where it moves. The integral of f is about 2 and the highest of 2^m
corners is above ρ, so that no weight is much above 2^(m + 1).

Draws are stratified: the i-th of S lies between the quantiles i/S and (i + 1)/S of p,
mesh by mesh. The mean of strata that follow each other has the standard error of their
successive differences, √(Σ (x_{i+1} − x_i)² / 2 S (S − 1)).

Source: Cochran, Sampling Techniques (1977), section 5A.

Shapes: N inputs, S draws, L lines of the lattice, R points of the outlook, m ∈ {1, 2}.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.nodes.base_laws import BaseLaw
from audit.nodes.noise import Noise
from audit.nodes.noise_box import Outlook, Sight, Speed, outlook, sight


@dataclass(frozen=True)
class NoiseDraws:
    """Weighted draws of the noise.

    Args:
        points: z [S, N, m].
        weights: ρ/p [S, N].
        outlook: where an integrand tells of its tails.
    """

    points: Tensor
    weights: Tensor
    outlook: Outlook

    def take(self, rows: Tensor) -> NoiseDraws:
        """Return the draws of some inputs."""
        points, weights = self.points[:, rows], self.weights[:, rows]
        return NoiseDraws(points, weights, self.outlook.take(rows))

    def mean(self, values: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Return E[g] [N] and its standard error; infinite where it has no end.

        Args:
            values: g ≥ 0 at the points [S, N].
            outside: g at the points of the outlook [R, N].
        """
        weighted, count = self.weights * values, len(values)
        total = weighted.mean(dim=0)
        squares = weighted.diff(dim=0).square().sum(dim=0)
        error = (squares / (2 * count * (count - 1))).sqrt()
        _, endless = self.outlook.tails(outside, total)
        return total.masked_fill(endless, torch.inf), error.masked_fill(endless, 0.0)


def noise_draws(law: BaseLaw, size: int, speed: Speed, noise: Noise) -> NoiseDraws:
    """Return the draws of each input; the arguments are those of `sight`."""
    seen = sight(law, size, speed, len(noise.index))
    s, density = _drawn(seen, noise)
    weights = (seen.field.log_law(s) - density.log()).exp()
    return NoiseDraws(law.place(s).transpose(0, 1), weights.T, outlook(seen))


def _drawn(seen: Sight, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return s [N, S, m] and the density p there [N, S]."""
    size = seen.low.shape[1]
    area, mass = _meshes(seen)
    below = mass.cumsum(dim=1)
    uniforms = noise.uniforms(size).transpose(0, 1)  # [N, S, m]
    count = uniforms.shape[1]
    strata = torch.arange(count, dtype=area.dtype)
    level = (strata + uniforms[..., 0]) / count * below[:, -1:]
    at = torch.searchsorted(below, level.contiguous()).clamp_max(mass.shape[1] - 1)
    within = 1 - (below.gather(1, at) - level) / mass.gather(1, at)
    shares = torch.cat([uniforms[..., 1:], within.unsqueeze(-1)], dim=-1)
    meshes = len(seen.axis) - 1
    indices = [at // meshes, at % meshes][2 - size :]
    columns = [
        seen.axis[i] + shares[..., k].clamp(0, 1) * (seen.axis[i + 1] - seen.axis[i])
        for k, i in enumerate(indices)
    ]
    density = (mass / below[:, -1:] / area).gather(1, at)
    return torch.stack(columns, dim=-1), density


def _meshes(seen: Sight) -> tuple[Tensor, Tensor]:
    """Return the area of each mesh [1, (L − 1)^m] and what it holds of f [N, …].

    Up to a factor, and nothing where f is not known at all of its corners.
    """
    inputs, size = seen.low.shape
    lines = len(seen.axis)
    heights = (seen.log_f - seen.log_f.amax(dim=1, keepdim=True)).exp()
    mean = least = heights.reshape(inputs, *[lines] * size)
    area = torch.ones(1, dtype=heights.dtype)
    for dimension in range(1, size + 1):
        least = torch.minimum(*_neighbours(least, dimension))
        mean = torch.stack(_neighbours(mean, dimension)).mean(dim=0)
        area = torch.outer(area, seen.axis.diff()).flatten()
    return area.unsqueeze(0), torch.where(least > 0, mean, 0.0).flatten(1) * area


def _neighbours(values: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    """Return what is on the two sides of each mesh along one dimension."""
    meshes = values.shape[dimension] - 1
    return values.narrow(dimension, 0, meshes), values.narrow(dimension, 1, meshes)
