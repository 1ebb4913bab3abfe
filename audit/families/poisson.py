"""Poisson counts: F = 1/λ, and the mean itself is the parameter of the linear law.

Source: Johnson, Kemp & Kotz, Univariate Discrete Distributions (2005), chapter 4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.lattice import TAIL, Lattice
from audit.families.univariate import Parameters


class Poisson(Lattice):
    """Poisson counts."""

    parameterizations = (("rate",),)
    positive = ("rate",)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Poisson law."""
        (rate,) = parameters
        return td.Poisson(rate, validate_args=False)

    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return λ ± 10 √λ and some, by Bernstein's inequality."""
        (rate,) = parameters
        reach = (2 * TAIL * rate).sqrt() + TAIL
        return (rate - reach).floor().clamp_min(0), (rate + reach).ceil()

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return 1/λ."""
        (rate,) = parameters
        return (1 / rate)[..., None, None]

    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return 1."""
        return torch.ones_like(parameters[0])

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return λ₁ (s − ln(1+s)), s = λ₂/λ₁ − 1."""
        (rate,), (other,) = left, right
        stretch = (other - rate) / rate
        return rate * (stretch - torch.log1p(stretch))

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return λ₁ [(1+s)^{1−α} − 1 − (1−α)s] / (α−1), s = λ₂/λ₁ − 1."""
        (rate,), (other,) = left, right
        stretch, beta = (other - rate) / rate, 1 - alpha
        excess = torch.expm1(beta * torch.log1p(stretch)) - beta * stretch
        return rate * excess / (alpha - 1)
