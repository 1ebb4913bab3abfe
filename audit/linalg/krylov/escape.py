"""Whether a larger eigenvalue can have escaped a search from a random vector.

Lanczos steps from w = g / |g|, g normal, make polynomials p_0 = 1, p_1, … that are
orthonormal in the spectral measure of w, Σ_q ⟨w, q⟩² δ(x − λ_q):

    β_i p_i(x) = (x − α_i) p_{i−1}(x) − β_{i−1} p_{i−2}(x),
    α_i = w_iᵀ K w_i,   β_i = what is left of K w_i.

The mass at an eigenvalue μ is at most 1 / Σ_{i ≤ j} p_i(μ)² (Christoffel's function).
Above all Ritz values, where every p_i is positive, that falls as μ rises. So each
eigenvector q with an eigenvalue of x or more, which no Ritz value shows, has
⟨w, q⟩² ≤ t = 1 / Σ p_i(x)²: this is no estimate. In s dimensions the share of a random
direction is Beta(1/2, (s − 1)/2), so g had so little of q with a probability of at most
√(2 s t / π), whatever the rest of the spectrum is.

**Beside a space.** Not K is searched but B = P K P, beside a space of Ritz pairs θ_j.
Those that have settled are eigenpairs of K, and the others couple with B by what they
leave, r_j. An eigenvector (a, b) of K beside the settled ones, with ν ≥ x > θ_j, has

    a_j = r_jᵀ b / (ν − θ_j),     (B + Σ_j r_j r_jᵀ / (ν − θ_j)) b = ν b,

so that B has an eigenvalue of ν − Σ |r_j|² / (ν − θ_j) or more, which rises with ν: of
x less the `lift` at x. This is what B is searched for.

References:
    Golub & Meurant, Matrices, Moments and Quadrature (2010), sections 2.2 and 6.2.
    Kuczyński & Woźniakowski, Estimating the largest eigenvalue by the power and Lanczos
    algorithms with a random start, SIAM J. Matrix Anal. Appl. 13 (1992), for bounds
    that do not look at the spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def lift(x: Tensor, values: Tensor, residuals: Tensor) -> Tensor:
    """Return Σ |r_j|² / (x − θ_j) [N]; infinite where a θ_j with an r_j is above x.

    Args:
        x: [N].
        values: θ [N, M], the largest first.
        residuals: |r_j| / θ_1 [N, M], zero of pairs that have settled.
    """
    size = values[:, :1] * residuals
    gap = x.unsqueeze(1) - values
    each = torch.where(gap > 0, size.square() / gap.clamp_min(0), torch.inf)
    return torch.where(size > 0, each, 0.0).sum(dim=1)


@dataclass(frozen=True)
class Escape:
    """What a search from a random vector says of eigenvalues it did not show.

    Shapes, each [N]: x; dimension, s; p_{i−1} and p_i, the newest two; beside, β_i;
        total, Σ p_i²; above, whether every p_i was positive.
    """

    x: Tensor
    dimension: Tensor
    before: Tensor
    last: Tensor
    beside: Tensor
    total: Tensor
    above: Tensor

    @classmethod
    def of(cls, x: Tensor, dimension: Tensor) -> Escape:
        """Return what is known before the first step: nothing.

        Args:
            x: the eigenvalues that are looked for are as large or larger [N].
            dimension: of the space in which the vector is random [N].
        """
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        return cls(x, dimension, zero, one, zero, one, x > 0)

    def stepped(self, along: Tensor, beside: Tensor, going: Tensor) -> Escape:
        """Return what is known after a step.

        Args:
            along: α of the step [N].
            beside: its β [N].
            going: where one was made [N].
        """
        raised = (self.x - along) * self.last - self.beside * self.before
        p = raised / beside  # infinite where nothing is beside; NaN is not above
        above = self.above & (raised > 0)

        def kept(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(going, new, old)

        return Escape(
            self.x,
            self.dimension,
            kept(self.last, self.before),
            kept(p, self.last),
            kept(beside, self.beside),
            kept(self.total + p.square(), self.total),
            kept(above, self.above),
        )

    @property
    def chance(self) -> Tensor:
        """The probability, at most, that one of them was missed [N]."""
        bound = (2 / math.pi * self.dimension / self.total).sqrt().clamp_max(1)
        return torch.where(self.above, bound, 1.0)
