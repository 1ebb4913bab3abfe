"""Laws on the simplex.

Dirichlet: F = diag ψ'(α) − ψ'(α₀) 1 1ᵀ, A = Σ ln Γ(α_k) − ln Γ(α₀). With Binet's rest μ
of ln Γ (`excess`), p = α/α₀ and E for an excess, its divergence is a sum that does not
cancel when α is large: KL(α ‖ α') = α₀' KL_classes(p' ‖ p) + Σ E μ(α_k) − E μ(α₀).

Source: Amari, Information Geometry and Its Applications (2016), section 2.3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.integrands import RELATIVE_ENTROPY
from audit.families.normals import renyi_by_kl
from audit.families.parameters import check_finite
from audit.families.roots import semidefinite_root
from audit.families.simplex import Classes
from audit.ground.errors import NoTransport
from audit.linalg.stored import LinearOperator, Matrix
from audit.nodes.excess import binet_excess, log_ratio
from audit.nodes.special import log_trigamma


class Dirichlet(Classes):
    """Vectors on the simplex, by `concentration` [K].

    Density: Γ(Σα) Π_k θ_k^(α_k − 1) / Γ(α_k), α = `concentration`.

    Fisher information: diag ψ'(α) − ψ'(Σα) 1 1ᵀ.
    """

    parameterizations = (("concentration",),)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(K,)."""
        return (self.size,)

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return q_φ: batch shape [N], event shape [K]."""
        return td.Dirichlet(phi, validate_args=False)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: not finite, or not positive."""
        negative = (phi <= 0).any(-1)
        return check_finite(phi) | {"concentration is not positive": negative}

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Return the root of diag ψ'(α) − ψ'(α₀) 1 1ᵀ, [N, K, K]."""
        whole = phi.sum(-1, keepdim=True)
        share = phi / whole
        outer = share.unsqueeze(-1) * share.unsqueeze(-2)
        unit = torch.diag_embed(log_trigamma(phi))
        unit = unit - outer * log_trigamma(whole).unsqueeze(-1)  # about ln α
        return Matrix(semidefinite_root(unit) / phi.unsqueeze(-2))

    def kl(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return A(α₂) − A(α₁) − ∇A(α₁) · (α₂ − α₁) [N]."""
        return dirichlet_kl(phi, other)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor:
        """Return [A(αα₁ + (1−α)α₂) − αA(α₁) − (1−α)A(α₂)] / (α−1) [N]."""
        return dirichlet_renyi(phi, other, alpha)

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: which map from noise to the simplex is a choice nobody made."""
        raise NoTransport(
            "The family dirichlet has no transport tensor of its own",
            "On the simplex the map from noise to draws is not unique",
            "Audit it with -d kl",
        )


def dirichlet_kl(at: Tensor, to: Tensor) -> Tensor:
    """Return KL [...] between Dirichlet laws of concentrations [..., K]."""
    step, before, after = to - at, at.sum(-1), to.sum(-1)
    total = before, after, step.sum(-1)
    growth = log_ratio(at, to, step) - log_ratio(*total).unsqueeze(-1)
    log_p = at.log() - before.log().unsqueeze(-1)
    log_q = to.log() - after.log().unsqueeze(-1)
    shares = RELATIVE_ENTROPY(log_q, log_p, torch.ones_like(log_p), -growth)
    rest = binet_excess(at, to, step).sum(-1) - binet_excess(*total)
    return (after * shares + rest).clamp_min(0)  # what is below zero is rounding


def dirichlet_renyi(left: Tensor, right: Tensor, alpha: float) -> Tensor:
    """Return the Rényi divergence [...] between them; infinite outside the family."""
    mixed = alpha * left + (1 - alpha) * right
    inside = (mixed > 0).all(-1)
    mixed = torch.where(inside.unsqueeze(-1), mixed, left)
    to_left, to_right = (dirichlet_kl(mixed, one) for one in (left, right))
    return torch.where(inside, renyi_by_kl(to_left, to_right, alpha), torch.inf)
