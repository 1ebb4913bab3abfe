"""Laws on the circle.

Von Mises with mean direction μ and concentration κ; A(κ) = I₁(κ)/I₀(κ) = E cos(θ−μ).

    Fisher      diag(κ A, A'), A' = 1 − A² − A/κ = Var cos(θ−μ)
    transport   the map turns θ = μ + Q_κ(u), cut opposite the mean: diag(1, g(κ)), a
                quadrature; distances are arcs
    KL          the excess of ln I₀ from κ₁ to κ₂, plus A(κ₁) κ₂ (1 − cos Δ)

It is an exponential family in η = κ (cos μ, sin μ) with log-partition ln I₀(‖η‖). At
κ = 0 it is the uniform law, a member like any other. `bessel` has A, A' and the excess.

Source: Mardia & Jupp, Directional Statistics (2000), sections 3.5.4 and 5.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.bessel import deviation, lack, log_i0_excess, log_i0e, mean_cosine
from audit.families.continuous import Continuous
from audit.families.normals import renyi_by_kl
from audit.families.roles import Role
from audit.families.roots import diagonal
from audit.families.univariate import Parameters
from audit.nodes.lines import Line

TURN = 2 * math.pi
UNIFORM = 1e-8  # draws of a smaller concentration are uniform to eight digits


class VonMises(Continuous):
    """Von Mises coordinates; `loc` in radians, `concentration` without units.

    Density: exp(κ cos(θ − loc)) / (2π I₀(κ)), κ = `concentration`.

    Fisher information: diag(κA, 1 − A² − A/κ), A = I₁(κ)/I₀(κ).
    """

    parameterizations = (("loc", "concentration"),)
    not_negative = ("concentration",)
    roles: ClassVar[Mapping[str, Role]] = {"concentration": Role.SCALE}
    limit = math.pi
    transport_name = "rotation of the increasing map, cut opposite the mean"

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the von Mises law."""
        return Directions(*parameters)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return μ, and κ^−½ or at most 1."""
        loc, concentration = parameters
        return loc, concentration.clamp_min(1).rsqrt()

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return κ (cos(θ−μ) − 1) − ln(2π I₀(κ) e^−κ)."""
        return _log_density(y, *rows.unbind(-1))

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return κ sin(θ−μ) and cos(θ−μ) − A(κ)."""
        loc, concentration = rows.unsqueeze(1).unbind(-1)
        dip = -2 * torch.sin((y - loc) / 2).square()
        turn = concentration * torch.sin(y - loc)
        return torch.stack([turn, dip + lack(concentration)], dim=-1)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of diag(κ A, A')."""
        _, concentration = parameters
        pull = concentration * mean_cosine(concentration)
        return diagonal(pull.sqrt(), deviation(concentration))

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root of diag(1, g(κ))."""
        block = super().transport_block(_at_zero(parameters))
        speed = block[..., 1].norm(dim=-1)
        return diagonal(torch.ones_like(speed), speed)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the excess of ln I₀ and A(κ₁) κ₂ (1 − cos Δ)."""
        return _relative_entropy(left[1], right[1], right[0] - left[0])

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [A(αη₁ + (1−α)η₂) − αA(η₁) − (1−α)A(η₂)] / (α−1).

        The law between is at an angle from the left one, both η in its coordinate.
        """
        turn, kappa = right[0] - left[0], left[1]
        east, north = right[1] * torch.cos(turn), right[1] * torch.sin(turn)
        east, north = alpha * kappa + (1 - alpha) * east, (1 - alpha) * north
        norm, angle = torch.hypot(east, north), torch.atan2(north, east)
        to_left = _relative_entropy(norm, kappa, angle)
        to_right = _relative_entropy(norm, right[1], angle - turn)
        return renyi_by_kl(to_left, to_right, alpha)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the squared arc between the means plus E(Q_κ − Q_κ')²."""
        arc = _wrap(right[0] - left[0])
        spread = super().squared_distance(_at_zero(left), _at_zero(right))
        return arc.square() + spread

    def comparable(
        self, left: Parameters, right: Parameters
    ) -> tuple[Line, Parameters, Parameters]:
        """Return the laws by the angle from the left one's mean."""
        turned = _wrap(right[0] - left[0]), right[1]
        return self, _at_zero(left), turned


class Directions(td.VonMises):
    """Torch's sampler, which would not end at κ = 0, with all digits of the density."""

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.true_concentration = concentration
        spread = concentration.clamp_min(UNIFORM)
        super().__init__(loc, spread, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density."""
        return _log_density(value, self.loc, self.true_concentration)


def _log_density(y: Tensor, loc: Tensor, concentration: Tensor) -> Tensor:
    dip = -2 * torch.sin((y - loc) / 2).square()
    return concentration * dip - math.log(TURN) - log_i0e(concentration)


def _relative_entropy(kappa: Tensor, other: Tensor, turn: Tensor) -> Tensor:
    fall = 2 * torch.sin(turn / 2).square()
    return log_i0_excess(kappa, other) + mean_cosine(kappa) * other * fall


def _at_zero(parameters: Parameters) -> Parameters:
    return torch.zeros_like(parameters[0]), parameters[1]


def _wrap(angle: Tensor) -> Tensor:
    """Return the angle in [−π, π)."""
    return torch.remainder(angle + math.pi, TURN) - math.pi
