"""The uniform law on an interval [low, high].

Both ends move the support: there is no Fisher information, and the Kullback-Leibler
divergence jumps to infinity with the smallest step outwards. The map
T = low + (high − low) u is linear, so G = [[1/3, 1/6], [1/6, 1/3]] exactly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributions as td

from audit.errors import NoFisher
from audit.families.roots import symmetric
from audit.families.univariate import Parameters, Univariate


class Uniform(Univariate):
    """Uniform coordinates; `low` and `high` in units of θ."""

    parameterizations = (("low", "high"),)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the uniform law."""
        low, high = parameters
        return td.Uniform(low, high, validate_args=False)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: not finite, or high is not above low."""
        low, high = self.split(phi)
        return super().violations(phi) | {
            "high is not above low": (high <= low).any(-1)
        }

    def fisher(self, parameters: Parameters) -> Tensor:
        """Refuse: the support moves."""
        raise NoFisher(
            "The family uniform has no Fisher information: low and high move the "
            "support",
            "KL between two uniform laws is infinite as soon as one leaves the other",
            "Audit it with -d quantile",
        )

    def transport(self, parameters: Parameters) -> Tensor:
        """Return [[1/3, 1/6], [1/6, 1/3]]."""
        third = torch.full_like(parameters[0], 1 / 3)
        return symmetric({(0, 0): third, (0, 1): third / 2, (1, 1): third})

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the log ratio of the widths; infinite if the left law sticks out."""
        outside = (left[0] < right[0]) | (left[1] > right[1])
        value = _width(right).log() - _width(left).log()
        return torch.where(outside, torch.inf, value)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return ln(w₁^−α w₂^{α−1} overlap) / (α−1)."""
        outside = (left[0] < right[0]) | (left[1] > right[1])
        log_sum = _overlap(left, right).log() - alpha * _width(left).log()
        log_sum = log_sum - (1 - alpha) * _width(right).log()
        infinite = outside if alpha > 1 else torch.zeros_like(outside)
        return torch.where(infinite, torch.inf, log_sum / (alpha - 1))

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the Jensen-Shannon divergence [N] for one coordinate, else None."""
        if self.coordinates != 1:
            return None
        left, right = self.split(phi), self.split(other)
        shared, total = _overlap(left, right), torch.zeros_like(left[0])
        for own, foreign in (
            (_width(left), _width(right)),
            (_width(right), _width(left)),
        ):
            inside = shared / own
            loss = inside * (2 * foreign / (own + foreign)).log()
            total = total + ((1 - inside) * math.log(2) + loss) / 2
        return total.squeeze(-1)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return (Δlow² + Δlow Δhigh + Δhigh²) / 3, summed [N]."""
        low, high = self.split(other - phi)
        return (low.square() + low * high + high.square()).sum(-1) / 3


def _width(parameters: Parameters) -> Tensor:
    low, high = parameters
    return high - low


def _overlap(left: Parameters, right: Parameters) -> Tensor:
    low = torch.maximum(left[0], right[0])
    return (torch.minimum(left[1], right[1]) - low).clamp_min(0)
