"""Laws on the circle.

Von Mises with mean direction μ and concentration κ; A(κ) = I₁(κ)/I₀(κ) = E cos(θ−μ).

    Fisher      diag(κ A, 1 − A² − A/κ); the second is Var cos(θ−μ), of order κ⁻², and
                is integrated as a variance, which does not cancel
    transport   the map turns θ = μ + Q_κ(u), cut opposite the mean: diag(1, g(κ)), a
                quadrature; distances are arcs
    KL          ln I₀(κ₂)/I₀(κ₁) + A(κ₁)(κ₁ − κ₂ cos Δ)

It is an exponential family in η = κ (cos μ, sin μ) with log-partition ln I₀(‖η‖).

Source: Mardia & Jupp, Directional Statistics (2000), sections 3.5.4 and 5.3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.continuous import Continuous
from audit.families.roots import symmetric
from audit.families.univariate import Parameters

TURN = 2 * math.pi


class VonMises(Continuous):
    """Von Mises coordinates; `loc` in radians, `concentration` without units."""

    parameterizations = (("loc", "concentration"),)
    positive = ("concentration",)
    limit = math.pi
    transport_name = "rotation of the increasing map, cut opposite the mean"

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the von Mises law."""
        loc, concentration = parameters
        return td.VonMises(loc, concentration, validate_args=False)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return μ, and κ^−½ or at most 1."""
        loc, concentration = parameters
        return loc, concentration.clamp_min(1).rsqrt()

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return κ (cos(θ−μ) − 1) − ln(2π I₀(κ) e^−κ)."""
        loc, concentration = rows.unbind(-1)
        dip = -2 * torch.sin((y - loc) / 2).square()
        return concentration * dip - math.log(TURN) - _log_i0e(concentration)

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return κ sin(θ−μ) and cos(θ−μ) − A(κ)."""
        loc, concentration = rows.unsqueeze(1).unbind(-1)
        dip = -2 * torch.sin((y - loc) / 2).square()
        turn = concentration * torch.sin(y - loc)
        return torch.stack([turn, dip + _lack(concentration)], dim=-1)

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return diag(κ A, Var cos)."""
        _, concentration = parameters
        variance = super().fisher(_at_zero(parameters))[..., 1, 1]
        first = concentration * (1 - _lack(concentration))
        return symmetric({(0, 0): first, (1, 1): variance})

    def transport(self, parameters: Parameters) -> Tensor:
        """Return diag(1, g(κ))."""
        spread = super().transport(_at_zero(parameters))[..., 1, 1]
        return symmetric({(0, 0): torch.ones_like(spread), (1, 1): spread})

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the Bregman divergence of ln I₀ and A(κ₁) κ₂ (1 − cos Δ)."""
        (loc, kappa), (other_loc, other) = left, right
        lack = _lack(kappa)
        turn = (1 - lack) * other * 2 * torch.sin((loc - other_loc) / 2).square()
        return _log_i0e(other) - _log_i0e(kappa) + lack * (other - kappa) + turn

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [A(αη₁ + (1−α)η₂) − αA(η₁) − (1−α)A(η₂)] / (α−1)."""
        (loc, kappa), (other_loc, other) = left, right
        beta = 1 - alpha
        mean = alpha * kappa + beta * other
        turn = 2 * torch.sin((loc - other_loc) / 2).square()
        loss = 2 * alpha * beta * kappa * other * turn  # mean² − ‖mixed η‖²
        norm = (mean.square() - loss).clamp_min(0).sqrt()
        drift = torch.where(mean > 0, -loss / (norm + mean), norm - mean)
        gap = _log_i0e(norm) - alpha * _log_i0e(kappa) - beta * _log_i0e(other)
        return (gap + drift) / (alpha - 1)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the squared arc between the means plus E(Q_κ − Q_κ')²."""
        arc = _wrap(right[0] - left[0])
        spread = super().squared_distance(_at_zero(left), _at_zero(right))
        return arc.square() + spread

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the Jensen-Shannon divergence [N] for one coordinate, else None."""
        loc, kappa = self.split(other)
        near = self.split(phi)[0]
        return super().jensen_shannon(
            phi, torch.cat([near + _wrap(loc - near), kappa], dim=-1)
        )


def _at_zero(parameters: Parameters) -> Parameters:
    return torch.zeros_like(parameters[0]), parameters[1]


def _wrap(angle: Tensor) -> Tensor:
    """Return the angle in [−π, π)."""
    return torch.remainder(angle + math.pi, TURN) - math.pi


def _log_i0e(kappa: Tensor) -> Tensor:
    value: Tensor = torch.special.i0e(kappa).log()
    return value


def _lack(kappa: Tensor) -> Tensor:
    """Return 1 − A(κ)."""
    i0, i1 = torch.special.i0e(kappa), torch.special.i1e(kappa)
    value: Tensor = (i0 - i1) / i0
    return value
