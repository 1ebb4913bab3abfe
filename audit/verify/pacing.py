"""How long a step along a sphere is: Barzilai and Borwein's length, for many climbs.

On the sphere ‖u‖₂ = ε only the part of the gradient along it promises anything,

    r = g − μ u,    μ = gᵀu / ε²  where that is positive, else r = g

(else D rises inwards, and the sphere is no bound). Where D is a form uᵀGu / 2 with the
eigenvalues λ₁ > λ₂ ≥ …, a step r / μ from a point near the top is one of the power
method, which lowers the i-th coordinate by λᵢ / λ₁: slow where λ₂ is near λ₁. A step
r / (μ − λᵢ) removes it. With s the last step and y the fall of r along it,

    t = sᵀs / sᵀy

is 1 over a mean of the μ − λᵢ, weighted by what was left of each, so that the steps
that follow each other remove one after the other. The first step is the power
method's, ε / ‖g‖. Where r did not fall along s, D curves upwards and t is _RISING of
these; it is _MOST of them at most.

Reference:
    Barzilai & Borwein, Two-point step size gradient methods (1988); Birgin, Martínez &
    Raydan, Nonmonotone spectral projected gradient methods on convex sets (2000).
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.verify.feasible import Feasible

_RISING, _MOST = 8.0, 100.0
_ON = 1 - 1e-9  # of ε: a point as far out as that is on the sphere
_TINY = 1e-300


def along(within: Feasible, u: Tensor, gradient: Tensor) -> Tensor:
    """Return the part r [C, m] of gradients that leads along the sphere."""
    outwards = (gradient * u).sum(dim=1) / within.size.square()
    bound = (u.norm(dim=1) >= _ON * within.size) & (outwards > 0)
    return gradient - torch.where(bound, outwards, 0.0).unsqueeze(1) * u


def first_pace(within: Feasible, gradient: Tensor) -> Tensor:
    """Return the length t [C] of a step of the power method."""
    found: Tensor = within.size / gradient.norm(dim=1).clamp_min(_TINY)
    return found


def next_pace(within: Feasible, s: Tensor, y: Tensor, gradient: Tensor) -> Tensor:
    """Return the length t [C] of the step after a step.

    Args:
        within: the sets.
        s: the step [C, m].
        y: how much r fell along it [C, m].
        gradient: where it led [C, m].
    """
    unit = first_pace(within, gradient)
    fallen = (s * y).sum(dim=1)
    found = torch.minimum((s * s).sum(dim=1) / fallen, _MOST * unit)
    return torch.where(fallen > 0, found, _RISING * unit)


def step(within: Feasible, r: Tensor, pace: Tensor, eta: float) -> Tensor:
    """Return t r [C, m], no longer than η ε."""
    move = r * pace.unsqueeze(1)
    longest = eta * within.size / move.norm(dim=1).clamp_min(_TINY)
    found: Tensor = move * longest.clamp_max(1.0).unsqueeze(1)
    return found
