"""Witnesses: perturbations that move the prediction as far as any that was found.

D(q_x ‖ q_{x+Su}) at a u with ‖u‖_p ≤ ε is a lower bound on the maximum over the ball,
whoever found u. It is found by ascent (`climbing`), by random search where no gradient
exists (`wandering`), from several starts (`starts`), for several sizes at once:

1.  Every start climbs a few steps, at each size.
2.  The best of them, for each input and size, climb on.
3.  The best one climbs to its end, beside the best ones of the next smaller and the
    next larger size, brought to this size: sizes share what they found.

Balls are nested: where a smaller size's witness is worth more, it is the larger one's
as well. So a value is never below that of any of its starts, nor of a smaller size. It
is taken anew at the end by the same exact evaluation as every value of the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.verify.bounds import Bounds
from audit.verify.climbing import Summits, climb, gains, lowered
from audit.verify.feasible import Feasible
from audit.verify.local import LocalLaw
from audit.verify.sites import Exact
from audit.verify.slopes import slope_of
from audit.verify.starts import names_of, starts
from audit.verify.wandering import Wanderer

Search = Callable[[Tensor, Feasible, Tensor, int], Summits]
SHARED, GIVEN = "another size's witness", "given"
_TWIN = 0.05  # of their lengths: candidates nearer than that end at one point
_BLIND = 8  # moves of random search for a step of ascent


@dataclass(frozen=True)
class Effort:
    """Steps of the three rounds, and how many candidates are left after the first."""

    first: int = 3
    kept: int = 4
    second: int = 10
    last: int = 30


EFFORT = Effort()
THRIFTY = Effort(1, 1, 2, 3)  # where each value is a mean over draws


@dataclass(frozen=True)
class Witness:
    """What was found at n inputs, for S sizes.

    Args:
        u: perturbations [n, S, m], in the frame. size: ε [n, S]. p: of the norm.
        value: D there [n, S]; ∞ where x + δ has no law of the family any more, NaN
            where no value on the way was a number. error: its standard error [n, S].
        origin: which of `origins` the best candidate started from [n, S].
        improved: whether the search gained on the best of its starts [n, S].
        origins: names of starts.
        by: "ascent", or "random search" where there is no gradient.
    """

    u: Tensor
    size: Tensor
    p: float
    value: Tensor
    error: Tensor
    origin: Tensor
    improved: Tensor
    origins: tuple[str, ...]
    by: str

    def said(self) -> str:
        """Return a sentence about inputs where the search gained nothing; "" if none.

        Infinite values are at their maximum where they start.
        """
        stuck = int((~self.improved & torch.isfinite(self.value)).all(dim=1).sum())
        if not stuck:
            return ""
        return (
            f"on {stuck} of {len(self.value)} inputs the {self.by} never improved on "
            "its starts: the witness is the best of these"
        )


def ascend(
    exact: Exact,
    local: LocalLaw,
    sizes: Tensor,
    p: float = 2.0,
    bounds: Bounds | None = None,
    effort: Effort | None = None,
    given: Tensor | None = None,
    rows: Tensor | None = None,
    alone: bool = False,
) -> Witness:
    """Return witnesses at n inputs of a site.

    Args:
        exact: the divergence.
        local: its local law, with directions to start along.
        sizes: ε, ascending and positive, [S] or for each input [n, S].
        p: of the norm, 1, 2 or ∞.
        bounds: the valid range of the inputs; None: everything.
        effort: None: by whether values are exact or means over draws.
        given: further directions to start along [n, K, m].
        rows: the site's inputs that are asked about [n]; None: all.
        alone: whether to start along the given directions only.

    Raises:
        ConfigError: an input is out of bounds.
    """
    climbers = _Climbers(exact, local, sizes, p, bounds, rows)
    effort = effort or (THRIFTY if exact.laws.sampled else EFFORT)
    found = climbers.from_starts(given, alone, effort.first)
    found = climbers.on(found.best(effort.kept), effort.second)
    shared = climbers.shared(found.best(1))
    found = climbers.on(shared, effort.last)
    return climbers.witness(found.best(1))


@dataclass(frozen=True)
class _Candidates:
    """K candidates for each of n inputs and S sizes.

    Shapes: u [n, S, K, m]; value, origin and through [n, S, K], whether nothing more is
        to be gained there. start: the best of D at the starts [n, S].
    """

    u: Tensor
    value: Tensor
    origin: Tensor
    through: Tensor
    start: Tensor

    def best(self, count: int) -> _Candidates:
        """Return the best of them, in descending order; twins of better ones rest."""
        count = min(count, self.value.shape[2])
        at = self.value.argsort(dim=2, descending=True, stable=True)[:, :, :count]
        u = self.u.gather(2, at.unsqueeze(3).expand(*at.shape, self.u.shape[3]))
        value, origin = self.value.gather(2, at), self.origin.gather(2, at)
        through = self.through.gather(2, at) | _twins(u)
        return _Candidates(u, value, origin, through, self.start)


def _twins(u: Tensor) -> Tensor:
    """Tell which of u [n, S, K, m] lie beside one before them [n, S, K]."""
    apart = torch.cdist(u, u, compute_mode="donot_use_mm_for_euclid_dist")
    length = u.norm(dim=3)
    near = apart <= _TWIN * torch.maximum(length.unsqueeze(3), length.unsqueeze(2))
    return near.tril(diagonal=-1).any(dim=3)


class _Climbers:
    """The sets and the search that all rounds share."""

    def __init__(
        self,
        exact: Exact,
        local: LocalLaw,
        sizes: Tensor,
        p: float,
        bounds: Bounds | None,
        rows: Tensor | None,
    ) -> None:
        site = exact.site
        self.exact, self.local, self.p = exact, local, p
        everyone = torch.arange(len(site.x), device=site.x.device)
        self.asked = everyone if rows is None else rows
        self.n, self.m = len(self.asked), site.free
        self.sizes = sizes.to(local.worst).expand(self.n, sizes.shape[-1])
        self.box = None if bounds is None else bounds.box(site)
        self.search: Search | None = None
        self.by = "ascent"
        self.origins = (*names_of(p), GIVEN, SHARED)

    def rows(self, count: int) -> Tensor:
        """Return the input [n · S · K] of each of K candidates."""
        return self.asked.repeat_interleave(self.sizes.shape[1] * count)

    def within(self, count: int) -> Feasible:
        """Return the sets of K candidates for each input and size."""
        size = self.sizes.unsqueeze(2).expand(*self.sizes.shape, count).reshape(-1)
        if self.box is None:
            return Feasible(Ball(self.p), size)
        rows = self.rows(count)
        return Feasible(Ball(self.p), size, self.box[0][rows], self.box[1][rows])

    def from_starts(self, given: Tensor | None, alone: bool, steps: int) -> _Candidates:
        """Return where the starts lead."""
        along, code = self._starts(given, alone)
        count = along.shape[1]
        wide = along.unsqueeze(1).expand(self.n, self.sizes.shape[1], count, self.m)
        u = self.within(count).outermost(wide.reshape(-1, self.m))
        u = self.within(count).nearest(u)
        origin = code.expand(*wide.shape[:3])
        lowest = torch.full_like(self.sizes, -torch.inf)
        unknown = lowest.unsqueeze(2).expand(origin.shape)
        none = torch.zeros_like(origin, dtype=torch.bool)
        before = _Candidates(u.reshape(wide.shape), unknown, origin, none, lowest)
        self.search = self._search(u)
        found, first = self._searched(before, steps)
        return replace(found, start=first.amax(dim=2))

    def _starts(self, given: Tensor | None, alone: bool) -> tuple[Tensor, Tensor]:
        """Return directions to start along [n, K, m], and their origins [K]."""
        more = self.sizes.new_zeros(self.n, 0, self.m) if given is None else given
        label = self.origins.index(GIVEN)
        code = torch.full((more.shape[1],), label, device=self.sizes.device)
        if alone and len(code):
            return more, code
        along = starts(self.exact.site, self.local, self.p)[self.asked]
        own = torch.arange(along.shape[1], device=along.device)
        return torch.cat([along, more.to(along)], dim=1), torch.cat([own, code])

    def on(self, before: _Candidates, steps: int) -> _Candidates:
        """Return where candidates lead with some more steps."""
        return self._searched(before, steps)[0]

    def shared(self, one: _Candidates) -> _Candidates:
        """Return each size's best candidate beside those of its neighbours."""
        last = self.sizes.shape[1] - 1
        parts, origin = [one.u], [one.origin]
        unknown = torch.full_like(one.value, -torch.inf).expand(-1, -1, 2)
        for step in (-1, 1):
            at = (torch.arange(last + 1) + step).clamp(0, last).to(self.sizes.device)
            moved = self.within(1).outermost(one.u[:, at].reshape(-1, self.m))
            parts.append(self.within(1).nearest(moved).reshape(one.u.shape))
            origin.append(torch.full_like(one.origin, self.origins.index(SHARED)))
        u, codes = torch.cat(parts, dim=2), torch.cat(origin, dim=2)
        value = torch.cat([one.value, unknown], dim=2)
        through = _twins(u) | torch.cat([one.through, unknown > 0], dim=2)
        return _Candidates(u, value, codes, through, one.start)

    def witness(self, one: _Candidates) -> Witness:
        """Return the best candidates, their values taken anew, sizes nested."""
        u, origin = one.u[:, :, 0], one.origin[:, :, 0]
        value, error = self.exact(self.asked, u)
        best = lowered(value)
        held = torch.arange(value.shape[1], device=value.device).expand_as(value)
        held = torch.where(best >= best.cummax(dim=1).values, held, -1)
        held = held.cummax(dim=1).values
        carried = held != torch.arange(value.shape[1], device=value.device)
        origin = torch.where(
            carried, self.origins.index(SHARED), origin.gather(1, held)
        )
        value, error = value.gather(1, held), error.gather(1, held)
        u = u.gather(1, held.unsqueeze(2).expand_as(u))
        improved = gains(lowered(value), one.start)
        sizes = self.sizes.contiguous()
        names, by = self.origins, self.by
        return Witness(u, sizes, self.p, value, error, origin, improved, names, by)

    def _search(self, u: Tensor) -> Search:
        """Return ascent, or random search where there is no gradient."""
        count = len(u) // self.n
        rows = self.rows(count // self.sizes.shape[1])
        spread = torch.arange(0, len(u), max(1, len(u) // 64), device=u.device)
        slope = slope_of(self.exact, rows[spread], u[spread])
        if slope is not None:
            return partial(climb, slope)
        self.by = "random search"
        wander = Wanderer(self.exact)
        return lambda rows, sets, u, steps: wander(rows, sets, u, _BLIND * steps)

    def _searched(self, before: _Candidates, steps: int) -> tuple[_Candidates, Tensor]:
        """Return where candidates lead, and D where they were [n, S, K]."""
        assert self.search is not None
        shape, count = before.value.shape, before.value.shape[2]
        at = (~before.through).reshape(-1).nonzero()[:, 0]
        u, value = (
            before.u.reshape(-1, self.m).clone(),
            before.value.reshape(-1).clone(),
        )
        first, through = value.clone(), before.through.reshape(-1).clone()
        rows, within = self.rows(count)[at], self.within(count).take(at)
        found = self.search(rows, within, u[at], steps)
        u[at], value[at] = found.u, found.value
        first[at], through[at] = found.first, found.through
        after = _Candidates(
            u.reshape(before.u.shape),
            value.reshape(shape),
            before.origin,
            through.reshape(shape),
            before.start,
        )
        return after, first.reshape(shape)
