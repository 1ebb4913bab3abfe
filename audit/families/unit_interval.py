"""Laws on the unit interval.

Beta(a, b) is an exponential family in (a, b) with A = ln Γ(a) + ln Γ(b) − ln Γ(a+b):
F = ∇²A = diag(ψ'(a), ψ'(b)) − ψ'(a+b) 1 1ᵀ. The transport tensor is a quadrature in
y = logit θ, where the density is aσ(y)-like on the left and bσ(−y)-like on the right.

Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 2 (1995),
chapter 25.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import logsigmoid

from audit.families.continuous import Continuous
from audit.families.lines import UNIT
from audit.families.roots import symmetric
from audit.families.special import lgamma_excess, trigamma
from audit.families.univariate import Parameters


class Beta(Continuous):
    """Beta coordinates, θ and 1 − θ to the powers of the two concentrations."""

    parameterizations = (("concentration1", "concentration0"),)
    positive = ("concentration1", "concentration0")
    chart = UNIT

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the beta law."""
        a, b = parameters
        return td.Beta(a, b, validate_args=False)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return ln(a/b), the mode of the logit, and its curvature's width."""
        a, b = parameters
        return (a / b).log(), (1 / a + 1 / b).sqrt().clamp_max(1)

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return a ln θ + b ln(1−θ) − ln B(a, b), the density of the logit."""
        a, b = rows.unbind(-1)
        return a * logsigmoid(y) + b * logsigmoid(-y) - _partition((a, b))

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ln θ − ψ(a) + ψ(a+b) and ln(1−θ) − ψ(b) + ψ(a+b)."""
        both = torch.stack([logsigmoid(y), logsigmoid(-y)], dim=-1)
        mean = torch.digamma(rows) - torch.digamma(rows.sum(-1, keepdim=True))
        return both - mean.unsqueeze(1)

    def fisher(self, parameters: Parameters) -> Tensor:
        """Return diag(ψ'(a), ψ'(b)) − ψ'(a+b) 1 1ᵀ."""
        a, b = parameters
        whole = trigamma(a + b)
        return symmetric(
            {(0, 0): trigamma(a) - whole, (0, 1): -whole, (1, 1): trigamma(b) - whole}
        )

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the Bregman divergence of A."""
        (a, b), steps = left, [y - x for x, y in zip(left, right, strict=True)]
        parts = lgamma_excess(a, steps[0]) + lgamma_excess(b, steps[1])
        return parts - lgamma_excess(a + b, steps[0] + steps[1])

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [A(αη₁ + (1−α)η₂) − αA(η₁) − (1−α)A(η₂)] / (α−1)."""
        pairs = zip(left, right, strict=True)
        a, b = (alpha * x + (1 - alpha) * y for x, y in pairs)
        gap = _partition((a, b)) - alpha * _partition(left)
        gap = gap - (1 - alpha) * _partition(right)
        return torch.where((a > 0) & (b > 0), gap / (alpha - 1), torch.inf)


def _partition(parameters: Parameters) -> Tensor:
    a, b = parameters
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
