"""Where a divergence reaches τ along a ray: one equation in one number, for many rays.

D(r) is the exact divergence at x + r v. From a guess r₀, which is exact where D is
quadratic, a ladder of radii looks for the first one where D ≥ τ: below the guess by
factors of two, then above it. What lies between two rungs is bracketed, and the
crossing found in (log r, log D), where D ∝ r² is a straight line: by the secant first,
then by the parabola for log r through the last three points, kept inside the bracket.
A step that neither halves the bracket nor brings an end's log D four times nearer is
followed by a bisection. A jump of D over τ ends at the jump, and so does one onto a
plateau at the level itself, as of a divergence that is bounded by τ: where the upper
end of a bracket is on the level already, a radius below it that is on the level too
need not be the first.

Beyond 1,000 times the guess τ counts as not reached, and the radius is ∞; below 2⁻⁴⁰
of it, as reached at once, and the radius is 0. A dip of D below τ between two rungs of
the ladder is not seen. Where D is not known on the way (NaN), neither is the radius.

Reference:
    Brent, Algorithms for Minimization without Derivatives (1973), chapter 4, for the
    parabola and for safeguarding it by a bisection.
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
_SURE = 1e-6  # of a radius, as far as slopes tell
_WIDTH = 1e-12  # of a radius
_NEAR = 1e-4  # of a bracket: how near to an end the next radius may be
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
    low = ladder.low[rays].log(), (ladder.at_low[rays] / tau).log()
    high = ladder.high[rays].log(), (ladder.at_high[rays] / tau).log()
    old = torch.full_like(low[0], torch.nan), torch.full_like(low[0], torch.nan)
    halve = torch.zeros_like(low[0], dtype=torch.bool)
    for _ in range(_STEPS):
        if not len(rays):
            break
        middle = torch.where(halve, (low[0] + high[0]) / 2, _aimed(low, high, old))
        value = evaluate(rays, middle.exp().unsqueeze(1)).squeeze(1)
        new = middle, (value / tau).log()
        above, width, level = value >= tau, high[0] - low[0], _close(high[1])
        old = _either(above, high, low)
        low, high = _either(above, low, new), _either(above, new, high)
        slow = ~(new[1].abs() < old[1].abs() / 4)
        halve = slow & ((high[0] - low[0] > width / 2) | _close(high[1]))
        hit, lost = _hit(new, old) & ~(above & level), value.isnan()
        closed = hit | lost | (high[0] - low[0] <= _WIDTH)
        radius = torch.where(hit, middle, high[0]).exp().masked_fill(lost, torch.nan)
        found[rays[closed]] = radius[closed]
        rest = ~closed
        rays, halve = rays[rest], halve[rest]
        low, high, old = ((x[rest], f[rest]) for x, f in (low, high, old))
    found[rays] = high[0].exp()
    return found


Ends = tuple[Tensor, Tensor]
"""log r and log D/τ of some rays [k]."""


def _aimed(low: Ends, high: Ends, old: Ends) -> Tensor:
    """Return log r where log D/τ is expected to be 0 [k], inside the bracket."""
    (a, f), (b, g), (c, h) = low, high, old
    secant = a + f / (f - g) * (b - a)
    parabola = (
        a * (g * h / ((f - g) * (f - h)))
        + b * (f * h / ((g - f) * (g - h)))
        + c * (f * g / ((h - f) * (h - g)))
    )
    inside = (parabola > a) & (parabola < b)
    at = torch.where(inside, parabola, secant)
    least = _NEAR * (b - a)
    at = torch.minimum(torch.maximum(at, a + least), b - least)
    return torch.where(torch.isfinite(at), at, (a + b) / 2)


def _either(first: Tensor, one: Ends, other: Ends) -> Ends:
    return torch.where(first, one[0], other[0]), torch.where(first, one[1], other[1])


def _hit(new: Ends, old: Ends) -> Tensor:
    """Tell where a radius solves the equation, by the slope since the one before."""
    slope = (new[1] - old[1]) / (new[0] - old[0])
    return _close(new[1]) & (new[1].abs() <= _SURE * slope.abs())


def _close(level: Tensor) -> Tensor:
    """Return where log D/τ is 0, as far as it is solved for."""
    return level.abs() <= _EXACT
