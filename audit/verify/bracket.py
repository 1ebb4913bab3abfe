"""The largest size at which a bound holds, for many inputs at once, in few looks.

A bound b(ε) rises about as ε², faster where it is loose, so g = log(b/τ) is nearly a
line in log ε. The next size is where the line through both ends of the bracket is 0 (an
end that stays for a second time counts less of its g), or the middle, where g is
infinite at an end. Near the crossing it is a third of the wanted width to the side that
still lacks an end. While an end is missing, sizes go by ε² there, at least by a factor
of 2 and at most by one of 30.

Reference:
    Anderson & Björck, A new high order method of regula falsi type (1973).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CLOSE = 1e-3  # relative width of a bracket that is narrow enough
_STEPS, _LEAST, _MOST = 80, 2.0, 30.0
_FAR = 2.0**60  # times the start


class Bracket:
    """Sizes of B balls, between a bound that is ≤ τ and one that is not.

    Args:
        start: the first sizes [B], positive.
        tau: τ > 0.
        close: relative width of a bracket that is narrow enough.
    """

    def __init__(self, start: Tensor, tau: float, close: float = CLOSE) -> None:
        self.tau, self.start, self.size, self.steps = tau, start, start, 0
        self.close = close
        self.good, self.bad = torch.zeros_like(start), torch.full_like(start, torch.inf)
        self.below = torch.full_like(start, -torch.inf)  # g at the good end
        self.above = torch.full_like(start, torch.inf)

    def between(self, good: Tensor, bad: Tensor, bounds: tuple[Tensor, Tensor]) -> None:
        """Begin with brackets that are known, and the bounds at both ends [B]."""
        self.good, self.bad = good, bad
        self.below, self.above = ((bound / self.tau).log() for bound in bounds)
        self.size = torch.where(self.open, self._next(self.below), self.size)

    @property
    def open(self) -> Tensor:
        """Which are worth another look [B]."""
        lost = (self.good > self.start * _FAR) | (self.bad < self.start / _FAR)
        wide = self.bad > self.good * (1 + self.close)
        return wide & ~lost & (self.steps < _STEPS)

    def take(self, bound: Tensor) -> None:
        """Take the bounds [B] at `size` in, and choose the next sizes."""
        g, live = (bound / self.tau).log(), self.open
        holds, fails = live & (bound <= self.tau), live & ~(bound <= self.tau)
        again_good = holds & (self.size > self.good) & (self.good > 0)
        again_bad = fails & torch.isfinite(self.bad)
        fall, rise = _kept(g, self.below), _kept(g, self.above)
        self.good = torch.where(holds, self.size, self.good)
        self.bad = torch.where(fails, self.size, self.bad)
        self.above = torch.where(again_good, self.above * fall, self.above)
        self.below = torch.where(again_bad, self.below * rise, self.below)
        self.below = torch.where(holds, g, self.below)
        self.above = torch.where(fails, g, self.above)
        self.steps += 1
        self.size = torch.where(self.open, self._next(g), self.size)

    def _next(self, g: Tensor) -> Tensor:
        """Return the next sizes [B], inside of the brackets."""
        factor = (-g / 2).exp().nan_to_num(_LEAST, _MOST, 0.0)
        up = self.good * factor.clamp(_LEAST, _MOST)
        down = self.bad * factor.clamp(1 / _MOST, 1 / _LEAST)
        low, width = self.good.log(), (self.bad / self.good).log()
        share = -self.below / (self.above - self.below)
        known = torch.isfinite(self.above) & torch.isfinite(self.below)
        share = torch.where(known, share, 0.5)
        third, at = math.log1p(self.close) / 3, share * width
        at = at + torch.where(at < third, third, -third)
        inner = torch.minimum(torch.maximum(at, width / 64), width * 63 / 64)
        found = torch.where(torch.isinf(self.bad), up, (low + inner).exp())
        return torch.where(self.good == 0, down, found)


def _kept(g: Tensor, before: Tensor) -> Tensor:
    """Return the share of g that an end keeps where the other end moves again."""
    share = 1 - g / before
    return torch.where((share > 0) & (share < 1), share, 0.5)
