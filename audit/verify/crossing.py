"""Where a divergence reaches τ along a ray: one equation in one number, for many rays.

D(r) is the exact divergence at x + r v. From a guess r₀, which is exact where D is
quadratic, a ladder of radii looks for the first one where D ≥ τ: below the guess by
factors of two, then above it. What lies between two rungs is bracketed, and the
crossing found by the secant in (log r, log D), where D ∝ r² is a straight line, kept
inside the bracket; a step that shortens it too little is followed by a bisection. A
jump of D over τ ends at the jump, and so does one onto a plateau at the level itself,
as of a divergence that is bounded by τ: where the upper end of a bracket is on the
level already, a radius below it that is on the level too need not be the first.

Beyond 1,000 times the guess τ counts as not reached, and the radius is ∞; below 2⁻⁴⁰
of it, as reached at once, and the radius is 0. A dip of D below τ between two rungs of
the ladder is not seen. Where D is not known on the way (NaN), neither is the radius.

Reference:
    Brent, Algorithms for Minimization without Derivatives (1973), chapter 4, for
    safeguarding a secant by a bisection.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Evaluate = Callable[[Tensor, Tensor], Tensor]  # rays [k], radii [k, K] -> D [k, K]
REACH = 1000.0  # guesses, beyond which τ counts as not reached
_RUNGS = (
    (2.0**-4, 2.0**-3, 2.0**-2, 2.0**-1, 1.0),
    (2.0, 4.0, 8.0, 16.0),
    (32.0, 64.0, 128.0, 256.0),
    (512.0, REACH),
)
_DOWN, _WINDOWS = 2.0**-4, 9  # below the ladder, a window at a time
_EXACT = 1e-6  # of τ
_WIDTH = 1e-12  # of a radius
_STEPS = 60


def crossings(evaluate: Evaluate, guess: Tensor, tau: float) -> Tensor:
    """Return the radii [R] at which D reaches τ; 0 where at once, ∞ where not.

    Args:
        evaluate: D at some radii of some rays, never negative; ∞ and NaN are allowed.
        guess: r₀ [R], positive and finite.
        tau: τ > 0.
    """
    ladder = _Ladder(evaluate, guess, tau)
    ladder.climb()
    ladder.descend()
    return _refined(evaluate, ladder, tau)


class _Ladder:
    """Brackets [low, high] with D(low) < τ ≤ D(high), one for each ray.

    An open bracket has no end yet: high is ∞ where τ was not reached, low is 0 where
    D(low) was not seen below it.
    """

    def __init__(self, evaluate: Evaluate, guess: Tensor, tau: float) -> None:
        self.evaluate, self.guess, self.tau = evaluate, guess, tau
        self.low, self.at_low = torch.zeros_like(guess), torch.zeros_like(guess)
        self.high = torch.full_like(guess, torch.inf)
        self.at_high = self.high.clone()
        self.lost = torch.zeros_like(guess, dtype=torch.bool)

    def climb(self) -> None:
        """Look upwards until τ is reached, on every ray."""
        for rungs in _RUNGS:
            rays = torch.isinf(self.high).nonzero()[:, 0]
            if not len(rays):
                return
            self._look(rays, self.guess[rays, None] * self.guess.new_tensor(rungs))

    def descend(self) -> None:
        """Look below the lowest rung where that was above τ already."""
        for _ in range(_WINDOWS):
            rays = ((self.low == 0) & torch.isfinite(self.high)).nonzero()[:, 0]
            if not len(rays):
                return
            steps = self.guess.new_tensor([_DOWN * 2.0**k for k in range(4)])
            self._look(rays, self.high[rays, None] * steps)

    def _look(self, rays: Tensor, radii: Tensor) -> None:
        """Take ascending radii [k, K] into the brackets of some rays."""
        values = self.evaluate(rays, radii)
        reached = values >= self.tau
        found = reached.any(dim=1)
        first = torch.where(found, reached.to(torch.int8).argmax(dim=1), radii.shape[1])
        if bool(found.any()):
            at = first[found].unsqueeze(1)
            self.high[rays[found]] = radii[found].gather(1, at).squeeze(1)
            self.at_high[rays[found]] = values[found].gather(1, at).squeeze(1)
        count = torch.arange(radii.shape[1], device=first.device)
        self.lost[rays] |= (values.isnan() & (count < first.unsqueeze(1))).any(dim=1)
        below = first > 0
        if bool(below.any()):
            at = (first[below] - 1).unsqueeze(1)
            self.low[rays[below]] = radii[below].gather(1, at).squeeze(1)
            self.at_low[rays[below]] = values[below].gather(1, at).squeeze(1)


def _refined(evaluate: Evaluate, ladder: _Ladder, tau: float) -> Tensor:
    """Close the brackets, and return what they close on."""
    found = torch.where(ladder.low == 0, 0.0, ladder.high)
    found = torch.where(torch.isinf(ladder.high), torch.inf, found)
    found = found.masked_fill(ladder.lost, torch.nan)
    rays = (torch.isfinite(found) & (ladder.low > 0)).nonzero()[:, 0]
    low, high = ladder.low[rays].log(), ladder.high[rays].log()
    at_low, at_high = ladder.at_low[rays], ladder.at_high[rays]
    halve = torch.zeros_like(low, dtype=torch.bool)
    for _ in range(_STEPS):
        if not len(rays):
            break
        share = (tau / at_low).log() / (at_high / at_low).log()
        good = torch.isfinite(share) & ~halve
        share = torch.where(good, share.clamp(1e-3, 1 - 1e-3), 0.5)
        middle = low + share * (high - low)
        value = evaluate(rays, middle.exp().unsqueeze(1)).squeeze(1)
        above, width, level = value >= tau, high - low, _close(at_high, tau)
        high, at_high = (
            torch.where(above, middle, high),
            torch.where(above, value, at_high),
        )
        low, at_low = torch.where(above, low, middle), torch.where(above, at_low, value)
        halve = (high - low) > width / 2
        hit, lost = _close(value, tau) & ~(above & level), value.isnan()
        closed = hit | lost | (high - low <= _WIDTH)
        radius = torch.where(hit, middle, high).exp().masked_fill(lost, torch.nan)
        found[rays[closed]] = radius[closed]
        rest = ~closed
        rays, low, high = rays[rest], low[rest], high[rest]
        at_low, at_high, halve = at_low[rest], at_high[rest], halve[rest]
    found[rays] = high.exp()
    return found


def _close(value: Tensor, tau: float) -> Tensor:
    """Return where D is τ, as far as it is solved for."""
    return (value / tau - 1).abs() <= _EXACT
