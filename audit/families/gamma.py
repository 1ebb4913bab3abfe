"""Gamma and inverse gamma laws.

Gamma with shape α and rate β is an exponential family in (α, β) itself:

    log-partition  A = ln Γ(α) − α ln β
    Fisher         [[ψ'(α), −1/β], [·, α/β²]] = ∇²A
    transport      E[∂_βT²] = α(α+1)/β⁴,   E[∂_αT ∂_βT] = −(2α+1)/2β³

The latter two because T = R/β scales: ∂_β T = −T/β and E[T ∂_αT] = ½ ∂_α E[T²]. Only
E[∂_αT²] needs quadrature, and it is g(α)/β². The inverse 1/θ turns no density ratio, so
F and the divergences are the same; its T = βR scales too, with E T² = β²/((α−1)(α−2)).

Sources: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 1 (1994),
chapter 17; Gil, Alajaji & Linder, Information Sciences 249 (2013), for the divergences.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.continuous import Continuous
from audit.families.lines import POSITIVE
from audit.families.roots import symmetric
from audit.families.special import lgamma_excess, trigamma
from audit.families.univariate import Parameters


class Gamma(Continuous):
    """Gamma coordinates; `rate` in units of 1/θ."""

    parameterizations = (("concentration", "rate"),)
    positive = ("concentration", "rate")
    chart = POSITIVE

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the gamma law."""
        concentration, rate = parameters
        return td.Gamma(concentration, rate, validate_args=False)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return ln(α/β), the mode of ln θ, and its curvature's width."""
        concentration, rate = parameters
        return (concentration / rate).log(), concentration.clamp_min(1).rsqrt()

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return α(t − eᵗ) + α ln α − ln Γ(α) with t = y − ln(α/β)."""
        concentration, rate = rows.unbind(-1)
        t = y - (concentration / rate).log()
        constant = concentration * concentration.log() - torch.lgamma(concentration)
        return constant + concentration * (t - t.exp())

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ln α + t − ψ(α) and α(1 − eᵗ)/β, with t as in `log_density`."""
        concentration, rate = rows.unsqueeze(1).unbind(-1)
        t = y - (concentration / rate).log()
        shape = concentration.log() - torch.digamma(concentration) + t
        return torch.stack([shape, -concentration / rate * torch.expm1(t)], dim=-1)

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return [[ψ'(α), −1/β], [·, α/β²]]."""
        concentration, rate = parameters
        return symmetric(
            {
                (0, 0): trigamma(concentration),
                (0, 1): -1 / rate,
                (1, 1): concentration / rate.square(),
            }
        )

    def transport(self, parameters: Parameters) -> Tensor:
        """Return closed forms, and g(α)/β² by quadrature."""
        concentration, rate = parameters
        unit = torch.ones_like(rate)
        shape = super().transport((concentration, unit))[..., 0, 0]
        return symmetric(
            {
                (0, 0): shape / rate.square(),
                (0, 1): -(2 * concentration + 1) / (2 * rate**3),
                (1, 1): concentration * (concentration + 1) / rate**4,
            }
        )

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the Bregman divergence of ln Γ plus α₁ (r − 1 − ln r) − Δα ln r."""
        (shape, rate), (other_shape, other_rate) = left, right
        step, stretch = other_shape - shape, (other_rate - rate) / rate
        log_ratio = torch.log1p(stretch)
        scale = shape * (stretch - log_ratio) - step * log_ratio
        return lgamma_excess(shape, step) + scale

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [A(αη₁ + (1−α)η₂) − αA(η₁) − (1−α)A(η₂)] / (α−1)."""
        mixed = tuple(
            alpha * a + (1 - alpha) * b for a, b in zip(left, right, strict=True)
        )
        inside = (mixed[0] > 0) & (mixed[1] > 0)
        gap = _gamma_partition(mixed) - alpha * _gamma_partition(left)
        gap = gap - (1 - alpha) * _gamma_partition(right)
        return torch.where(inside, gap / (alpha - 1), torch.inf)


class InverseGamma(Gamma):
    """Inverse gamma coordinates, 1/θ ~ Gamma; `rate` in units of θ."""

    least_index = 2.04

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the inverse gamma law."""
        concentration, rate = parameters
        return td.InverseGamma(concentration, rate, validate_args=False)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the gamma law's, mirrored."""
        center, width = super().bulk_of(parameters)
        return -center, width

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the gamma law's at −y."""
        return super().log_density(-y, rows)

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the gamma law's at −y."""
        return super().score(-y, rows)

    def transport(self, parameters: Parameters) -> Tensor:
        """Return closed forms and β² g(α); infinite for α ≤ `least_index`."""
        concentration, rate = parameters
        shape = Continuous.transport(self, (concentration, torch.ones_like(rate)))
        poles = (concentration - 1) * (concentration - 2)
        tensor = symmetric(
            {
                (0, 0): shape[..., 0, 0] * rate.square(),
                (0, 1): -rate * (2 * concentration - 3) / (2 * poles.square()),
                (1, 1): 1 / poles,
            }
        )
        return self.unless_infinite(parameters, tensor)

    def tail_index(self, parameters: Parameters) -> Tensor:
        """Return the concentration."""
        return parameters[0]


def _gamma_partition(parameters: Parameters) -> Tensor:
    concentration, rate = parameters
    return torch.lgamma(concentration) - concentration * rate.log()
