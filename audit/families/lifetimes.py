"""Lifetimes: powers of a standard exponential draw R.

    exponential   R/λ:         F = 1/λ², G = 2/λ⁴
    Weibull       λ R^{1/k}:   ln θ is a Gumbel law of minima with scale 1/k

The transport tensors are moments E[R^a (ln R)^b] = Γ^{(b)}(1 + a).

Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 1 (1994),
chapters 19 and 21.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.continuous import Continuous
from audit.families.lines import POSITIVE
from audit.families.location_scale import EULER, gumbel_diverges
from audit.families.roots import symmetric
from audit.families.special import trigamma
from audit.families.univariate import Parameters


class Exponential(Continuous):
    """Exponential coordinates; `rate` in units of 1/θ."""

    parameterizations: ClassVar[tuple[tuple[str, ...], ...]] = (("rate",),)
    positive: ClassVar[tuple[str, ...]] = ("rate",)
    chart = POSITIVE

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the exponential law."""
        (rate,) = parameters
        return td.Exponential(rate, validate_args=False)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return −ln λ, the mode of ln θ, and 1."""
        (rate,) = parameters
        return -rate.log(), torch.ones_like(rate)

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return 1/λ²."""
        (rate,) = parameters
        return (1 / rate.square())[..., None, None]

    def transport(self, parameters: Parameters) -> Tensor:
        """Return 2/λ⁴."""
        (rate,) = parameters
        return (2 / rate**4)[..., None, None]

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return s − ln(1+s), s = λ₂/λ₁ − 1."""
        return exponential_relative_entropy(left[-1], right[-1])

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [(1−α) ln(1+s) − ln(1 + (1−α)s)] / (α−1), s = λ₂/λ₁ − 1."""
        return exponential_renyi(left[-1], right[-1], alpha)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return 2 (1/λ₁ − 1/λ₂)²."""
        (rate,), (other,) = left, right
        return 2 * ((other - rate) / (rate * other)).square()


class Weibull(Continuous):
    """Weibull coordinates; `scale` in units of θ, `concentration` without."""

    parameterizations = (("scale", "concentration"),)
    positive = ("scale", "concentration")
    chart = POSITIVE

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Weibull law."""
        scale, concentration = parameters
        return td.Weibull(scale, concentration, validate_args=False)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return ln λ, the mode of ln θ, and 1/k."""
        scale, concentration = parameters
        return scale.log(), 1 / concentration

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ln k + t − eᵗ with t = k (y − ln λ)."""
        scale, concentration = rows.unbind(-1)
        t = concentration * (y - scale.log())
        return concentration.log() + t - t.exp()

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return [[k²/λ², −(1−γ)/λ], [·, ((1−γ)² + π²/6)/k²]]."""
        scale, concentration = parameters
        last = (1 - EULER) ** 2 + math.pi**2 / 6
        return symmetric(
            {
                (0, 0): (concentration / scale).square(),
                (0, 1): (EULER - 1) / scale,
                (1, 1): last / concentration.square(),
            }
        )

    def transport(self, parameters: Parameters) -> Tensor:
        """Return Γ(a) [[1, −λψ(a)/k²], [·, λ²(ψ² + ψ')(a)/k⁴]], a = 1 + 2/k."""
        scale, concentration = parameters
        a = 1 + 2 / concentration
        square, mean = torch.lgamma(a).exp(), torch.digamma(a)
        factor = scale / concentration.square()
        last = factor.square() * square * (mean.square() + trigamma(a))
        return symmetric(
            {(0, 0): square, (0, 1): -factor * square * mean, (1, 1): last}
        )

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return γs − ln(1+s) − g + e^g Γ(2+s) − 1, s = k₂/k₁ − 1, g = k₂ ln λ₁/λ₂."""
        (scale, shape), (other_scale, other) = left, right
        stretch = (other - shape) / shape
        shift = other * torch.log1p((scale - other_scale) / other_scale)
        growth = shift + torch.lgamma(2 + stretch)
        linear = EULER * stretch - torch.log1p(stretch) - shift
        return linear + torch.expm1(growth)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the quadrature; infinite where the right law's tail is lighter."""
        ours, theirs = ((-scale.log(), 1 / shape) for scale, shape in (left, right))
        value = super().renyi_divergence(left, right, alpha)
        return value.masked_fill(gumbel_diverges(ours, theirs, alpha), torch.inf)


def exponential_relative_entropy(rate: Tensor, other: Tensor) -> Tensor:
    """Return KL [...] between exponential laws."""
    stretch = (other - rate) / rate
    return stretch - torch.log1p(stretch)


def exponential_renyi(rate: Tensor, other: Tensor, alpha: float) -> Tensor:
    """Return the Rényi divergence [...] between exponential laws."""
    stretch, beta = (other - rate) / rate, 1 - alpha
    gap = beta * torch.log1p(stretch) - torch.log1p(beta * stretch)
    return torch.where(beta * stretch > -1, gap / (alpha - 1), torch.inf)
