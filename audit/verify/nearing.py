"""Radii lowered by one climb, on a sphere that shrinks with what the climb finds.

On the ray along z, ‖z‖ = 1, D reaches τ at r*(z), and the least r* is what is looked
for. At u = r z, with the gradient g of D there,

    log r*(z) ≈ log r + log(τ/D) / e,    e = ∂ log D / ∂ log r = gᵀu / D
    −∂ log r*(z) / ∂z = r g / (gᵀu)      along the sphere

the first by Newton's step, the second since D(r* z) = τ for all z. So a climb of
1 / r*(z) needs no more than D and its gradient at one radius, near r*. All candidates
of an input are looked at where the best of them is expected to reach τ, and the radius
follows: searches at several fixed radii, one after the other, are not needed. Where D
is a form, e = 2, and steps are those of an ascent of D at a fixed radius. Newton's step
is not followed further than that of a form, so that no candidate is thought to be
nearer than it may be.

What is returned are directions. Where τ is crossed on them, exact values say.

Reference:
    Pintor et al., Fast minimum-norm adversarial attacks through adaptive norm
    constraints (2021), for a radius that follows the climb.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.verify.candidates import twins
from audit.verify.climbing import climb
from audit.verify.exact import Exact
from audit.verify.feasible import Feasible
from audit.verify.rough import rough
from audit.verify.slopes import Pulled, Slope, slope_of

_STEPS, _KEPT = 12, 2  # of a climb; candidates of an input that climb
_FLATTEST = 1.0  # e: D that rises slower is not followed down as far
_LOWER, _HIGHER = -0.35, 0.7  # of log r in one step
_BEHIND = 1.01  # times the radius that a climb expects: there D is above τ
_TINY = 1e-300


@dataclass
class _Nearness:
    """r₀ / r*(z) and its gradient by z, at radii that follow the best of each input.

    Args:
        slope: D and its gradient.
        tau: τ.
        first: r₀ [N], by the site's rows.
        radius: where D is looked at next [N]; changed by every call.
    """

    slope: Slope
    tau: float
    first: Tensor
    radius: Tensor

    def __call__(self, rows: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return r₀ / r* [C] and its gradient [C, m], for directions z [C, m]."""
        r = self.radius[rows]
        value, gradient = self.slope(rows, z * r.unsqueeze(1))
        inwards = (gradient * z).sum(dim=1)
        outward = torch.maximum(r * inwards, _FLATTEST * value).clamp_min(_TINY)
        rise = outward / value
        rise = torch.where(value < self.tau, rise.clamp_max(2), rise.clamp_min(2))
        shift = (self.tau / value).log() / rise
        shift = torch.where(value.isposinf(), _LOWER, shift.clamp(_LOWER, _HIGHER))
        nearest = r * shift.exp()
        self._follow(rows, nearest)
        nearness = self.first[rows] / nearest
        tangent = gradient - inwards.unsqueeze(1) * z
        slope = z + (r / outward).unsqueeze(1) * tangent
        return nearness, nearness.unsqueeze(1) * slope

    def _follow(self, rows: Tensor, nearest: Tensor) -> None:
        """Look next where the best candidate of each input [C] reaches τ [C]."""
        nearest = nearest.nan_to_num(nan=torch.inf)
        found = self.radius.scatter_reduce(0, rows, nearest, "amin", include_self=False)
        self.radius = torch.where(found.isfinite(), found, self.radius)


def neared(
    exact: Exact, rows: Tensor, along: Tensor, radius: Tensor, tau: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return rays on which τ is reached nearer, their inputs and about where [R].

    Args:
        exact: the divergence, as it is climbed on.
        rows: of the site's inputs [k].
        along: directions to start along [k, K, m]; zeros are none.
        radius: at which τ is reached on one of them [k], positive and finite.
        tau: what has to be reached.

    Returns:
        The rows [R], directions of norm one [R, m] and radii a little behind where τ
        is expected [R]; None where nothing says which way is up.
    """
    k, count, m = along.shape
    length = along.norm(dim=2, keepdim=True)
    along = torch.where(length > 0, along / length.clamp_min(_TINY), along[:, :1])
    wide = rows.repeat_interleave(count)
    u = (along * radius[:, None, None]).reshape(-1, m)
    spread = torch.arange(0, len(u), max(1, len(u) // 64), device=u.device)
    slope = slope_of(exact, wide[spread], u[spread])
    if slope is None:
        return None
    if isinstance(slope, Pulled) and slope.by_autograd:
        slope = rough(exact) or slope
    first = radius.new_ones(len(exact.site.x)).index_copy(0, rows, radius)
    near = _Nearness(slope, tau, first, first.clone())
    value, _ = near(wide, along.reshape(-1, m))
    value = value.reshape(k, count).nan_to_num(nan=-math.inf)
    at = value.argsort(dim=1, descending=True, stable=True)
    ordered = along.gather(1, at.unsqueeze(2).expand_as(along))
    rank = twins(ordered.unsqueeze(1)).squeeze(1).logical_not().cumsum(dim=1)
    fresh = rank.diff(dim=1, prepend=torch.zeros_like(rank[:, :1])) > 0
    row, place = (fresh & (rank <= _KEPT)).nonzero().unbind(dim=1)
    rows, z = rows[row], ordered[row, place]
    sphere = Feasible(Ball(), torch.ones_like(radius[row]))
    found = climb(near, rows, sphere, z, _STEPS)
    known = torch.isfinite(found.value) & (found.value > 0)
    rows, z = rows[known], found.u[known]
    return rows, z, _BEHIND * first[rows] / found.value[known]


def nearest_of(rows: Tensor, radius: Tensor, n: int) -> Tensor:
    """Return which of some rays [R] has the least radius of its input, of n inputs.

    Args:
        rows: of the inputs [R].
        radius: of the rays [R].
        n: how many inputs there are; those without a ray have none.
    """
    order = radius.argsort(stable=True)
    place = torch.arange(len(rows), device=rows.device)
    first = torch.full((n,), len(rows), device=rows.device)
    first = first.scatter_reduce(0, rows[order], place, "amin")
    return order[first[first < len(rows)]]
