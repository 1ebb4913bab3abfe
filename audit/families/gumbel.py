"""Gumbel laws, and what Weibull laws share with them.

Of maxima: u = 1 − e^{−z}. The logarithm of a Weibull draw is a Gumbel draw of minima.

Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 2 (1995),
chapter 22.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.location_scale import LocationScale
from audit.families.torch_laws import OfTorch
from audit.families.univariate import Parameters
from audit.nodes.excess import exp_excess, lgamma_excess, log_ratio

EULER = 0.5772156649015329  # −ψ(1)


class Gumbel(OfTorch, LocationScale):
    """Gumbel coordinates (of maxima): u = 1 − e^{−z}.

    Density: exp(−z − e^−z) / β, z = (θ − loc)/β, β = `scale`.

    Fisher information: [[1, −(1 − γ)], [·, (1 − γ)² + π²/6]] / β², γ = 0.5772 is
    Euler's constant.
    """

    torch_law = td.Gumbel
    information = (1.0, EULER - 1, (1 - EULER) ** 2 + math.pi**2 / 6)
    moments = (EULER, EULER**2 + math.pi**2 / 6)

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return −z − e^{−z} − ln β."""
        loc, scale = rows.unbind(-1)
        z = (y - loc) / scale
        return -z - torch.exp(-z) - scale.log()

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return ln(β₂/β₁) + γ(β₁/β₂ − 1) − Δ/β₂ + e^{Δ/β₂} Γ(1 + β₁/β₂) − 1."""
        (loc, scale), (other_loc, other) = left, right
        return gumbel_relative_entropy((other_loc - loc) / other, other, scale)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the quadrature; infinite where the right law's tail is lighter."""
        infinite = gumbel_diverges(left, right, alpha)
        pairs = zip(left, right, strict=True)
        right = tuple(torch.where(infinite, ours, theirs) for ours, theirs in pairs)
        value = super().renyi_divergence(left, right, alpha)
        return value.masked_fill(infinite, torch.inf)


def gumbel_relative_entropy(shift: Tensor, at: Tensor, to: Tensor) -> Tensor:
    """Return KL [...] between Gumbel laws, with ρ = to/at, the ratio of their scales.

    With g = shift + ln Γ(1 + ρ) it is e^g − 1 − g, plus the excess of ln Γ from 1 to ρ:
    the terms of first order are gone.
    """
    step = (to - at) / at
    ratio = to / at
    excess = lgamma_excess(torch.ones_like(at), ratio, step)
    near = log_ratio(at, to) - EULER * step + excess
    growth = shift + torch.where(step.abs() < 0.5, near, torch.lgamma(1 + ratio))
    apart = torch.isposinf(ratio) | torch.isposinf(excess)
    return torch.where(apart, torch.inf, exp_excess(growth) + excess)


def gumbel_diverges(left: Parameters, right: Parameters, alpha: float) -> Tensor:
    """Return where the Rényi divergence of Gumbel laws is infinite [...].

    The integrand's left tail is exp(−α e^{(μ₁−x)/β₁} + (α−1) e^{(μ₂−x)/β₂}), far
    beyond what a grid of numbers would see if β₂ is only a little smaller than β₁.
    """
    (loc, scale), (other_loc, other) = left, right
    if alpha <= 1:
        return torch.zeros_like(scale, dtype=torch.bool)
    lead = (other_loc - loc) / scale
    tie = (other == scale) & (lead >= math.log(alpha / (alpha - 1)))
    return (other < scale) | tie
