"""Lifetimes: powers of a standard exponential draw R.

    exponential   R/λ:         F = 1/λ², G = 2/λ⁴
    Weibull       λ R^{1/k}:   ln θ is a Gumbel law of minima with scale 1/k

The transport tensors are moments E[R^a (ln R)^b] = Γ^{(b)}(1 + a).

Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 1 (1994),
chapters 19 and 21.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.affine import Affine
from audit.families.continuous import Continuous
from audit.families.enclosures import Enclosure
from audit.families.gumbel import (
    EULER,
    Gumbel,
    gumbel_diverges,
    gumbel_relative_entropy,
)
from audit.families.largest_kl import of_rates
from audit.families.normals import renyi_of_scales
from audit.families.roots import rows
from audit.families.torch_laws import OfTorch
from audit.families.univariate import Parameters
from audit.nodes.excess import log_ratio, ratio_excess
from audit.nodes.lines import POSITIVE, Line
from audit.nodes.special import trigamma

NOTHING = 1e-150  # of the size of the other law
LARGEST = 690.0  # of the logarithm of a number
NEGATED_LOG = Gumbel({"loc": (), "scale": ()})  # the line of −ln θ for Weibull θ


class Exponential(OfTorch, Continuous):
    """Exponential coordinates; `rate` in units of 1/θ.

    Density: λ e^(−λθ) for θ ≥ 0, λ = `rate`.

    Fisher information: 1/λ².
    """

    torch_law = td.Exponential
    parameterizations: ClassVar[tuple[tuple[str, ...], ...]] = (("rate",),)
    positive: ClassVar[tuple[str, ...]] = ("rate",)
    enclosed_as: ClassVar[Mapping[str, str]] = {"rate": "log"}
    under_affine: ClassVar[Mapping[str, Affine]] = {"rate": Affine.SHRINKS}
    chart = POSITIVE

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the smaller of the bounds of `largest_kl` [B]."""
        return of_rates(enclosure, torch.ones_like(enclosure.centre))

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return −ln λ, the mode of ln θ, and 1."""
        (rate,) = parameters
        return -rate.log(), torch.ones_like(rate)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of 1/λ²."""
        (rate,) = parameters
        return (1 / rate)[..., None, None]

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root of 2/λ⁴."""
        (rate,) = parameters
        return (math.sqrt(2) / rate / rate)[..., None, None]

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return s − ln(1+s), s = λ₂/λ₁ − 1."""
        return ratio_excess(left[-1], right[-1])

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [(1−α) ln(1+s) − ln(1 + (1−α)s)] / (α−1), s = λ₂/λ₁ − 1."""
        rate, other = left[-1], right[-1]
        return renyi_of_scales((other - rate) / rate, log_ratio(rate, other), alpha)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return 2 (1/λ₁ − 1/λ₂)²."""
        (rate,), (other,) = left, right
        smaller, larger = torch.minimum(rate, other), torch.maximum(rate, other)
        return 2 * ((larger - smaller) / larger / smaller).square()


class Weibull(OfTorch, Continuous):
    """Weibull coordinates; `scale` in units of θ, `concentration` without.

    Density: (k/λ) (θ/λ)^(k−1) exp(−(θ/λ)^k) for θ > 0, λ = `scale`, k =
    `concentration`.

    Fisher information: [[k²/λ², −(1 − γ)/λ], [·, ((1 − γ)² + π²/6)/k²]], γ = 0.5772 is
    Euler's constant.
    """

    torch_law = td.Weibull
    parameterizations = (("scale", "concentration"),)
    positive = ("scale", "concentration")
    chart = POSITIVE
    under_affine: ClassVar[Mapping[str, Affine]] = {"scale": Affine.STRETCHES}

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return ln λ, the mode of ln θ, and 1/k."""
        scale, concentration = parameters
        return scale.log(), 1 / concentration

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ln k + t − eᵗ with t = k (y − ln λ)."""
        scale, concentration = rows.unbind(-1)
        t = concentration * (y - scale.log())
        return concentration.log() + t - t.exp()

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of [[k²/λ², −(1−γ)/λ], [·, ((1−γ)² + π²/6)/k²]]."""
        scale, concentration = parameters
        one = 1 / concentration
        return rows(
            (concentration / scale, (EULER - 1) * one),
            (torch.zeros_like(one), math.pi / math.sqrt(6) * one),
        )

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return √Γ(a) [[1, −λψ(a)/k²], [0, λ √ψ'(a)/k²]], a = 1 + 2/k.

        It is the root of Γ(a) [[1, −λψ(a)/k²], [·, λ²(ψ² + ψ')(a)/k⁴]].
        """
        scale, concentration = parameters
        a = 1 + 2 / concentration
        size = (torch.lgamma(a) / 2).exp()
        factor = size * scale / concentration / concentration
        mean, deviation = torch.digamma(a), trigamma(a).sqrt()
        return rows(
            (size, -factor * mean), (torch.zeros_like(size), factor * deviation)
        )

    def comparable(
        self, left: Parameters, right: Parameters
    ) -> tuple[Line, Parameters, Parameters]:
        """Return the Gumbel laws of −ln θ in units of the left one."""
        (scale, shape), (other_scale, other) = left, right
        lead = shape * log_ratio(other_scale, scale)
        ours = torch.zeros_like(lead), torch.ones_like(lead)
        return NEGATED_LOG, ours, (lead, shape / other)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return E(T − T')² [...] by quadrature.

        Second moments λ² Γ(1 + 2/k) of small k are more than numbers: infinite where
        that is so in units of θ too, else NaN.
        """
        laws = left, right
        growth = [torch.lgamma(1 + 2 / shape) for _, shape in laws]
        size = [2 * law[0].log() + g for law, g in zip(laws, growth, strict=True)]
        beyond = torch.maximum(*growth) > LARGEST
        value = torch.where(torch.maximum(*size) > LARGEST, torch.inf, torch.nan)
        ours, theirs = (
            tuple(parameter.masked_fill(beyond, 1.0) for parameter in law)
            for law in laws
        )
        return torch.where(beyond, value, super().squared_distance(ours, theirs))

    def rescaled(
        self, left: Parameters, right: Parameters
    ) -> tuple[Tensor, Parameters, Parameters]:
        """Return the unit λ of the law that is larger, and both laws in it."""
        unit = torch.maximum(left[0], right[0])
        ours, theirs = ((law[0] / unit).clamp_min(NOTHING) for law in (left, right))
        return unit, (ours, left[1]), (theirs, right[1])

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return γs − ln(1+s) − g + e^g Γ(2+s) − 1, s = k₂/k₁ − 1, g = k₂ ln λ₁/λ₂."""
        (scale, shape), (other_scale, other) = left, right
        shift = other * log_ratio(other_scale, scale)
        return gumbel_relative_entropy(shift, shape, other)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the quadrature; infinite where the right law's tail is lighter."""
        ours, theirs = ((-scale.log(), 1 / shape) for scale, shape in (left, right))
        infinite = gumbel_diverges(ours, theirs, alpha)
        pairs = zip(left, right, strict=True)
        right = tuple(torch.where(infinite, ours, theirs) for ours, theirs in pairs)
        value = super().renyi_divergence(left, right, alpha)
        return value.masked_fill(infinite, torch.inf)
