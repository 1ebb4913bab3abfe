"""Location-scale families.

A draw is θ = μ + σ z, where z ~ g is fixed noise. With score functions
u = −g'/g and v = z u − 1 of location and scale,

    Fisher      F(φ) = [[E u², E uv], [·, E v²]] / σ²
    transport   E[Jᵀ J] = [[1, E z], [·, E z²]]           J = (1, z) at fixed z
    distance    E(T − T')² = Δμ² + 2 Δμ Δσ E z + Δσ² E z²

For a symmetric g the cross terms integrate odd functions to zero. A new family is a
few numbers. For all but the normal the divergences need more than the numbers.

Sources: Lehmann & Casella, Theory of Point Estimation (1998), section 2.5, for the
information; Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions (1994/5),
for the moments; Chyzak & Nielsen, arXiv:1905.10965, for the Cauchy divergence.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.continuous import Continuous
from audit.families.logistic import LogisticLaw
from audit.families.univariate import Parameters
from audit.linalg.operators import Diagonal, LinearOperator

EULER = 0.5772156649015329  # −ψ(1)


class LocationScale(Continuous):
    """Independent coordinates, each shifted by `loc` and stretched by `scale`.

    Units: both parameters are in units of θ; F in 1/θ², E[Jᵀ J] has none.
    """

    parameterizations = (("loc", "scale"),)
    positive = ("scale",)
    information: ClassVar[tuple[float, float, float]]  # E u², E uv, E v²
    moments: ClassVar[tuple[float, float]]  # E z, E z²

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return location and scale."""
        loc, scale = parameters
        return loc, scale

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return [[E u², E uv], [·, E v²]] / σ²."""
        _, scale = parameters
        return scale.new_tensor(_square(*self.information)) / _matrix(scale.square())

    def transport(self, parameters: Parameters) -> Tensor:
        """Return [[1, E z], [·, E z²]]."""
        _, scale = parameters
        constant = scale.new_tensor(_square(1.0, *self.moments))
        tensor = constant.expand(*scale.shape, 2, 2)
        return self.unless_infinite(parameters, tensor)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return Δμ² + 2 Δμ Δσ E z + Δσ² E z²."""
        loc, scale = (b - a for a, b in zip(left, right, strict=True))
        mean, square = self.moments
        return loc.square() + 2 * mean * loc * scale + square * scale.square()


class Symmetric(LocationScale):
    """A symmetric base density: both tensors are diagonal."""

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Return B [N, 2n, 2n] with Bᵀ B = F(φ)."""
        _, scale = self.split(phi)
        a, _, b = (math.sqrt(value) for value in self.information)
        return Diagonal(torch.cat([a / scale, b / scale], dim=-1))

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return B [N, 2n, 2n] with Bᵀ B = E[Jᵀ J]."""
        loc, scale = (torch.ones_like(value) for value in self.split(phi))
        return Diagonal(torch.cat([loc, math.sqrt(self.moments[1]) * scale], dim=-1))


class Normal(Symmetric):
    """Normal coordinates: u = z."""

    information, moments = (1.0, 0.0, 2.0), (0.0, 1.0)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return N(loc, scale²)."""
        loc, scale = parameters
        return td.Normal(loc, scale, validate_args=False)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return ln(σ₂/σ₁) + (σ₁² + Δ²) / 2σ₂² − ½."""
        return normal_relative_entropy(left, right)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return ln(σ₂/σ₁) + ln(σ₂²/v) / 2(α−1) + αΔ²/2v, v = (1−α)σ₁² + ασ₂²."""
        return normal_renyi(left, right, alpha)


class Laplace(Symmetric):
    """Laplace coordinates: u = sign z."""

    information, moments = (1.0, 0.0, 1.0), (0.0, 2.0)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Laplace law."""
        loc, scale = parameters
        return td.Laplace(loc, scale, validate_args=False)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return ln(b₂/b₁) + |Δ|/b₂ + (b₁/b₂) e^{−|Δ|/b₁} − 1, a cubic in |Δ|."""
        (loc, scale), (other_loc, other) = left, right
        shift, stretch = (loc - other_loc).abs() / scale, (scale - other) / other
        wedge = torch.expm1(-shift) + shift
        return stretch - torch.log1p(stretch) + scale / other * wedge


class Logistic(Symmetric):
    """Logistic coordinates: u = tanh(z/2)."""

    information = (1 / 3, 0.0, (3 + math.pi**2) / 9)
    moments = (0.0, math.pi**2 / 3)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the logistic law."""
        loc, scale = parameters
        return LogisticLaw(loc, scale)


