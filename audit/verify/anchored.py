"""D along rays by few nodes, put right by its exact values at a few radii.

Where a value of D is a sum over a hundred thousand nodes (`Exact.light`), a search that
takes a hundred of them is done with D_K, a mean over few nodes that are the same for
all. D and D_K are smooth in r and differ by a few per cent, by a factor that changes
slowly along a ray. At an anchor both are taken, and then

    D(r) ≈ c(r) D_K(r),      c = D/D_K at anchors, linear in log r between them

and beyond as far again. What is solved by this is taken as an anchor itself, and solved
again until D at the solution is what it should be: the answer is that of D, and D_K
only said where to look. Along rays where they differ by more than `APART`, as where D
is ∞, and where that does not end, all values are D's own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.verify.crossing import EXACT, crossings
from audit.verify.exact import Exact

APART = 0.25  # of D: where few nodes say something else
TURNS = 5  # solutions, each an anchor of the next
_SEEN = 64  # calls
_NEAR = 1.02  # of the least radius: what may be the least


class Anchored:
    """D on R rays x + r v, by few nodes and anchors.

    Args:
        exact: the divergence, and D_K.
        rows: which input each ray starts from [R].
        directions: v [R, m].
    """

    def __init__(self, exact: Exact, rows: Tensor, directions: Tensor) -> None:
        assert exact.light is not None
        self.exact, self.light = exact, exact.light
        self.rows, self.directions = rows, directions
        self.plain = torch.zeros_like(rows, dtype=torch.bool)
        self._at = directions.new_zeros(len(rows), 0)  # log r, ascending; then ∞
        self._factor = self._at.clone()  # log c
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []  # the last of D_K

    def __call__(self, rays: Tensor, radii: Tensor) -> Tensor:
        """Return D [k, K] of some rays [k] at radii [k, K]."""
        found = torch.empty_like(radii)
        for exact, chosen in ((True, self.plain[rays]), (False, ~self.plain[rays])):
            at = chosen.nonzero()[:, 0]
            if len(at):
                asked = rays[at], radii[at]
                found[at] = self.own(*asked) if exact else self._guessed(*asked)
        return found

    def own(self, rays: Tensor, radii: Tensor) -> Tensor:
        """Return D itself."""
        return self._of(self.exact, rays, radii)

    def anchor(self, rays: Tensor, radii: Tensor) -> Tensor:
        """Return D [k] of some rays [k] at a radius each [k], and remember it."""
        if not len(rays):
            return radii
        one = radii.unsqueeze(1)
        value, guess = (
            self._of(by, rays, one)[:, 0] for by in (self.exact, self.light)
        )
        factor = (value / guess).log()
        close = factor.abs() <= math.log1p(APART)
        self.plain[rays[~close]] = True
        at = radii.new_full((len(self.rows), 1), torch.inf)
        new = torch.zeros_like(at)
        at[rays[close], 0], new[rays[close], 0] = radii[close].log(), factor[close]
        self._at, order = torch.cat([self._at, at], dim=1).sort(dim=1, stable=True)
        self._factor = torch.cat([self._factor, new], dim=1).gather(1, order)
        return value

    def _of(self, by: Exact, rays: Tensor, radii: Tensor) -> Tensor:
        u = self.directions[rays].unsqueeze(1) * radii.unsqueeze(2)
        return by(self.rows[rays], u)[0].clamp_min(0)

    def _guessed(self, rays: Tensor, radii: Tensor) -> Tensor:
        """Return c D_K; a search that begins anew asks for the same D_K again."""
        known = (
            values
            for at, far, values in self._seen
            if torch.equal(at, rays) and torch.equal(far, radii)
        )
        found = next(known, None)
        if found is None:
            found = self._of(self.light, rays, radii)
            self._seen = [(rays, radii, found), *self._seen[: _SEEN - 1]]
        return found * self._factors(rays, radii).exp()

    def _factors(self, rays: Tensor, radii: Tensor) -> Tensor:
        """Return log c [k, K]; 0 where there is no anchor."""
        at, factor, x = self._at[rays], self._factor[rays], radii.log()
        count = at.isfinite().sum(dim=1, keepdim=True)
        if not bool((count > 0).any()):
            return torch.zeros_like(radii)
        high = torch.minimum(torch.searchsorted(at, x).clamp_min(1), count - 1)
        high = high.clamp_min(0)
        low = (high - 1).clamp_min(0)
        start, end = at.gather(1, low), at.gather(1, high)
        share = torch.where(end > start, (x - start) / (end - start), 0.0)
        share = share.clamp(-1, 2)
        return torch.lerp(factor.gather(1, low), factor.gather(1, high), share)


def crossed(
    exact: Exact,
    rows: Tensor,
    directions: Tensor,
    guess: Tensor,
    tau: float,
    scale: Tensor,
    most: Tensor,
) -> Tensor:
    """Return the radii [R] at which D reaches τ, by few nodes where these do.

    Args:
        exact: the divergence.
        rows: which input each ray starts from [R].
        directions: of the rays, of norm one [R, m].
        guess: r₀ [R].
        tau: τ > 0.
        scale: a radius [R] that is not small.
        most: what radii [R] are to be below, to be of interest.
    """
    if exact.light is not None:
        rays = Anchored(exact, rows, directions)
        return anchored_crossings(rays, guess, tau, scale, most)

    def evaluate(at: Tensor, radii: Tensor) -> Tensor:
        moved = directions[at].unsqueeze(1) * radii.unsqueeze(2)
        return exact(rows[at], moved)[0].clamp_min(0)

    return crossings(evaluate, guess, tau, scale)


def anchored_crossings(
    rays: Anchored, guess: Tensor, tau: float, scale: Tensor, most: Tensor
) -> Tensor:
    """Return the radii [R] at which D reaches τ, as `crossing.crossings`.

    Those beyond the most that is of interest stay as D_K has them, and so do those that
    are not the least of their input, where D itself is below τ at that one.

    Args:
        rays: D along them.
        guess: r₀ [R].
        tau: τ > 0.
        scale: a radius [R] that is not small.
        most: what radii [R] are to be below.
    """
    found = _solved(rays, torch.arange(len(guess)).to(rays.rows), guess, tau, scale)
    open_ = torch.ones_like(rays.plain)
    while True:
        least = _least(rays, found)
        wanted = open_ & ~(found > _NEAR * most)
        at = (wanted & ~(found > _NEAR * least)).nonzero()[:, 0]
        if not len(at):
            at = (wanted & least.isfinite()).nonzero()[:, 0]
            at = at[~(rays.anchor(at, least[at]) < tau)]
            rays.plain[at] = True
        if not len(at):
            return found
        found[at] = _exactly(rays, at, found[at], guess[at], tau, scale[at])
        open_[at] = False


def _least(rays: Anchored, found: Tensor) -> Tensor:
    """Return the least radius of each ray's input [R], of those that are found [R]."""
    none = torch.full((int(rays.rows.max()) + 1,), torch.inf).to(found)
    known = found.nan_to_num(torch.inf, torch.inf)
    return none.scatter_reduce(0, rays.rows, known, "amin")[rays.rows]


def _exactly(
    rays: Anchored, at: Tensor, start: Tensor, guess: Tensor, tau: float, scale: Tensor
) -> Tensor:
    """Return crossings of D itself on some rays [k], from those of D_K [k]."""
    found, solved = start.clone(), torch.zeros_like(rays.plain[at])
    for turn in range(TURNS):
        known = found.isfinite() & (found > 0) & ~rays.plain[at]
        on = (known & ~solved).nonzero()[:, 0]
        if not len(on):
            break
        if turn:
            found[on] = _solved(rays, at[on], found[on], tau, scale[on])
            on = on[found[on].isfinite() & (found[on] > 0)]
        value = rays.anchor(at[on], found[on])
        solved[on] = (value / tau - 1).abs() <= EXACT
    rest = (~solved).nonzero()[:, 0]
    if len(rest):
        rays.plain[at[rest]] = True
        found[rest] = _solved(rays, at[rest], guess[rest], tau, scale[rest])
    return found


def _solved(
    rays: Anchored, at: Tensor, guess: Tensor, tau: float, scale: Tensor
) -> Tensor:
    """Return where D, as it is known, crosses τ on some rays [k]."""
    return crossings(lambda some, radii: rays(at[some], radii), guess, tau, scale)
