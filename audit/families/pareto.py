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

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.lifetimes import Exponential
from audit.families.options import read_positive
from audit.families.parameters import Shapes
from audit.families.roots import rows
from audit.families.univariate import Parameters
from audit.ground.errors import ConfigError, NoFisher
from audit.linalg.stored import LinearOperator
from audit.nodes.excess import log_ratio


class Pareto(Exponential):
    """Pareto coordinates, by `alpha`, or by `scale` and `alpha`.

    Density: α m^α / θ^(α+1) for θ ≥ m, α = `alpha`, m = `scale`.

    Fisher information: 1/α²; none where `scale` is a parameter: it moves the support.
    """

    parameterizations = (("alpha",), ("scale", "alpha"))
    positive = ("scale", "alpha")
    enclosed_as: ClassVar[Mapping[str, str]] = {}
    options = ("scale",)
    optional = ("scale",)
    mixes = False

    def __init__(self, shapes: Shapes, **options: object) -> None:
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

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return [[r^−½, −r^−³ᐟ² m/α²], [0, r^−³ᐟ² m/α²]], r = 1 − 2a; ∞ for α ≤ 2."""
        scale, alpha = self.scale_of(parameters), parameters[-1]
        size = (1 - 2 / alpha).clamp_min(0).rsqrt()
        last = size**3
        unit = scale / alpha / alpha
        if not self.moves:
            block = (math.sqrt(2) * last * unit)[..., None, None]
            return self.unless_infinite(parameters, block)
        block = rows((size, -last * unit), (torch.zeros_like(size), last * unit))
        return self.unless_infinite(parameters, block)

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
        """Return E(m₁ e^{aR} − m₂ e^{bR})² as a sum of squares.

        With g = m₁ (a − b)/(1 − a − b) it is (m₂ − m₁ − g)²/(1 − 2b) + g²/(1 − 2a).
        """
        scale, other_scale = self.scale_of(left), self.scale_of(right)
        shape, other = left[-1], right[-1]
        a, b = 1 / shape, 1 / other
        step = other_scale - scale
        drawn = scale * ((other - shape) / shape / other) / (1 - a - b)
        return (step - drawn).square() / (1 - 2 * b) + drawn.square() / (1 - 2 * a)

    def _log_ratio(self, left: Parameters, right: Parameters) -> Tensor:
        return log_ratio(self.scale_of(right), self.scale_of(left))
