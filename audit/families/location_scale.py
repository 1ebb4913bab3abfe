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
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.affine import Affine
from audit.families.continuous import Continuous
from audit.families.enclosures import Enclosure
from audit.families.largest_kl import of_laplaces, of_normals
from audit.families.normals import OfNormal
from audit.families.torch_laws import LogisticLaw, OfTorch
from audit.families.univariate import Parameters
from audit.linalg.operators import Diagonal
from audit.linalg.stored import LinearOperator
from audit.nodes.excess import exp_excess, ratio_excess
from audit.nodes.lines import Line


class LocationScale(Continuous):
    """Independent coordinates, each shifted by `loc` and stretched by `scale`.

    Units: both parameters are in units of θ; F in 1/θ², E[Jᵀ J] has none.
    """

    parameterizations = (("loc", "scale"),)
    positive = ("scale",)
    location = "loc"
    under_affine: ClassVar[Mapping[str, Affine]] = {
        "loc": Affine.SHIFTS,
        "scale": Affine.STRETCHES,
    }
    information: ClassVar[tuple[float, float, float]]  # E u², E uv, E v²
    moments: ClassVar[tuple[float, float]]  # E z, E z²

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return location and scale."""
        loc, scale = parameters
        return loc, scale

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of [[E u², E uv], [·, E v²]] over σ."""
        _, scale = parameters
        return scale.new_tensor(_root(*self.information)) / scale[..., None, None]

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root of [[1, E z], [·, E z²]]."""
        _, scale = parameters
        constant = scale.new_tensor(_root(1.0, *self.moments))
        block = constant.expand(*scale.shape, 2, 2)
        return self.unless_infinite(parameters, block)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return Δμ² + 2 Δμ Δσ E z + Δσ² E z², as a sum of squares."""
        loc, scale = (b - a for a, b in zip(left, right, strict=True))
        mean, square = self.moments
        spread = scale * math.sqrt(square - mean**2)
        return (loc + mean * scale).square() + spread.square()

    def exponential_index(self, parameters: Parameters) -> Tensor | None:
        """Return 1/σ: the base density falls like e^{−z} to the right."""
        return 1 / parameters[1]

    def comparable(
        self, left: Parameters, right: Parameters
    ) -> tuple[Line, Parameters, Parameters]:
        """Return the laws in units of the left one."""
        return self, *standardised(left, right)


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


class Normal(OfNormal, OfTorch, Symmetric):
    """Normal coordinates: u = z.

    Density: exp(−z²/2) / (σ √(2π)), z = (θ − loc)/σ, σ = `scale`.

    Fisher information: diag(1/σ², 2/σ²).
    """

    torch_law = td.Normal
    enclosed_as: ClassVar[Mapping[str, str]] = {"loc": "value", "scale": "log"}
    information, moments = (1.0, 0.0, 2.0), (0.0, 1.0)

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the smaller of the bounds of `largest_kl` [B]."""
        return of_normals(enclosure)

    def exponential_index(self, parameters: Parameters) -> None:
        """Return None: E e^{kθ} = e^{kμ + k²σ²/2}."""
        return


class Laplace(OfTorch, Symmetric):
    """Laplace coordinates: u = sign z.

    Density: exp(−|θ − loc|/b) / (2b), b = `scale`.

    Fisher information: diag(1/b², 1/b²).
    """

    torch_law = td.Laplace
    enclosed_as: ClassVar[Mapping[str, str]] = {"loc": "value", "scale": "log"}
    information, moments = (1.0, 0.0, 1.0), (0.0, 2.0)

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the smaller of the bounds of `largest_kl` [B]."""
        return of_laplaces(enclosure)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return ln(b₂/b₁) + |Δ|/b₂ + (b₁/b₂) e^{−|Δ|/b₁} − 1, a cubic in |Δ|."""
        (loc, scale), (other_loc, other) = left, right
        shift = (loc - other_loc).abs()
        steps = shift / scale
        near = scale * exp_excess(-steps.clamp_max(1))
        wedge = torch.where(steps < 1, near, shift + scale * torch.expm1(-steps))
        return ratio_excess(other, scale) + wedge / other


class Logistic(Symmetric):
    """Logistic coordinates: u = tanh(z/2).

    Density: e^−z / (s (1 + e^−z)²), z = (θ − loc)/s, s = `scale`.

    Fisher information: diag(1/3, (3 + π²)/9) / s².
    """

    information = (1 / 3, 0.0, (3 + math.pi**2) / 9)
    moments = (0.0, math.pi**2 / 3)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the logistic law."""
        loc, scale = parameters
        return LogisticLaw(loc, scale)


class Cauchy(OfTorch, Symmetric):
    """Cauchy coordinates: u = 2z / (1 + z²). There is no second moment.

    Density: 1 / (πγ (1 + z²)), z = (θ − loc)/γ, γ = `scale`.

    Fisher information: diag(1/2, 1/2) / γ².
    """

    torch_law = td.Cauchy
    information, moments = (0.5, 0.0, 0.5), (0.0, math.inf)

    def tail_index(self, parameters: Parameters) -> Tensor:
        """Return 1."""
        return torch.ones_like(parameters[0])

    def exponential_index(self, parameters: Parameters) -> Tensor:
        """Return 0: no power of e^θ has a mean."""
        return torch.zeros_like(parameters[0])

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return ln[((γ₁+γ₂)² + Δ²) / (4 γ₁ γ₂)]."""
        (loc, scale), (other_loc, other) = left, right
        shift, stretch = loc - other_loc, scale - other
        squares = stretch / scale * (stretch / other) + shift / scale * (shift / other)
        together = 2 * torch.hypot(scale / 2 + other / 2, shift / 2).log()
        far = together - scale.log() - other.log()
        return torch.where(squares < 1, torch.log1p(squares / 4), far)


def standardised(left: Parameters, right: Parameters) -> tuple[Parameters, Parameters]:
    """Return laws (loc, scale) in the left one's coordinate (θ − μ₁)/σ₁."""
    (loc, scale), (other_loc, other) = left, right
    ours = torch.zeros_like(loc), torch.ones_like(scale)
    return ours, ((other_loc - loc) / scale, other / scale)


def _root(a: float, b: float, c: float) -> list[list[float]]:
    """Return the upper Cholesky factor of [[a, b], [b, c]]."""
    first = math.sqrt(a)
    return [[first, b / first], [0.0, math.sqrt(c - b * b / a)]]