class Gumbel(LocationScale):
    """Gumbel coordinates (of maxima): u = 1 − e^{−z}."""

    information = (1.0, EULER - 1, (1 - EULER) ** 2 + math.pi**2 / 6)
    moments = (EULER, EULER**2 + math.pi**2 / 6)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Gumbel law."""
        loc, scale = parameters
        return td.Gumbel(loc, scale, validate_args=False)

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return −z − e^{−z} − ln β."""
        loc, scale = rows.unbind(-1)
        z = (y - loc) / scale
        return -z - torch.exp(-z) - scale.log()

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return ln(β₂/β₁) + γ(β₁/β₂ − 1) − Δ/β₂ + e^{Δ/β₂} Γ(1 + β₁/β₂) − 1."""
        (loc, scale), (other_loc, other) = left, right
        stretch, shift = (scale - other) / other, (other_loc - loc) / other
        growth = shift + torch.lgamma(2 + stretch)
        linear = EULER * stretch - shift - torch.log1p(stretch)
        return linear + torch.expm1(growth)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the quadrature; infinite where the right law's tail is lighter."""
        value = super().renyi_divergence(left, right, alpha)
        return value.masked_fill(gumbel_diverges(left, right, alpha), torch.inf)


class Cauchy(Symmetric):
    """Cauchy coordinates: u = 2z / (1 + z²). There is no second moment."""

    information, moments = (0.5, 0.0, 0.5), (0.0, math.inf)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Cauchy law."""
        loc, scale = parameters
        return td.Cauchy(loc, scale, validate_args=False)

    def tail_index(self, parameters: Parameters) -> Tensor:
        """Return 1."""
        return torch.ones_like(parameters[0])

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return ln[((γ₁+γ₂)² + Δ²) / (4 γ₁ γ₂)]."""
        (loc, scale), (other_loc, other) = left, right
        squares = (scale - other).square() + (loc - other_loc).square()
        return torch.log1p(squares / (4 * scale * other))


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


def normal_relative_entropy(left: Parameters, right: Parameters) -> Tensor:
    """Return KL [...] between normal laws (loc, scale)."""
    (loc, scale), (other_loc, other) = left, right
    stretch, shift = (scale - other) / other, (loc - other_loc) / other
    return (shift.square() + stretch.square()) / 2 + stretch - torch.log1p(stretch)


def normal_renyi(left: Parameters, right: Parameters, alpha: float) -> Tensor:
    """Return the Rényi divergence [...] between normal laws (loc, scale)."""
    (loc, scale), (other_loc, other) = left, right
    ratio = (scale - other) / other * (scale + other) / other  # σ₁²/σ₂² − 1
    excess = (1 - alpha) * ratio  # v/σ₂² − 1
    stretch = -torch.log1p(ratio) / 2 - torch.log1p(excess) / (2 * (alpha - 1))
    shift = alpha * ((loc - other_loc) / other).square() / (2 * (1 + excess))
    return torch.where(excess > -1, stretch + shift, torch.inf)


def _square(a: float, b: float, c: float) -> list[list[float]]:
    return [[a, b], [b, c]]


def _matrix(value: Tensor) -> Tensor:
    return value[..., None, None]
