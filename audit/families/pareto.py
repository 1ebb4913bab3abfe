"""Pareto laws: θ = m e^{R/α} with R a standard exponential draw.

The scale m is where the support begins. As the option `scale` it is a constant (1
unless given), ln(θ/m) is exponential with rate α, and everything is closed. As a
parameter it moves the support: log q has a jump, Fisher information does not exist and
is refused, whatever the network does with it; the transport tensor exists:

    G = [[1/(1−2a), −(m/α²)/(1−2a)²], [·, (2m²/α⁴)/(1−2a)³]],   a = 1/α < ½

Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 1 (1994),
chapter 20; E[R^b e^{aR}] = b!/(1−a)^{b+1} for the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch import distributions as td

from audit.errors import ConfigError, NoFisher
from audit.families.lifetimes import Exponential
from audit.families.options import read_positive
from audit.families.roots import symmetric
from audit.families.univariate import Parameters
from audit.linalg.operators import LinearOperator


class Pareto(Exponential):
    """Pareto coordinates, by `alpha`, or by `scale` and `alpha`."""

    parameterizations = (("alpha",), ("scale", "alpha"))
    positive = ("scale", "alpha")
    options = ("scale",)
    optional = ("scale",)
    mixes = False

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], **options: object
    ) -> None:
        super().__init__(shapes, **options)
        if self.moves and "scale" in self.settings:
            raise ConfigError(
                "The family pareto was given its scale twice",
                "It is a parameter, or a constant as an option",
                "Remove one of the two",
            )
        self.fixed_scale = read_positive("scale", self.settings.get("scale", 1.0))

    @property
    def moves(self) -> bool:
        """Whether the scale is a parameter."""
        return "scale" in self.parameters

    def scale_of(self, parameters: Parameters) -> Tensor:
        """Return m [...]."""
        if self.moves:
            return parameters[0]
        return torch.full_like(parameters[0], self.fixed_scale)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the Pareto law."""
        scale, alpha = self.scale_of(parameters), parameters[-1]
        return td.Pareto(scale, alpha, validate_args=False)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the exponential law's, of ln(θ/m)."""
        return super().bulk_of(parameters[-1:])

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the exponential law's, of ln(θ/m)."""
        alpha = rows[..., -1]
        return alpha.log() + y - alpha * y.exp()

    def fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return 1/α; refuse if the scale is a parameter."""
        if self.moves:
            raise NoFisher(
                "The family pareto was given a scale that is a parameter: it moves "
                "the support, and log q has no score there",
                "Fisher information needs a support that does not depend on the input",
                "If the scale is a constant, give it as the option scale instead, or "
                "audit with -d quantile",
            )
        return super().fisher_root(phi)

    def transport(self, parameters: Parameters) -> Tensor:
        """Return G, infinite for α ≤ 2."""
        scale, alpha = self.scale_of(parameters), parameters[-1]
        rest = 1 - 2 / alpha
        last = 2 * scale.square() / (alpha**4 * rest**3)
        if not self.moves:
            return self.unless_infinite(parameters, last[..., None, None])
        cross = -scale / (alpha * rest).square()
        tensor = symmetric({(0, 0): 1 / rest, (0, 1): cross, (1, 1): last})
        return self.unless_infinite(parameters, tensor)

    def tail_index(self, parameters: Parameters) -> Tensor:
        """Return α."""
        return parameters[-1]

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return s − ln(1+s) + α₂ ln(m₁/m₂); infinite if m₁ < m₂."""
        shift = self._log_ratio(left, right)
        value = super().relative_entropy(left, right) + right[-1] * shift
        return torch.where(shift < 0, torch.inf, value)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the integral from the larger m; infinite if α > 1 and m₁ < m₂."""
        shift = self._log_ratio(left, right)
        lost = alpha * left[-1] * shift.clamp_max(0)
        lost = lost - (1 - alpha) * right[-1] * shift.clamp_min(0)
        value = super().renyi_divergence(left, right, alpha) + lost / (alpha - 1)
        return torch.where((shift < 0) & (alpha > 1), torch.inf, value)

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the exponential law's; None if the scale is a parameter."""
        return None if self.moves else super().jensen_shannon(phi, other)

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return E(m₁ e^{aR} − m₂ e^{bR})², with a − b and m₂ − m₁ drawn out."""
        scale, other_scale = self.scale_of(left), self.scale_of(right)
        a, b = 1 / left[-1], 1 / right[-1]
        middle, gap, step = 1 - a - b, a - b, other_scale - scale
        shape = 2 * gap.square() / (middle * (1 - 2 * a) * (1 - 2 * b))
        cross = gap / (middle * (1 - 2 * b))
        return (
            scale.square() * shape
            - 2 * scale * step * cross
            + step.square() / (1 - 2 * b)
        )

    def _log_ratio(self, left: Parameters, right: Parameters) -> Tensor:
        scale, other = self.scale_of(left), self.scale_of(right)
        return torch.log1p((scale - other) / other)
