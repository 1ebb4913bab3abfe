"""Ascent of many candidates at once, within balls.

In a ball of ℓ∞ or ℓ₁ step k of T goes from u along the ball's steepest step g* of the
gradient g, comes back into the set, and leans on the step before:

    z  = P(u + η ε g*(u)),    u⁺ = P(u + α (z − u) + (1 − α)(u − u⁻)),    α = 3/4
    η  = 1 − k / (T + 1)

with P the nearest point of the set. In one of ℓ₂ it goes along the sphere, and what it
learns of D's curvature says how far (`pacing`), at most η ε. From a point more than
30 % of D below the best one it goes back there, and on in steps of a quarter: half as
many steps come as far. In ℓ∞ and ℓ₁ it does so only if the best one is inside of the
ball: on the way along its corners a fall is often the way up. First steps may be as
long as the ball's radius, and are taken whether D rises or not: they leave small hills,
as a search that only takes what it gains does not (on the digits sample that costs a
tenth of D). Short steps at the end find the top of the hill. What is returned is the
best point of the way. A candidate is through when D is infinite, its gradient is zero
or no number, it stands still, or no step is left that promises anything: where

    max over the ball of gᵀv − gᵀu = ε ‖g‖_q − gᵀu  <=  10⁻⁴ D,      1/p + 1/q = 1

the gradient points out of the ball, as it does at a maximum (and at a saddle: that is
why there are several starts). Where D is a form, a point near its top has 10⁻⁴ λ₁ /
(λ₁ − λ₂) of D left to gain there, and never more than 1 − λ₂ / λ₁: less than 1 %.

References:
    Madry et al., Towards deep learning models resistant to adversarial attacks (2018).
    Croce & Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks (2020), section 3, for α.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.ground import stages
from audit.verify.feasible import Feasible
from audit.verify.slopes import Slope
from audit.verify.strides import Leaning, Paced, State, lowered


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

    def put(self, at: Tensor, state: State) -> None:
        """Take over what candidates at some places [k] have come to."""
        self.u[at], self.value[at] = state.best, state.value
        self.through[at] = state.through


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
    kind = Paced if within.ball.p == 2 else Leaning
    state = kind(rows, within, u, first, gradient)
    found = Summits(u.clone(), first.clone(), first, torch.zeros_like(state.ended))
    at = torch.arange(len(rows), device=rows.device)
    for turn in range(steps):
        going = ~state.through
        if not bool(going.all()):
            found.put(at, state)
            on = going.nonzero()[:, 0]
            at = at[on]
            state.only(on)
        if not len(at):
            break
        state.step(slope, 1 - turn / (steps + 1))
        stages.step(1 / steps)
    found.put(at, state)
    return found
