"""Ascent of many candidates at once, within balls.

In a ball of ℓ∞ or ℓ₁ step k of T goes from u along the ball's steepest step g* of the
gradient g, comes back into the set, and leans on the step before:

    z  = P(u + η ε g*(u)),    u⁺ = P(u + α (z − u) + (1 − α)(u − u⁻)),    α = 3/4
    η  = 1 − k / (T + 1)

with P the nearest point of the set. In one of ℓ₂ it goes along the sphere, and what it
learns of D's curvature says how far (`pacing`), at most η ε; from a point more than
30 % of D below the best one it goes back there, and on in steps of a quarter: half as
many steps come as far. First steps may be as long as the ball's radius, and are taken
whether D rises or not: they leave small hills, as a search that only takes what it
gains does not (on the digits sample that costs a tenth of D). Short steps at the end
find the top of the hill. What is returned is the best point of the way. A candidate is
through when D is infinite, its gradient is zero or no number, it stands still, or no
step is left that promises anything: where

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
from audit.verify.pacing import along, first_pace, next_pace, step
from audit.verify.slopes import Slope

_LEAN = 0.75  # α
_FALL, _SHORTER = 0.3, 0.25  # of D below the best point; of the step that led there
_GAIN = 1e-12
_STILL = 1e-4  # of ε: a move that is none
_PROMISE = 1e-4  # of D: to first order, a step that promises less is none


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
    kind = _Paced if within.ball.p == 2 else _Leaning
    state = kind(rows, within, u, first, gradient)
    for turn in range(steps):
        going = (~state.through).nonzero()[:, 0]
        if not len(going):
            break
        state.step(slope, going, 1 - turn / (steps + 1))
        stages.step(1 / steps)
    return Summits(state.best, state.value, first, state.through)


def gains(value: Tensor, before: Tensor) -> Tensor:
    """Tell where D is larger than before by more than rounding."""
    least = torch.where(torch.isfinite(before), _GAIN * before.abs(), 0.0)
    return value > before + least


def lowered(value: Tensor) -> Tensor:
    """Return D with −∞ for NaN."""
    return torch.where(value.isnan(), -torch.inf, value)


class _State:
    """All candidates: where they are, and the best so far."""

    def __init__(
        self, rows: Tensor, within: Feasible, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        self.rows, self.within = rows, within
        self.now, self.gradient = u.clone(), gradient.clone()
        self.best, self.value = u.clone(), value.clone()
        self.still = torch.zeros_like(rows, dtype=torch.bool)
        self.ended = _at_the_top(within, u, value, gradient)

    @property
    def through(self) -> Tensor:
        """Whether nothing more is to be gained [C]."""
        return self.ended | self.still | torch.isinf(self.value)

    def step(self, slope: Slope, at: Tensor, eta: float) -> None:
        """Move some candidates by at most η of their balls, and keep what they gain."""
        within, now = self.within.take(at), self.now[at]
        moved = self.moved(within, at, eta)
        value, gradient = slope(self.rows[at], moved)
        value = lowered(value)
        gained = gains(value, self.value[at])
        self.best[at] = torch.where(gained.unsqueeze(1), moved, self.best[at])
        self.value[at] = torch.where(gained, value, self.value[at])
        self.still[at] = within.norms(moved - now) <= _STILL * within.size
        self.ended[at] = _at_the_top(within, moved, value, gradient)
        self.take(within, at, moved, value, gradient, gained)

    def moved(self, within: Feasible, at: Tensor, eta: float) -> Tensor:
        """Return where the next step of some candidates leads [k, m]."""
        raise NotImplementedError

    def take(
        self,
        within: Feasible,
        at: Tensor,
        moved: Tensor,
        value: Tensor,
        gradient: Tensor,
        gained: Tensor,
    ) -> None:
        """Go on from where some candidates are now, or from where they were best."""
        raise NotImplementedError


class _Leaning(_State):
    """Steps along the ball's steepest one, leaning on those before."""

    def __init__(
        self, rows: Tensor, within: Feasible, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        super().__init__(rows, within, u, value, gradient)
        self.before = u.clone()

    def moved(self, within: Feasible, at: Tensor, eta: float) -> Tensor:
        """Return where the next step of some candidates leads [k, m]."""
        now = self.now[at]
        length = (eta * within.size).unsqueeze(1)
        z = within.nearest(now + length * within.steepest(self.gradient[at]))
        lean = _LEAN * (z - now) + (1 - _LEAN) * (now - self.before[at])
        first = (now == self.before[at]).all(dim=1, keepdim=True)
        return torch.where(first, z, within.nearest(now + lean))

    def take(
        self,
        within: Feasible,
        at: Tensor,
        moved: Tensor,
        value: Tensor,
        gradient: Tensor,
        gained: Tensor,
    ) -> None:
        """Go on from where some candidates are now."""
        self.before[at], self.now[at] = self.now[at], moved
        self.gradient[at] = gradient


class _Paced(_State):
    """Steps along the sphere, of Barzilai and Borwein's length."""

    def __init__(
        self, rows: Tensor, within: Feasible, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        super().__init__(rows, within, u, value, gradient)
        self.r = along(within, u, gradient)
        self.best_r = self.r.clone()
        self.pace = first_pace(within, gradient)

    def moved(self, within: Feasible, at: Tensor, eta: float) -> Tensor:
        """Return where the next step of some candidates leads [k, m]."""
        move = step(within, self.r[at], self.pace[at], eta)
        return within.nearest(self.now[at] + move)

    def take(
        self,
        within: Feasible,
        at: Tensor,
        moved: Tensor,
        value: Tensor,
        gradient: Tensor,
        gained: Tensor,
    ) -> None:
        """Go on from here, or in shorter steps from the best point, far above it."""
        before, r = self.r[at], along(within, moved, gradient)
        s = moved - self.now[at]
        pace = next_pace(within, s, before - r, gradient)
        self.best_r[at] = torch.where(gained.unsqueeze(1), r, self.best_r[at])
        fell = value < (1 - _FALL) * self.value[at]
        self.ended[at] &= ~fell  # a lower top, or no number
        back = fell.unsqueeze(1)
        self.now[at] = torch.where(back, self.best[at], moved)
        self.r[at] = torch.where(back, self.best_r[at], r)
        length = self.best_r[at].norm(dim=1).clamp_min(1e-300)
        self.pace[at] = torch.where(fell, _SHORTER * s.norm(dim=1) / length, pace)


def _at_the_top(within: Feasible, u: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """Tell where no step within the ball promises a gain [C]."""
    promised = within.size * within.ball.dual(gradient) - (gradient * u).sum(dim=1)
    flat = gradient.abs().amax(dim=1) == 0
    return flat | (promised <= _PROMISE * value.clamp_min(0))
