"""Poisson counts: F = 1/λ, and the mean itself is the parameter of the linear law.

A rate of 0 is a point mass at 0. KL(λ₁ ‖ λ₂) = λ₁ ln(λ₁/λ₂) − (λ₁ − λ₂) is the excess
of x ln x from λ₂ to λ₁.

Source: Johnson, Kemp & Kotz, Univariate Discrete Distributions (2005), chapter 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.enclosures import Enclosure
from audit.families.largest_kl import of_rates
from audit.families.lattice import TAIL, Lattice
from audit.families.roles import Role
from audit.families.univariate import Parameters
from audit.nodes.excess import entropy_excess, exp_excess, log_ratio, ratio_excess
from audit.nodes.special import edge_log, times


class Poisson(Lattice):
    """Poisson counts.

    Probability: λ^k e^−λ / k!, λ = `rate`.

    Fisher information: 1/λ.
    """

    parameterizations = (("rate",),)
    enclosed_as: ClassVar[Mapping[str, str]] = {"rate": "log"}
    not_negative = ("rate",)
    roles: ClassVar[Mapping[str, Role]] = {"rate": Role.LOCATION}  # its mean

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the smaller of the bounds of `largest_kl` [B]."""
        return of_rates(enclosure, enclosure.centre.exp())

    def sampler(self, parameters: Parameters) -> td.Distribution:
        """Return the Poisson law."""
        (rate,) = parameters
        return td.Poisson(rate, validate_args=False)

    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return k ln λ − λ − ln k!."""
        (rate,) = parameters
        return times(k, edge_log(rate)) - rate - torch.lgamma(k + 1)

    def log_change(self, k: Tensor, left: Parameters, right: Parameters) -> Tensor:
        """Return k Δln λ − Δλ."""
        (rate,), (other,) = left, right
        return times(k, log_ratio(rate, other)) - (other - rate)

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return λ ± 10 √λ and some, by Bernstein's inequality."""
        (rate,) = parameters
        reach = (2 * TAIL * rate).sqrt() + TAIL
        return (rate - reach).floor().clamp_min(0), (rate + reach).ceil()

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of 1/λ."""
        (rate,) = parameters
        return rate.rsqrt()[..., None, None]

    def mass_slopes(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return f(k − 1) − f(k)."""
        before = self.log_mass((k - 1).clamp_min(0), parameters).exp()
        before = torch.where(k == 0, 0.0, before)
        return (before - self.log_mass(k, parameters).exp()).unsqueeze(-1)

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return 1."""
        return torch.ones_like(parameters[0])

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return λ₁ (s − ln(1+s)), s = λ₂/λ₁ − 1."""
        (rate,), (other,) = left, right
        return entropy_excess(other, rate)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [λ₁^α λ₂^{1−α} − αλ₁ − (1−α)λ₂] / (α−1)."""
        (rate,), (other,) = left, right
        beta, growth = 1 - alpha, log_ratio(rate, other)
        rise = exp_excess((beta * growth).clamp(-1, 1))
        near = rate * (rise - beta * ratio_excess(rate, other))
        tilted = (alpha * rate.log() + beta * other.log()).exp()
        far = tilted - alpha * rate - beta * other
        excess = torch.where((beta * growth).abs() < 1, near, far)
        return torch.where(rate == other, 0.0, excess / (alpha - 1))
