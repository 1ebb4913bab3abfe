"""Laws on the unit interval.

Beta(a, b) is an exponential family in (a, b) with A = ln Γ(a) + ln Γ(b) − ln Γ(a+b):
F = ∇²A = diag(ψ'(a), ψ'(b)) − ψ'(a+b) 1 1ᵀ. The transport tensor is a quadrature in
y = logit θ, where the density σ(y)^a σ(−y)^b / B(a, b) falls off exponentially.

Source: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions 2 (1995),
chapter 25.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import logsigmoid

from audit.families.continuous import Continuous
from audit.families.dirichlet import dirichlet_kl, dirichlet_renyi
from audit.families.roots import semidefinite_root, symmetric
from audit.families.torch_laws import OfTorch
from audit.families.univariate import Parameters
from audit.nodes.lines import UNIT
from audit.nodes.special import log_trigamma


class Beta(OfTorch, Continuous):
    """Beta coordinates, θ and 1 − θ to the powers of the two concentrations.

    Density: θ^(a−1) (1 − θ)^(b−1) Γ(a+b) / (Γ(a) Γ(b)), a = `concentration1`, b =
    `concentration0`.

    Fisher information: diag(ψ'(a), ψ'(b)) − ψ'(a+b) 1 1ᵀ.
    """

    torch_law = td.Beta
    parameterizations = (("concentration1", "concentration0"),)
    positive = ("concentration1", "concentration0")
    chart = UNIT

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

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of diag(ψ'(a), ψ'(b)) − ψ'(a+b) 1 1ᵀ."""
        a, b = parameters
        whole = log_trigamma(a + b)
        left, right = a / (a + b), b / (a + b)
        about_logs = symmetric(
            {
                (0, 0): log_trigamma(a) - left.square() * whole,
                (0, 1): -left * right * whole,
                (1, 1): log_trigamma(b) - right.square() * whole,
            }
        )
        return semidefinite_root(about_logs) / torch.stack(parameters, -1).unsqueeze(-2)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the Dirichlet law's on two classes."""
        return dirichlet_kl(torch.stack(left, dim=-1), torch.stack(right, dim=-1))

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return [A(αη₁ + (1−α)η₂) − αA(η₁) − (1−α)A(η₂)] / (α−1)."""
        return dirichlet_renyi(
            torch.stack(left, dim=-1), torch.stack(right, dim=-1), alpha
        )


def _partition(parameters: Parameters) -> Tensor:
    a, b = parameters
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
