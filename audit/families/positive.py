"""Positive laws made of a normal one.

    half-normal   |σ z|: the normal's formulas with μ = 0
    log-normal    exp(μ + σ z): the normal's divergences, and from E e^{aμ+aσz} and its
                  σ-derivatives G = e^{2μ+2σ²} [[1, 2σ], [·, 1+4σ²]]

Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 1 (1994),
chapters 13 and 14.
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
from audit.families.largest_kl import of_normals, of_rates
from audit.families.location_scale import standardised
from audit.families.normals import OfNormal, normal_relative_entropy, normal_renyi
from audit.families.roots import diagonal, rows
from audit.families.torch_laws import OfTorch
from audit.families.univariate import Parameters
from audit.nodes.lines import POSITIVE, Line
from audit.nodes.special import times


class HalfNormal(OfTorch, Continuous):
    """Half-normal coordinates; `scale` in units of θ.

    Density: √(2/π) exp(−θ²/2σ²) / σ for θ ≥ 0, σ = `scale`.

    Fisher information: 2/σ².
    """

    torch_law = td.HalfNormal
    parameterizations = (("scale",),)
    under_affine: ClassVar[Mapping[str, Affine]] = {"scale": Affine.STRETCHES}
    positive = ("scale",)
    enclosed_as: ClassVar[Mapping[str, str]] = {"scale": "log"}
    chart = POSITIVE

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the smaller of the bounds of `largest_kl` [B]: ½ ψ(−2ρ)."""
        weight = torch.full_like(enclosure.centre, 0.5)
        return of_rates(enclosure, weight, -2.0)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return ln σ and 1."""
        (scale,) = parameters
        return scale.log(), torch.ones_like(scale)

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ½ ln(2/π) + t − e^2t/2 with t = y − ln σ."""
        t = y - rows[..., 0].log()
        return math.log(2 / math.pi) / 2 + t - torch.exp(2 * t) / 2

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of 2/σ²."""
        (scale,) = parameters
        return (math.sqrt(2) / scale)[..., None, None]

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return 1."""
        return torch.ones_like(parameters[0])[..., None, None]

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the normal's with μ = 0."""
        return normal_relative_entropy(_centred(left), _centred(right))

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the normal's with μ = 0."""
        return normal_renyi(_centred(left), _centred(right), alpha)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return Δσ²."""
        return (right[0] - left[0]).square()


class LogNormal(OfNormal, OfTorch, Continuous):
    """Log-normal coordinates; `loc` and `scale` are those of ln θ.

    Density: exp(−z²/2) / (θ σ √(2π)), z = (ln θ − loc)/σ, σ = `scale`.

    Fisher information: diag(1/σ², 2/σ²).
    """

    torch_law = td.LogNormal
    parameterizations = (("loc", "scale"),)
    positive = ("scale",)
    under_affine: ClassVar[Mapping[str, Affine]] = {"loc": Affine.IN_LOGS}
    enclosed_as: ClassVar[Mapping[str, str]] = {"loc": "value", "scale": "log"}
    chart = POSITIVE

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the bound of the laws of ln θ [B]: KL is the same."""
        return of_normals(enclosure)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of diag(1, 2) / σ²."""
        _, scale = parameters
        return diagonal(1 / scale, math.sqrt(2) / scale)

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return e^{μ+σ²} [[1, 2σ], [0, 1]], the root of G."""
        loc, scale = parameters
        size = torch.exp(loc + scale.square())
        none = torch.zeros_like(size)
        return rows((size, times(size, 2 * scale)), (none, size))

    def comparable(
        self, left: Parameters, right: Parameters
    ) -> tuple[Line, Parameters, Parameters]:
        """Return the laws of ln θ in units of the left one."""
        return self, *standardised(left, right)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return e^{2μ+2σ²} E(eʷ − 1)², w = Δμ + Δσ z under the tilt z ~ N(2σ, 1).

        (μ, σ) is the law with the larger second moment, so that nothing overflows.
        """
        size, larger = (2 * loc + 2 * s.square() for loc, s in (left, right))
        swap = larger > size
        pairs = zip(left, right, strict=True)
        _, scale = (torch.where(swap, b, a) for a, b in pairs)
        shift, stretch = (b - a for a, b in zip(left, right, strict=True))
        shift, stretch = (torch.where(swap, -d, d) for d in (shift, stretch))
        mean, variance = shift + 2 * scale * stretch, stretch.square()
        bias = torch.expm1(mean + variance / 2).square()
        spread = times(-torch.expm1(-variance), torch.exp(2 * mean + 2 * variance))
        size = torch.maximum(size, larger)
        distance = torch.exp(size + (bias + spread).log())
        alike = (shift == 0) & (stretch == 0)
        distance = torch.where(torch.isposinf(size), torch.inf, distance)
        return torch.where(alike, 0.0, distance)


def _centred(parameters: Parameters) -> Parameters:
    (scale,) = parameters
    return torch.zeros_like(scale), scale
