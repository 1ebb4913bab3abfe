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
    """Candidates that climb together: where they are, and the best so far.

    Shapes: rows, value and through [C], whether nothing more is to be gained; now and
    best [C, m]. Each step makes them anew, so that nobody else's are written into.
    """

    def __init__(
        self, rows: Tensor, within: Feasible, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        self.rows, self.within = rows, within
        self.now, self.gradient = u, gradient
        self.best, self.value = u, value
        self.still = torch.zeros_like(rows, dtype=torch.bool)
        self.ended = _at_the_top(within, u, value, gradient)

    @property
    def through(self) -> Tensor:
        """Whether nothing more is to be gained [C]."""
        return self.ended | self.still | torch.isinf(self.value)

    def only(self, at: Tensor) -> None:
        """Go on with some of the candidates, by their places."""
        self.within = self.within.take(at)
        for name, kept in vars(self).items():
            if isinstance(kept, Tensor):
                setattr(self, name, kept[at])

    def step(self, slope: Slope, eta: float) -> None:
        """Move all candidates by at most η of their balls, and keep what they gain."""
        within, moved = self.within, self.moved(eta)
        value, gradient = slope(self.rows, moved)
        value = lowered(value)
        gained = gains(value, self.value)
        self.best = torch.where(gained.unsqueeze(1), moved, self.best)
        self.value = torch.where(gained, value, self.value)
        self.still = within.norms(moved - self.now) <= _STILL * within.size
        self.ended = _at_the_top(within, moved, value, gradient)
        self.take(moved, value, gradient, gained)

    def moved(self, eta: float) -> Tensor:
        """Return where the next step of each candidate leads [C, m]."""
        raise NotImplementedError

    def take(
        self, moved: Tensor, value: Tensor, gradient: Tensor, gained: Tensor
    ) -> None:
        """Go on from where the candidates are now, or from where they were best."""
        raise NotImplementedError


class Leaning(State):
    """Steps along the ball's steepest one, leaning on those before."""

    def __init__(
        self, rows: Tensor, within: Feasible, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        super().__init__(rows, within, u, value, gradient)
        self.before, self.best_gradient = u, gradient
        self.share = torch.ones_like(value)

    def moved(self, eta: float) -> Tensor:
        """Return where the next step of each candidate leads [C, m]."""
        within, now = self.within, self.now
        length = (eta * self.share * within.size).unsqueeze(1)
        z = within.nearest(now + length * within.steepest(self.gradient))
        lean = _LEAN * (z - now) + (1 - _LEAN) * (now - self.before)
        first = (now == self.before).all(dim=1, keepdim=True)
        return torch.where(first, z, within.nearest(now + lean))

    def take(
        self, moved: Tensor, value: Tensor, gradient: Tensor, gained: Tensor
    ) -> None:
        """Go on from here, or back to a far better point inside, in shorter steps."""
        better = gained.unsqueeze(1)
        self.best_gradient = torch.where(better, gradient, self.best_gradient)
        inside = self.within.norms(self.best) < _INSIDE * self.within.size
        fell = inside & (value < (1 - _FALL) * self.value)
        self.ended &= ~fell  # a lower top, or no number
        back = fell.unsqueeze(1)
        self.before = torch.where(back, self.best, self.now)
        self.now = torch.where(back, self.best, moved)
        self.gradient = torch.where(back, self.best_gradient, gradient)
        self.share = torch.where(fell, _SHORTER * self.share, self.share)


class Paced(State):
    """Steps along the sphere, of Barzilai and Borwein's length."""

    def __init__(
        self, rows: Tensor, within: Feasible, u: Tensor, value: Tensor, gradient: Tensor
    ) -> None:
        super().__init__(rows, within, u, value, gradient)
        self.r = self.best_r = along(within, u, gradient)
        self.pace = first_pace(within, gradient)

    def moved(self, eta: float) -> Tensor:
        """Return where the next step of each candidate leads [C, m]."""
        move = step(self.within, self.r, self.pace, eta)
        return self.within.nearest(self.now + move)

    def take(
        self, moved: Tensor, value: Tensor, gradient: Tensor, gained: Tensor
    ) -> None:
        """Go on from here, or in shorter steps from the best point, far above it."""
        r, s = along(self.within, moved, gradient), moved - self.now
        pace = next_pace(self.within, s, self.r - r, gradient)
        self.best_r = torch.where(gained.unsqueeze(1), r, self.best_r)
        fell = value < (1 - _FALL) * self.value
        self.ended &= ~fell  # a lower top, or no number
        back = fell.unsqueeze(1)
        self.now = torch.where(back, self.best, moved)
        self.r = torch.where(back, self.best_r, r)
        length = self.best_r.norm(dim=1).clamp_min(1e-300)
        self.pace = torch.where(fell, _SHORTER * s.norm(dim=1) / length, pace)


def _at_the_top(within: Feasible, u: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """Tell where no step within the ball promises a gain [C]."""
    promised = within.size * within.ball.dual(gradient) - (gradient * u).sum(dim=1)
    flat = gradient.abs().amax(dim=1) == 0
    return flat | (promised <= _PROMISE * value.clamp_min(0))
