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

from audit.verify.ball import Ball
from audit.verify.slopes import Slope

_FIRST, _LAST = 2.0, 0.02  # η, of ε
_LEAN = 0.75  # α
_GAIN = 1e-12


@dataclass(frozen=True)
class Summits:
    """The best points of C candidates.

    Shapes: u [C, m]; value, D there, and first, D at the start [C]; −∞ for NaN.
    """

    u: Tensor
    value: Tensor
    first: Tensor


def climb(slope: Slope, rows: Tensor, ball: Ball, u: Tensor, steps: int) -> Summits:
    """Return the best points on the way up.

    Args:
        slope: D and its gradient.
        rows: each candidate's input [C].
        ball: their sets.
        u: where they start [C, m], inside.
        steps: at most, each a forward and a backward pass.
    """
    value, gradient = slope(rows, u)
    first = lowered(value)
    state = _State(rows, ball, u, first, gradient)
    for _ in range(steps):
        going = state.going()
        if not len(going):
            break
        state.step(slope, going)
    return Summits(state.best, state.value, first)


def gains(value: Tensor, before: Tensor) -> Tensor:
    """Tell where D is larger than before by more than rounding."""
    least = torch.where(torch.isfinite(before), _GAIN * before.abs(), 0.0)
    return value > before + least


def lowered(value: Tensor) -> Tensor:
    """Return D with −∞ for NaN."""
    return torch.where(value.isnan(), -torch.inf, value)


class _State:
    """All candidates: where they are, where they were, and the best so far."""

    def __init__(
        self, rows: Tensor, ball: Ball, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        self.rows, self.ball = rows, ball
        self.now, self.before = u.clone(), u.clone()
        self.gradient = gradient.clone()
        self.best, self.uphill = u.clone(), gradient.clone()
        self.value = value.clone()
        self.eta = torch.full_like(value, _FIRST)

    def going(self) -> Tensor:
        """Return which candidates [c] can still gain."""
        flat = self.gradient.abs().amax(dim=1) == 0
        through = flat | torch.isinf(self.value) | (self.eta < _LAST)
        return (~through).nonzero()[:, 0]

    def step(self, slope: Slope, at: Tensor) -> None:
        """Move some candidates, and keep what they gain."""
        ball, now = self.ball.take(at), self.now[at]
        length = (self.eta[at] * ball.size).unsqueeze(1)
        z = ball.nearest(now + length * ball.steepest(self.gradient[at]))
        lean = _LEAN * (z - now) + (1 - _LEAN) * (now - self.before[at])
        moved = ball.nearest(now + lean)
        value, gradient = slope(self.rows[at], moved)
        value = lowered(value)
        gained = gains(value, self.value[at])
        where = gained.unsqueeze(1)
        self.best[at] = torch.where(where, moved, self.best[at])
        self.uphill[at] = torch.where(where, gradient, self.uphill[at])
        self.value[at] = torch.where(gained, value, self.value[at])
        self.before[at] = torch.where(where, now, self.best[at])
        self.now[at], self.gradient[at] = self.best[at], self.uphill[at]
        self.eta[at] = torch.where(gained, self.eta[at], self.eta[at] / 2)
