"""An upper bound on KL between gamma laws over an enclosure, both parameters moving.

With s = α' − α and t = ln β' − ln β, and ψ(t) = eᵗ − 1 − t,

    KL = [ln Γ(α + s) − ln Γ(α) − s ψ₀(α)] − s t + α ψ(t).

The bracket is the excess of a convex function: ½ s² ψ₁ at a point between, and ψ₁, the
trigamma function, falls. So it is at most ½ c s² with c = ψ₁(α + s₀) for s ≥ s₀.

**Corners.** For each t KL is convex in s, and for each s in t: over a box the largest
value is at a corner, where c is that of the corner's own s, ψ₁(α + min(s, 0)).

**Quadratic.** ψ(t) ≤ ½ κ t² (`enclosures`), κ ≥ 1 at the largest t, so

    KL ≤ ½ [c s² − 2 s t + α κ t²] = ½ [c (s − t/c)² + (α κ − 1/c) t²],

and the last factor is positive: c ≥ ψ₁(α) > 1/α. An inverse gamma's 1/θ is gamma with
the same parameters, and KL is of θ as of 1/θ.

Source of ψ₁(α) > 1/α: Σ_k 1/(α + k)² > ∫ dx/(α + x)².
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.enclosures import Enclosure, growth, proven, quadratic, units
from audit.nodes.excess import exp_excess


def of_gammas(enclosure: Enclosure) -> Tensor:
    """Return a bound [B] for gamma laws, η = (α, ln β)."""
    alpha, _ = enclosure.centre.chunk(2, dim=-1)
    found = enclosure.expand(units(enclosure))
    (s_low, t_low), (s_high, t_high) = (
        end.chunk(2, dim=-1) for end in (found.bottom, found.top)
    )
    corners = [_kl(alpha, s, t) for s in (s_low, s_high) for t in (t_low, t_high)]
    ends = torch.stack(corners).amax(0).sum(-1)
    c = _trigamma(alpha + s_low)
    inner, outer = c, alpha * growth(t_high) - 1 / c
    eye = units(enclosure)[0]
    shape, rate = eye.chunk(2, dim=0)
    weights = torch.cat(
        [shape - rate / c.unsqueeze(-1), rate.expand(len(c), -1, -1)], dim=1
    )
    second = enclosure.expand(weights)
    costs = torch.cat([inner, outer.clamp_min(0)], dim=-1)
    return proven(ends, quadratic(enclosure, second, costs))


def _kl(alpha: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """Return an upper bound on KL at (s, t)."""
    shape = _trigamma(alpha + s.clamp_max(0)) * s.square() / 2
    return shape - s * t + alpha * exp_excess(t)


def _trigamma(v: Tensor) -> Tensor:
    """Return ψ₁; ∞ for what is no shape."""
    found: Tensor = torch.polygamma(1, v.clamp_min(1e-300))
    return torch.where(v > 0, found, torch.inf)
