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

from audit.families.roots import rows
from audit.families.torch_laws import OfTorch
from audit.families.univariate import Parameters, Univariate
from audit.ground.errors import NoFisher
from audit.nodes.excess import log_ratio
from audit.nodes.special import times


class Uniform(OfTorch, Univariate):
    """Uniform coordinates; `low` and `high` in units of θ.

    Density: 1 / (high − low) for low ≤ θ ≤ high.

    Fisher information: none: both ends move the support.
    """

    torch_law = td.Uniform
    parameterizations = (("low", "high"),)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: not finite, or high is not above low."""
        low, high = self.split(phi)
        return super().violations(phi) | {
            "high is not above low": (high <= low).any(-1)
        }

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Refuse: the support moves."""
        raise NoFisher(
            "The family uniform has no Fisher information: low and high move the "
            "support",
            "KL between two uniform laws is infinite as soon as one leaves the other",
            "Audit it with -d quantile",
        )

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root [[1/√3, 1/√12], [0, ½]] of [[1/3, 1/6], [1/6, 1/3]]."""
        third = torch.full_like(parameters[0], 1 / math.sqrt(3))
        none, half = torch.zeros_like(third), torch.full_like(third, 0.5)
        return rows((third, third / 2), (none, half))

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the log ratio of the widths; infinite if the left law sticks out."""
        outside = (left[0] < right[0]) | (left[1] > right[1])
        return torch.where(outside, torch.inf, _log_widths(left, right))

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return ln(w₁^−α w₂^{α−1} overlap) / (α−1)."""
        outside = (left[0] < right[0]) | (left[1] > right[1])
        if alpha > 1:
            return torch.where(outside, torch.inf, _log_widths(left, right))
        shared = (
            torch.maximum(left[0], right[0]),
            torch.maximum(torch.minimum(left[1], right[1]), right[0]),
        )
        lost = [_log_widths(shared, each) for each in (left, right)]
        value = (alpha * lost[0] + (1 - alpha) * lost[1]) / (1 - alpha)
        return torch.where(_overlap(left, right) > 0, value, torch.inf)

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
            gain = log_ratio(own / 2 + foreign / 2, foreign, (foreign - own) / 2)
            total = total + ((1 - inside) * math.log(2) + times(inside, gain)) / 2
        return total.squeeze(-1)

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return (Δlow² + Δlow Δhigh + Δhigh²) / 3, summed [N].

        It is the squared step of the centre and a twelfth of that of the width.
        """
        low, high = self.split(other - phi)
        squares = (low / 2 + high / 2).square() + (high - low).square() / 12
        return squares.sum(-1)


def _log_widths(at: Parameters, to: Parameters) -> Tensor:
    """Return the log ratio of the widths [...], ≥ 0 where `at` lies within `to`."""
    step = (to[1] - at[1]) + (at[0] - to[0])
    return log_ratio(_width(at), _width(to), step)


def _width(parameters: Parameters) -> Tensor:
    low, high = parameters
    return high - low


def _overlap(left: Parameters, right: Parameters) -> Tensor:
    low = torch.maximum(left[0], right[0])
    return (torch.minimum(left[1], right[1]) - low).clamp_min(0)
