"""Where many climbs are, and where their next steps lead (`climbing` says which)."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.verify.feasible import Feasible
from audit.verify.pacing import along, first_pace, next_pace, step
from audit.verify.slopes import Slope

_LEAN = 0.75  # α
_FALL, _SHORTER = 0.3, 0.25  # of D below the best point; of the step that led there
_INSIDE = 0.999  # of ε
_GAIN = 1e-12
_STILL = 1e-4  # of ε: a move that is none
_PROMISE = 1e-4  # of D: to first order, a step that promises less is none


def gains(value: Tensor, before: Tensor) -> Tensor:
    """Tell where D is larger than before by more than rounding."""
    least = torch.where(torch.isfinite(before), _GAIN * before.abs(), 0.0)
    return value > before + least


def lowered(value: Tensor) -> Tensor:
    """Return D with −∞ for NaN."""
    return torch.where(value.isnan(), -torch.inf, value)


class State:
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


class Leaning(State):
    """Steps along the ball's steepest one, leaning on those before."""

    def __init__(
        self, rows: Tensor, within: Feasible, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        super().__init__(rows, within, u, value, gradient)
        self.before = u.clone()
        self.best_gradient = gradient.clone()
        self.share = torch.ones_like(value)

    def moved(self, within: Feasible, at: Tensor, eta: float) -> Tensor:
        """Return where the next step of some candidates leads [k, m]."""
        now = self.now[at]
        length = (eta * self.share[at] * within.size).unsqueeze(1)
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
        """Go on from here, or back to a far better point inside, in shorter steps."""
        self.best_gradient[at] = torch.where(
            gained.unsqueeze(1), gradient, self.best_gradient[at]
        )
        inside = within.norms(self.best[at]) < _INSIDE * within.size
        fell = inside & (value < (1 - _FALL) * self.value[at])
        self.ended[at] &= ~fell  # a lower top, or no number
        back = fell.unsqueeze(1)
        self.before[at] = torch.where(back, self.best[at], self.now[at])
        self.now[at] = torch.where(back, self.best[at], moved)
        self.gradient[at] = torch.where(back, self.best_gradient[at], gradient)
        self.share[at] = torch.where(fell, _SHORTER * self.share[at], self.share[at])


class Paced(State):
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
