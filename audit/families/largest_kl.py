"""Upper bounds on KL(q_η ‖ q_η') for all η' of an enclosure, law by law.

With ψ(t) = eᵗ − 1 − t (convex, ≥ 0, 0 at 0) and κ of `enclosures`:

    law                coordinates            KL
    normal             a = Δ/σ, ρ = Δ log σ   ½ ψ(−2ρ) + ½ e^{−2ρ} a²
    laplace            a = Δ/b, ρ = Δ log b   ψ(−ρ) + e^{−ρ} ψ(−|a|)
    rate λ: poisson    d = Δ log λ            λ ψ(d)
    exponential        d = Δ log λ            ψ(d)
    half-normal        ρ = Δ log σ            ½ ψ(−2ρ)
    bernoulli          d = Δ logit            log(1 + p (eᵈ − 1)) − p d
    classes            D_j = Δz_j − p·Δz      log Σ p_j e^{D_j}

**Two coordinates.** Either KL is convex in a for a given ρ, and in ρ for a given a:
e^{−2ρ} and e^{−ρ} have positive factors. Jointly: the Hessian of the normal's has the
determinant e^{−4ρ}(2 − 2a²), so for |a| ≤ 1; Laplace's e^{−2ρ}[(|a|+2)e^{−|a|} − 1], so
for |a| ≤ 1.146. `planar` bounds it over a polygon. In the quadratic bound, by
ψ(t) = ½ t² κ(t) and κ rising, with ρ ≥ ρ₀ and ψ(−|a|) ≤ ½ a²:

    normal     KL ≤ ½ [e^{−2ρ₀} a² + 2 κ(−2ρ₀) ρ²]
    laplace    KL ≤ ½ [e^{−ρ₀} a² + κ(−ρ₀) ρ²]

**One coordinate.** KL is convex in d with its minimum at 0: over an interval it is
largest at an end. ψ(d) ≤ ½ κ(d₁) d² for d ≤ d₁; the Bernoulli's second derivative is
p'(1−p'), the largest at the logit nearest to 0, and so KL ≤ ½ max p'(1−p') d².

**Classes.** KL = log Σ p_j e^{D_j} and Σ p_j D_j = 0, D_j ∈ [l_j, u_j]. For every ν

    Σ p_j e^{D_j} = Σ p_j (e^{D_j} − ν D_j)
                  ≤ Σ p_j max(e^{u_j} − ν u_j, e^{l_j} − ν l_j)

since a convex function is largest at an end; any ν proves it, the best one is known.
And Σ p_j e^{D_j} = 1 + Σ p_j ψ(D_j) ≤ 1 + ½ Σ p_j κ(u_j) D_j².

**Coordinates.** KL of a product is the sum, so the sum of the coordinates' maxima is a
bound; the quadratic bound takes all at the same perturbation. The smaller one counts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from audit.families import planar
from audit.families.enclosures import (
    Enclosure,
    Expansion,
    growth,
    proven,
    quadratic,
    units,
)
from audit.nodes.excess import exp_excess

_DIRECTIONS, _FEW = 48, 4  # of a polygon, and coordinates up to which there is one


class _Plane(NamedTuple):
    """The unit of ρ in the plane, and |a| up to which KL is jointly convex."""

    unit: float
    joint: float


def normal_kl(shift: Tensor, stretch: Tensor) -> Tensor:
    """Return ½ ψ(−2ρ) + ½ e^{−2ρ} a² [...]."""
    return (exp_excess(-2 * stretch) + (-2 * stretch).exp() * shift.square()) / 2


def laplace_kl(shift: Tensor, stretch: Tensor) -> Tensor:
    """Return ψ(−ρ) + e^{−ρ} ψ(−|a|) [...]."""
    return exp_excess(-stretch) + (-stretch).exp() * exp_excess(-shift.abs())


def of_normals(enclosure: Enclosure) -> Tensor:
    """Return a bound [B] for independent normals, η = (μ, log σ)."""

    def function(a: Tensor, b: Tensor) -> Tensor:
        return normal_kl(a, b / 2**0.5)  # b = √2 ρ, where KL is round at 0

    found = _standardised(enclosure, 2**0.5)
    fall = -(2**0.5) * _second(found.bottom)  # −2ρ at most
    costs = torch.cat([fall.exp(), growth(fall)], dim=-1)
    planes = _planes(enclosure, found, function, _Plane(2**0.5, 1.0))
    return proven(quadratic(enclosure, found, costs), planes)


def of_laplaces(enclosure: Enclosure) -> Tensor:
    """Return a bound [B] for independent Laplace laws, η = (μ, log b)."""
    found = _standardised(enclosure, 1.0)
    fall = -_second(found.bottom)
    costs = torch.cat([fall.exp(), growth(fall)], dim=-1)
    planes = _planes(enclosure, found, laplace_kl, _Plane(1.0, 1.146))
    return proven(quadratic(enclosure, found, costs), planes)


def of_rates(enclosure: Enclosure, weight: Tensor, power: float = 1.0) -> Tensor:
    """Return a bound [B] on Σ w ψ(d), η = log λ^(1/power), w [B, n]."""
    found = enclosure.expand(power * units(enclosure))
    ends = torch.maximum(exp_excess(found.top), exp_excess(found.bottom))
    costs = weight * growth(found.top)
    return proven((weight * ends).sum(-1), quadratic(enclosure, found, costs))


def of_trials(enclosure: Enclosure, trials: float) -> Tensor:
    """Return a bound [B] for independent Bernoulli or binomial laws, η = logit p."""
    found, logit = enclosure.expand(units(enclosure)), enclosure.centre
    ends = torch.maximum(_trial(logit, found.top), _trial(logit, found.bottom))
    low, high = logit + found.bottom, logit + found.top
    nearest = torch.maximum(low, torch.minimum(high, torch.zeros_like(low)))
    costs = trials * torch.sigmoid(nearest) * torch.sigmoid(-nearest)
    return proven(trials * ends.sum(-1), quadratic(enclosure, found, costs))


def of_classes(enclosure: Enclosure) -> Tensor:
    """Return a bound [B] for a law on classes, η = logits up to a common number."""
    p = torch.softmax(enclosure.centre, dim=-1)
    found = enclosure.expand(_less_mean(p))
    costs = p * growth(found.top)
    squares = torch.log1p(quadratic(enclosure, found, costs))
    return proven(squares, _by_ends(p, found))


def _less_mean(p: Tensor) -> Tensor:
    """Return e_j − p [B, K, K], with 1 − p_j as the sum of the others: it has digits.

    Else p_j ≈ 1 would lose them, and Σ p_j D_j = 0, on which the bound stands.
    """
    eye = torch.eye(p.shape[-1], dtype=p.dtype, device=p.device)
    return torch.diag_embed(p @ (1 - eye)) - p.unsqueeze(1) * (1 - eye)


def _trial(logit: Tensor, d: Tensor) -> Tensor:
    """Return log(1 + p (eᵈ − 1)) − p d [...] ≥ 0, raised over its cancellation.

    For d > 0 the same by failures, log(1 + (1−p)(e^{−d} − 1)) + (1−p) d: nothing
    overflows.
    """
    share = torch.where(d > 0, torch.sigmoid(-logit), torch.sigmoid(logit))
    size = d.abs()
    log = torch.log1p(share * torch.expm1(-size))
    value = log + share * size
    slack = 2.0**-50 * (log.abs() + share * size)
    return torch.where(d == 0, 0.0, value + slack)


def _by_ends(p: Tensor, found: Expansion) -> Tensor:
    """Return the bound of classes by the ends of each D_j, and the best ν [B].

    The sum is convex in ν and of straight pieces, with a knot for each j, where both
    ends are as high: it is least at the knot where its slope passes 0.
    """
    top, bottom = found.top, found.bottom
    rise, fall, width = torch.expm1(top), torch.expm1(bottom), top - bottom

    def value(v: Tensor) -> Tensor:
        return (p * torch.maximum(rise - v * top, fall - v * bottom)).sum(-1)

    knots, order = torch.where(width > 0, (rise - fall) / width, rise + 1).sort(-1)
    above, below = ((p * end).gather(-1, order).cumsum(-1) for end in (top, bottom))
    falling = above - above[..., -1:] - below < 0  # beyond each knot
    place = falling.sum(-1, keepdim=True).clamp_max(knots.shape[-1] - 1)
    best = knots.gather(-1, place)
    return torch.log1p(torch.minimum(value(best), value(torch.ones_like(best))))


def _second(values: Tensor) -> Tensor:
    return values[..., values.shape[-1] // 2 :]


def _frame(enclosure: Enclosure, unit: float) -> Tensor:
    """Return the functionals a = Δμ/σ and b = `unit` Δ log σ [B, 2n, 2n]."""
    scale = (-_second(enclosure.centre)).exp()
    whole = torch.cat([scale, torch.full_like(scale, unit)], dim=-1)
    return torch.diag_embed(whole)


def _standardised(enclosure: Enclosure, unit: float) -> Expansion:
    return enclosure.expand(_frame(enclosure, unit))


def _planes(
    enclosure: Enclosure, found: Expansion, function: planar.Function, plane: _Plane
) -> Tensor:
    """Return the sum over coordinates of the largest value over a polygon each [B]."""
    count = found.top.shape[-1] // 2
    if count > _FEW:
        a = torch.maximum(found.top, -found.bottom)[..., :count]
        ends = (_second(found.top), _second(found.bottom))  # in the plane's unit
        return torch.maximum(*(function(a, end) for end in ends)).sum(-1)
    frame = _frame(enclosure, plane.unit)
    w = planar.directions(_DIRECTIONS, frame)
    across, along = frame[:, None, :count], frame[:, None, count:]
    weights = w[:, :1, None] * across + w[:, 1:, None] * along  # [B, K, n, q]
    heights = enclosure.above(weights.flatten(1, 2))
    heights = heights.reshape(-1, _DIRECTIONS, count).mT
    return planar.largest(function, heights, plane.joint).sum(-1)


def of_means(enclosure: Enclosure, scale_tril: Tensor) -> Tensor:
    """Return a bound [B] for N(μ, L Lᵀ) with L [B, n, n] that does not move.

    KL = ½ ‖L⁻¹ Δμ‖². A computed L⁻¹ = W is off by at most ‖I − W L‖ relative, in any
    norm below one: ‖L⁻¹ v‖ ≤ ‖W v‖ / (1 − ‖I − W L‖_F).
    """
    n = scale_tril.shape[-1]
    eye = torch.eye(n, dtype=scale_tril.dtype, device=scale_tril.device)
    inverse = torch.linalg.solve_triangular(
        scale_tril, eye.expand_as(scale_tril), upper=False
    )
    off = (eye - inverse @ scale_tril).norm(dim=(1, 2))
    off = off + n * n * 2.0**-52 * inverse.norm(dim=(1, 2)) * scale_tril.norm(
        dim=(1, 2)
    )
    rest = enclosure.centre.shape[-1] - n
    weights = torch.cat([inverse, inverse.new_zeros(len(inverse), n, rest)], dim=-1)
    found = enclosure.expand(weights)
    value = quadratic(enclosure, found, torch.ones_like(found.top))
    factor = torch.where(off < 1, (1 - off).reciprocal().square(), torch.inf)
    return proven(value * factor)
