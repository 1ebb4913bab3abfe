"""Where a divergence reaches τ along a ray: one equation in one number, for many rays.

D(r) is the exact divergence at x + r v. From a guess r₀, which is exact where D is
quadratic, a ladder of radii looks for the first one where D ≥ τ: below the guess by
factors of two, then above it. What lies between two rungs is bracketed, and the
crossing found by inverse interpolation: log r is a smooth function of g = log(D/τ), a
straight line where D ∝ r², and its value at g = 0 is taken of the polynomial through
both ends of the bracket and up to two points beside it, of the highest order that
stays inside. A step that neither halves the bracket nor brings |g| below a quarter is
followed by a bisection. A jump of D over τ ends at the jump, and so does one onto a
plateau at the level itself, as of a divergence that is bounded by τ: where the upper
end of a bracket is on the level already, a radius below it that is on the level too
need not be the first, and bisections find it. So the first look below such an end is
where a rising D is off the level, by twice what it is solved for: where that is below
τ, and within millionths of the radius, the secant between both is the crossing.

Beyond 1,000 times the guess τ counts as not reached, and the radius is ∞, if that is
not less than 2⁻⁴⁰ of the input: steps of less than its last digit move nothing, and of
a model whose radius is shorter than they are would say that nothing moves it. There the
radius is the step at which D is first seen above τ. Below a floor, 2⁻⁴⁰ of the guess or
less, τ counts as reached at once, and the radius is 0. A law that is all but certain
has a form of next to nothing and a guess of 10¹⁷ times its input, where D = τ is met at
the input's own size: there the floor is what tells. A dip of D below τ between two
rungs of the ladder is not seen. Where D is not known on the way (NaN), neither is the
radius.

Reference:
    Brent, Algorithms for Minimization without Derivatives (1973), chapter 4, for
    inverse interpolation that is safeguarded by a bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Evaluate = Callable[[Tensor, Tensor], Tensor]  # rays [k], radii [k, K] -> D [k, K]
REACH = 1000.0  # guesses, beyond which τ counts as not reached
_RUNGS = (
    (2.0**-4, 2.0**-3, 2.0**-2, 2.0**-1, 1.0),
    (2.0,),
    (4.0, 8.0, 16.0),
    (32.0, 64.0, 128.0, 256.0),
    (512.0, REACH),
)
_DOWN, _FURTHER = (4, 9), (16, 160)  # rungs of a window below it, and windows
_FLOOR = 2.0**-40  # guesses
EXACT = 1e-6  # of τ, and of the radius by the secant
_NEAR = 1e-5  # of τ: a bracket's ends that are so near have no jump between them
_WIDTH = 1e-12  # of a radius
_EDGE = 1e-9  # of a bracket, that a step keeps off its ends
_STEPS = 60


def crossings(
    evaluate: Evaluate, guess: Tensor, tau: float, scale: Tensor | None = None
) -> Tensor:
    """Return the radii [R] at which D reaches τ; 0 where at once, ∞ where not.

    Args:
        evaluate: D at some radii of some rays, never negative; ∞ and NaN are allowed.
        guess: r₀ [R], positive and finite.
        tau: τ > 0.
        scale: a radius [R] that is not small; 2⁻⁴⁰ of it is, if the guess is larger.
    """
    ladder = _Ladder(evaluate, guess, tau)
    ladder.climb()
    if scale is not None:
        ladder.leave(_FLOOR * scale)
    ladder.descend(_FLOOR * (guess if scale is None else torch.minimum(guess, scale)))
    return _refined(evaluate, ladder, tau)


class _Ladder:
    """Brackets [low, high] with D(low) < τ ≤ D(high), one for each ray.

    An open bracket has no end yet: high is ∞ where τ was not reached, low is 0 where
    D(low) was not seen below it. `before` is the rung below low, 0 where there is none.
    """

    def __init__(self, evaluate: Evaluate, guess: Tensor, tau: float) -> None:
        self.evaluate, self.guess, self.tau = evaluate, guess, tau
        self.low, self.at_low = torch.zeros_like(guess), torch.zeros_like(guess)
        self.before, self.at_before = self.low.clone(), self.low.clone()
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

    def leave(self, least: Tensor) -> None:
        """Look at a radius [R] that tells x + r v from x, where no rung was as large.

        A rung of less than the last digit of x has D = 0, which says nothing.
        """
        short = torch.isinf(self.high) & (REACH * self.guess < least)
        rays = short.nonzero()[:, 0]
        if len(rays):
            self._look(rays, least[rays, None])

    def descend(self, floor: Tensor) -> None:
        """Look below the lowest rung, to a floor [R], where it was above τ."""
        for rungs, windows in (_DOWN, _FURTHER):
            steps = 2.0 ** torch.arange(-rungs, 0).to(self.guess)
            for _ in range(windows):
                open_ = (self.low == 0) & torch.isfinite(self.high)
                rays = (open_ & (self.high > floor)).nonzero()[:, 0]
                if not len(rays):
                    return
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
            some, at = rays[below], first[below].unsqueeze(1)
            for names, part in (
                (("before", "low"), radii),
                (("at_before", "at_low"), values),
            ):
                known = [getattr(self, name)[some].unsqueeze(1) for name in names]
                rungs = torch.cat([*known, part[below]], dim=1)
                for place, name in enumerate(names):
                    found = rungs.gather(1, at + place).squeeze(1)
                    getattr(self, name)[some] = found


def _refined(evaluate: Evaluate, ladder: _Ladder, tau: float) -> Tensor:
    """Close the brackets, and return what they close on."""
    found = torch.where(ladder.low == 0, 0.0, ladder.high)
    found = torch.where(torch.isinf(ladder.high), torch.inf, found)
    found = found.masked_fill(ladder.lost, torch.nan)
    rays = (torch.isfinite(found) & (ladder.low > 0)).nonzero()[:, 0]
    points = _Points.of(ladder, rays, tau)
    halve, flat = (torch.zeros_like(rays, dtype=torch.bool) for _ in range(2))
    for _ in range(_STEPS):
        if not len(rays):
            break
        middle = torch.where(halve, points.middle, points.crossing())
        value = evaluate(rays, middle.exp().unsqueeze(1)).squeeze(1)
        above, level = value >= tau, _level(points.g[:, 1])
        g = (value / tau).log()
        nearest, width = points.g[:, :2].abs().amin(dim=1), points.width
        points = points.with_end(middle, g, above)
        hit = _level(g) & points.solved(g) & ~(above & level)
        lost = value.isnan()
        flat = flat | (above & level & _level(g))
        met = ~above & level & ~flat & points.together
        slow = (points.width > width / 2) & ~(g.abs() < nearest / 4)
        closed = hit | met | lost | (points.width <= _WIDTH)
        end = torch.where(met, points.secant(), points.at[:, 1])
        radius = torch.where(hit, middle, end).exp()
        found[rays[closed]] = radius.masked_fill(lost, torch.nan)[closed]
        rays, points = rays[~closed], points.take(~closed)
        halve, flat = (slow | flat)[~closed], flat[~closed]
    found[rays] = points.at[:, 1].exp()
    return found


@dataclass(frozen=True)
class _Points:
    """Where D was taken on k rays: both ends of each bracket, then up to two others.

    Shapes: at [k, 4], log r, and g [k, 4], log(D/τ); ±∞ or NaN where there is no point
    or no logarithm.
    """

    at: Tensor
    g: Tensor

    @classmethod
    def of(cls, ladder: _Ladder, rays: Tensor, tau: float) -> _Points:
        """Return the rungs around τ, and the one below them."""
        rungs = [ladder.low, ladder.high, ladder.before]
        values = [ladder.at_low, ladder.at_high, ladder.at_before]
        nothing = torch.full_like(ladder.low, torch.nan)
        at, g = (torch.stack([*p, nothing], 1)[rays] for p in (rungs, values))
        return cls(at.log(), (g / tau).log())

    @property
    def width(self) -> Tensor:
        """That of the brackets [k]."""
        return self.at[:, 1] - self.at[:, 0]

    @property
    def middle(self) -> Tensor:
        """That of the brackets [k]."""
        return (self.at[:, 0] + self.at[:, 1]) / 2

    def solved(self, g: Tensor) -> Tensor:
        """Return whether a point with this g [k] is at the crossing, by the secant."""
        rise = self.g[:, 1] - self.g[:, 0]
        return ~(g.abs() * self.width > EXACT * rise)

    @property
    def near(self) -> Tensor:
        """Whether D at the lower ends is so near τ that it does not jump [k]."""
        return self.g[:, 0] > -_NEAR

    @property
    def together(self) -> Tensor:
        """Whether ends are as near as an end at the level is to the crossing [k]."""
        return self.width <= torch.where(self.near, 4 * EXACT, EXACT)

    def secant(self) -> Tensor:
        """Return where the line through both ends is at g = 0 [k]; at a jump, above."""
        (low, high), width = self.g[:, :2].unbind(dim=1), self.width
        share = torch.where(self.near, high / (high - low), 0.0)
        return self.at[:, 1] - share * width

    def take(self, chosen: Tensor) -> _Points:
        """Return those of some rays."""
        return _Points(self.at[chosen], self.g[chosen])

    def with_end(self, at: Tensor, g: Tensor, above: Tensor) -> _Points:
        """Return the points with another end [k], the upper one where `above`."""
        return _Points(
            *(
                torch.stack(
                    [
                        torch.where(above, old[:, 0], new),
                        torch.where(above, new, old[:, 1]),
                        torch.where(above, old[:, 1], old[:, 0]),
                        old[:, 2],
                    ],
                    dim=1,
                )
                for new, old in ((at, self.at), (g, self.g))
            )
        )

    def crossing(self) -> Tensor:
        """Return about where g = 0 [k], inside of the brackets, by Neville's scheme."""
        low, high = self.at[:, 0], self.at[:, 1]
        best, edge = self.middle, self.width * _EDGE
        off = 2 * EXACT * self.width / (self.g[:, 1] - self.g[:, 0])
        off = torch.minimum(torch.maximum(off, edge), self.width / 2)
        off = torch.where(_level(self.g[:, 1]), off, edge)
        row = list(self.at.unbind(dim=1))
        for order in range(1, len(row)):
            row = [
                (self.g[:, i + order] * row[i] - self.g[:, i] * row[i + 1])
                / (self.g[:, i + order] - self.g[:, i])
                for i in range(len(row) - 1)
            ]
            inside = (row[0] >= low) & (row[0] <= high)
            best = torch.where(inside, row[0], best)
        return torch.minimum(torch.maximum(best, low + edge), high - off)


def _level(g: Tensor) -> Tensor:
    """Return where D is τ, as far as it is solved for."""
    return torch.expm1(g).abs() <= EXACT
