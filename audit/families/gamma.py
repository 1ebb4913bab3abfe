"""Gamma and inverse gamma laws.

Gamma with shape α and rate β is an exponential family in (α, β) itself:

    log-partition  A = ln Γ(α) − α ln β
    Fisher         [[ψ'(α), −1/β], [·, α/β²]] = ∇²A, with the root
                   [[√(ψ'(α) − 1/α), 0], [−1/√α, √α/β]]
    transport      E[∂_βT²] = α(α+1)/β⁴,   E[∂_αT ∂_βT] = −(2α+1)/2β³
    KL             the excess of x ln x from αb to α', b = β'/β, plus that of Binet's
                   rest from α to α' (`excess`): neither cancels for a large α whose
                   mean hardly moves

The transport's because T = R/β scales: ∂_β T = −T/β and E[T ∂_αT] = ½ ∂_α E[T²]. Only
E[∂_αT²] needs quadrature, and it is g(α)/β². The inverse 1/θ turns no density ratio, so
F and the divergences are the same; its T = βR scales too, with E T² = β²/((α−1)(α−2)).

Sources: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 1 (1994),
chapter 17; Gil, Alajaji & Linder, Information Sciences 249 (2013), for the divergences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.affine import Affine
from audit.families.continuous import Continuous
from audit.families.enclosures import Enclosure
from audit.families.largest_gamma import of_gammas
from audit.families.normals import renyi_by_kl
from audit.families.roots import rows as rows_of
from audit.families.roots import semidefinite_root, symmetric
from audit.families.torch_laws import OfTorch
from audit.families.univariate import Parameters
from audit.nodes.excess import binet_excess, entropy_excess, log_ratio
from audit.nodes.lines import POSITIVE
from audit.nodes.special import binet, binet_trigamma

NOTHING = 1e150  # a rate of this and more is a draw of 0 beside one of 1


class Gamma(OfTorch, Continuous):
    """Gamma coordinates; `rate` in units of 1/θ.

    Density: β^α θ^(α−1) e^(−βθ) / Γ(α) for θ > 0, α = `concentration`, β = `rate`.

    Fisher information: [[ψ'(α), −1/β], [·, α/β²]].
    """

    torch_law: ClassVar[Callable[..., td.Distribution]] = td.Gamma
    parameterizations = (("concentration", "rate"),)
    positive = ("concentration", "rate")
    chart = POSITIVE
    under_affine: ClassVar[Mapping[str, Affine]] = {"rate": Affine.SHRINKS}
    enclosed_as: ClassVar[Mapping[str, str]] = {"concentration": "value", "rate": "log"}

    def largest_kl(self, enclosure: Enclosure) -> Tensor:
        """Return the smaller of the bounds of `largest_gamma` [B]."""
        return of_gammas(enclosure)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return ln(α/β), the mode of ln θ, and its curvature's width."""
        concentration, _ = parameters
        return _mode(parameters), concentration.clamp_min(1).rsqrt()

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return α(t − eᵗ) + α ln α − ln Γ(α) with t = y − ln(α/β)."""
        parameters = rows.unbind(-1)
        t = y - _mode(parameters)
        return parameters[0] * (t - torch.expm1(t)) - binet(parameters[0])

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ln α + t − ψ(α) and α(1 − eᵗ)/β, with t as in `log_density`."""
        concentration, rate = rows.unsqueeze(1).unbind(-1)
        t = y - _mode((concentration, rate))
        shape = concentration.log() - torch.digamma(concentration) + t
        return torch.stack([shape, -concentration / rate * torch.expm1(t)], dim=-1)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of [[ψ'(α), −1/β], [·, α/β²]]."""
        concentration, rate = parameters
        shape, size = binet_trigamma(concentration).sqrt(), concentration.sqrt()
        return rows_of(
            (shape / concentration, torch.zeros_like(rate)), (-1 / size, size / rate)
        )

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root of closed forms, and of g(α)/β² by quadrature."""
        concentration, rate = parameters
        tensor = symmetric(
            {
                (0, 0): self.shape_speed(concentration),
                (0, 1): -(2 * concentration + 1) / 2,
                (1, 1): concentration * (concentration + 1),
            }
        )
        units = torch.stack([1 / rate, 1 / rate / rate], dim=-1)
        return semidefinite_root(tensor) * units.unsqueeze(-2)

    def shape_speed(self, concentration: Tensor) -> Tensor:
        """Return g(α) [...], E[∂_αT²] for a rate of 1, by quadrature."""
        unit = concentration, torch.ones_like(concentration)
        block = super().transport_block(unit)
        return block[..., 0].square().sum(-1)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the excess of x ln x from α₁b to α₂, b = β₂/β₁, and Binet's."""
        (shape, rate), (other_shape, other_rate) = left, right
        step, stretch = other_shape - shape, (other_rate - rate) / rate
        mean = shape * (other_rate / rate)
        lead = entropy_excess(mean, other_shape, step - shape * stretch)
        growth = log_ratio(shape, other_shape) - log_ratio(rate, other_rate)
        vanished = other_shape * (growth - 1)  # α₁b underflows
        lead = torch.where(mean == 0, vanished, lead)
        lead = torch.where(torch.isposinf(mean), mean, lead)
        return lead + binet_excess(shape, other_shape, step)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [A(αη₁ + (1−α)η₂) − αA(η₁) − (1−α)A(η₂)] / (α−1)."""
        pairs = zip(left, right, strict=True)
        mixed = tuple(alpha * a + (1 - alpha) * b for a, b in pairs)
        inside = (mixed[0] > 0) & (mixed[1] > 0)
        safe = zip(mixed, left, strict=True)
        mixed = tuple(torch.where(inside, m, a) for m, a in safe)
        to_left, to_right = (
            Gamma.relative_entropy(self, mixed, law) for law in (left, right)
        )
        return torch.where(inside, renyi_by_kl(to_left, to_right, alpha), torch.inf)

    def rescaled(
        self, left: Parameters, right: Parameters
    ) -> tuple[Tensor, Parameters, Parameters]:
        """Return the unit 1/β of the law that is larger, and both laws in it."""
        unit = 1 / torch.minimum(left[1], right[1])
        rates = ((law[1] * unit).clamp_max(NOTHING) for law in (left, right))
        ours, theirs = zip((left[0], right[0]), rates, strict=True)
        return unit, ours, theirs


class InverseGamma(Gamma):
    """Inverse gamma coordinates, 1/θ ~ Gamma; `rate` in units of θ.

    Density: β^α θ^(−α−1) e^(−β/θ) / Γ(α) for θ > 0, α = `concentration`, β = `rate`.

    Fisher information: [[ψ'(α), −1/β], [·, α/β²]].
    """

    torch_law = td.InverseGamma
    least_index = 2.04
    under_affine: ClassVar[Mapping[str, Affine]] = {"rate": Affine.STRETCHES}

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

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root, of g(α) β² by quadrature; infinite for α ≤ 2."""
        concentration, rate = parameters
        poles = (concentration - 1) * (concentration - 2)
        tensor = symmetric(
            {
                (0, 0): self.shape_speed(concentration),
                (0, 1): -(2 * concentration - 3) / (2 * poles.square()),
                (1, 1): 1 / poles,
            }
        )
        units = torch.stack([rate, torch.ones_like(rate)], dim=-1)
        block = semidefinite_root(tensor) * units.unsqueeze(-2)
        return self.unless_infinite(parameters, block)

    def rescaled(
        self, left: Parameters, right: Parameters
    ) -> tuple[Tensor, Parameters, Parameters]:
        """Return the unit β of the law that is larger, and both laws in it."""
        unit = torch.maximum(left[1], right[1])
        sizes = ((law[1] / unit).clamp_min(1 / NOTHING) for law in (left, right))
        ours, theirs = zip((left[0], right[0]), sizes, strict=True)
        return unit, ours, theirs

    def tail_index(self, parameters: Parameters) -> Tensor:
        """Return the concentration."""
        return parameters[0]


def _mode(parameters: Parameters) -> Tensor:
    """Return ln(α/β) [...]."""
    concentration, rate = parameters
    return concentration.log() - rate.log()
