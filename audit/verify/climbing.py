"""Projected gradient ascent of many candidates at once.

A step goes from u along the ball's steepest step g* of the gradient g, comes back into
the set, and leans on the step before:

    z  = P(u + η ε g*(u)),    u⁺ = P(u + α (z − u) + (1 − α)(u − u⁻)),    α = 3/4

with P the nearest point of the set. η starts at 2, the ball's diameter: there the step
goes to about the point of the ball where D's tangent is largest, which for a convex D
can only raise it. After a step that gains nothing, the candidate goes back to its best
point, without the lean, and η is halved. A candidate is through when η is below its
end, D is infinite, or its gradient is zero or no number.

The gain of a step is counted where it is more than rounding (10⁻¹²); NaN is less than
every number, so that it never wins.

References:
    Madry et al., Towards deep learning models resistant to adversarial attacks (2018).
    Croce & Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks (2020), section 3, for α and halving from the best.
    Journée et al., Generalized power method (2010), for full steps on convex D.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.verify.feasible import Feasible
from audit.verify.slopes import Slope

_FIRST, _LAST = 2.0, 0.02  # η, of ε
_LEAN = 0.75  # α
_GAIN = 1e-12
_LITTLE, _TIRED = 1e-5, 4  # a gain that halves η, and how many of them end it


@dataclass(frozen=True)
class Summits:
    """The best points of C candidates.

    Shapes: u [C, m]; value, D there, and first, D at the start [C]; −∞ for NaN.
        through: whether nothing more is to be gained [C].
    """

    u: Tensor
    value: Tensor
    first: Tensor
    through: Tensor


def climb(
    slope: Slope, rows: Tensor, within: Feasible, u: Tensor, steps: int
) -> Summits:
    """Return the best points on the way up.

    Args:
        slope: D and its gradient.
        rows: each candidate's input [C].
        within: their sets.
        u: where they start [C, m], inside.
        steps: at most, each a forward and a backward pass.
    """
    value, gradient = slope(rows, u)
    first = lowered(value)
    state = _State(rows, within, u, first, gradient)
    for _ in range(steps):
        going = (~state.through).nonzero()[:, 0]
        if not len(going):
            break
        state.step(slope, going)
    return Summits(state.best, state.value, first, state.through)


def gains(value: Tensor, before: Tensor, share: float = _GAIN) -> Tensor:
    """Tell where D is larger than before by more than a share of it: rounding."""
    least = torch.where(torch.isfinite(before), share * before.abs(), 0.0)
    return value > before + least


def lowered(value: Tensor) -> Tensor:
    """Return D with −∞ for NaN."""
    return torch.where(value.isnan(), -torch.inf, value)


class _State:
    """All candidates: where they are, where they were, and the best so far."""

    def __init__(
        self, rows: Tensor, within: Feasible, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        self.rows, self.within = rows, within
        self.now, self.before = u.clone(), u.clone()
        self.gradient = gradient.clone()
        self.best, self.uphill = u.clone(), gradient.clone()
        self.value = value.clone()
        self.eta = torch.full_like(value, _FIRST)
        self.tired = torch.zeros_like(rows)

    @property
    def through(self) -> Tensor:
        """Whether nothing more is to be gained [C]."""
        flat = self.gradient.abs().amax(dim=1) == 0
        ended = (self.eta < _LAST) | (self.tired >= _TIRED)
        return flat | ended | torch.isinf(self.value)

    def step(self, slope: Slope, at: Tensor) -> None:
        """Move some candidates, and keep what they gain."""
        within, now = self.within.take(at), self.now[at]
        length = (self.eta[at] * within.size).unsqueeze(1)
        z = within.nearest(now + length * within.steepest(self.gradient[at]))
        lean = _LEAN * (z - now) + (1 - _LEAN) * (now - self.before[at])
        moved = within.nearest(now + lean)
        value, gradient = slope(self.rows[at], moved)
        value = lowered(value)
        gained = gains(value, self.value[at])
        little = ~gains(value, self.value[at], _LITTLE)
        where = gained.unsqueeze(1)
        self.best[at] = torch.where(where, moved, self.best[at])
        self.uphill[at] = torch.where(where, gradient, self.uphill[at])
        self.value[at] = torch.where(gained, value, self.value[at])
        self.before[at] = torch.where(where, now, self.best[at])
        self.now[at], self.gradient[at] = self.best[at], self.uphill[at]
        self.eta[at] = torch.where(little, self.eta[at] / 2, self.eta[at])
        self.tired[at] = torch.where(little, self.tired[at] + 1, 0)
