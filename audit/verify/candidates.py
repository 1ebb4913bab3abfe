"""Candidates for witnesses: several for each input and size, which climb together.

A candidate beside a better one, by a twentieth of their lengths, is its twin, and
rests: both would end at one point. A candidate that gains less than three thousandths
in a whole round is settled, and rests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.measure.bounds import Bounds
from audit.verify.climbing import Summits, climb
from audit.verify.exact import Exact
from audit.verify.feasible import Feasible
from audit.verify.local import LocalLaw
from audit.verify.rough import rough
from audit.verify.slopes import Pulled, slope_of
from audit.verify.starts import names_of
from audit.verify.strides import lowered
from audit.verify.wandering import Wanderer

Search = Callable[[Tensor, Feasible, Tensor, int], Summits]
ASCENT = "ascent"
SHARED, GIVEN = "another size's witness", "given"
_TWIN = 0.05  # of their lengths: candidates nearer than that end at one point
_SETTLED = 3e-3  # of D: a round that gains no more is the last one
_COMPARED, _POLISH = 2, 4  # candidates that float64 compares; steps of the better one
_BLUR = 1e-3  # of D, at most, in float32
_BLIND = 16  # moves of random search for a step of ascent


@dataclass(frozen=True)
class Candidates:
    """K candidates for each of n inputs and S sizes.

    Shapes: u [n, S, K, m]; value, origin and through [n, S, K], whether nothing more is
        to be gained there. start: the best of D at the starts [n, S].
    """

    u: Tensor
    value: Tensor
    origin: Tensor
    through: Tensor
    start: Tensor

    def best(self, count: int, inner: int | None = None) -> Candidates:
        """Return the best of them, in descending order; twins of better ones rest.

        Args:
            count: how many.
            inner: how many go on at sizes that have a larger one; None: as many.
        """
        count = min(count, self.value.shape[2])
        at = self.value.argsort(dim=2, descending=True, stable=True)[:, :, :count]
        u = self.u.gather(2, at.unsqueeze(3).expand(*at.shape, self.u.shape[3]))
        value, origin = self.value.gather(2, at), self.origin.gather(2, at)
        through = self.through.gather(2, at) | twins(u)
        if inner is not None:
            through[:, :-1, inner:] = True
        return Candidates(u, value, origin, through, self.start)


def clusters(u: Tensor) -> Tensor:
    """Return how many of u [n, S, K, m] lie apart from all before them [n, S]."""
    return (~twins(u)).sum(dim=2)


def twins(u: Tensor) -> Tensor:
    """Tell which of u [n, S, K, m] lie beside one before them [n, S, K]."""
    apart = torch.cdist(u, u, compute_mode="donot_use_mm_for_euclid_dist")
    length = u.norm(dim=3)
    near = apart <= _TWIN * torch.maximum(length.unsqueeze(3), length.unsqueeze(2))
    return near.tril(diagonal=-1).any(dim=3)


class Climbers:
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
        self.exactly: Search | None = None
        self.blur = 0.0
        """How far, of D, the values are off that the search compares."""
        self.by = ASCENT
        self.origins = (*names_of(p), GIVEN, SHARED)

    @property
    def blind(self) -> bool:
        """Whether nothing says which way is up: values alone are compared."""
        return self.by != ASCENT

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

    def on(self, before: Candidates, steps: int) -> Candidates:
        """Return where candidates lead with some more steps; the settled ones rest."""
        after = self.searched(before, steps)[0]
        gain = after.value - before.value
        settled = (before.value > 0) & (gain <= _SETTLED * before.value)
        return replace(after, through=after.through | settled)

    def shared(self, ours: Candidates) -> Candidates:
        """Return each size's candidates beside the best ones of its neighbours."""
        last = self.sizes.shape[1] - 1
        parts, origin = [ours.u], [ours.origin]
        one = ours.u[:, :, :1]
        unknown = torch.full_like(ours.value[:, :, :1], -torch.inf).expand(-1, -1, 2)
        for step in (-1, 1):
            at = (torch.arange(last + 1) + step).clamp(0, last).to(self.sizes.device)
            moved = self.within(1).outermost(one[:, at].reshape(-1, self.m))
            parts.append(self.within(1).nearest(moved).reshape(one.shape))
            code = self.origins.index(SHARED)
            origin.append(torch.full_like(ours.origin[:, :, :1], code))
        u, codes = torch.cat(parts, dim=2), torch.cat(origin, dim=2)
        value = torch.cat([ours.value, unknown], dim=2)
        settled = ours.through.all(dim=2, keepdim=True).expand_as(unknown)
        through = twins(u) | torch.cat([ours.through, settled], dim=2)
        return Candidates(u, value, codes, through, ours.start)

    def choose_search(self, u: Tensor, wide: bool) -> Search:
        """Return ascent, or random search where there is no gradient.

        Args:
            u: where it begins [C, m]; what gradients are worth is seen there.
            wide: whether it is a search from many starts, worth a rough guide.
        """
        count = len(u) // self.n
        rows = self.rows(count // self.sizes.shape[1])
        spread = torch.arange(0, len(u), max(1, len(u) // 64), device=u.device)
        slope = slope_of(self.exact, rows[spread], u[spread])
        if slope is not None:
            self.exactly = partial(climb, slope)
            plain = isinstance(slope, Pulled) and slope.by_autograd
            guide = rough(self.exact) if plain and wide else None
            if guide is None:
                return self.exactly
            self.blur = _BLUR
            return partial(climb, guide)
        self.by = "random search"
        wander = Wanderer(self.exact)
        return lambda rows, sets, u, steps: wander(rows, sets, u, _BLIND * steps)

    def polished(self, found: Candidates) -> Candidates:
        """Return the best candidates, climbed on in float64 if that was not so yet."""
        if self.exactly is None or self.search is self.exactly:
            return found
        self.search, best = self.exactly, found.best(_COMPARED)
        value = lowered(self.exact(self.asked, best.u.flatten(1, 2))[0])
        best = replace(best, value=value.reshape(best.value.shape))
        return self.searched(best.best(1), _POLISH)[0]

    def searched(self, before: Candidates, steps: int) -> tuple[Candidates, Tensor]:
        """Return where candidates lead, and D where they were [n, S, K]."""
        assert self.search is not None
        shape, count = before.value.shape, before.value.shape[2]
        at = (~before.through).reshape(-1).nonzero()[:, 0]
        if not len(at):
            return before, before.value
        u, value = (
            before.u.reshape(-1, self.m).clone(),
            before.value.reshape(-1).clone(),
        )
        first, through = value.clone(), before.through.reshape(-1).clone()
        rows, within = self.rows(count)[at], self.within(count).take(at)
        found = self.search(rows, within, u[at], steps)
        u[at], value[at] = found.u, found.value
        first[at], through[at] = found.first, found.through
        after = Candidates(
            u.reshape(before.u.shape),
            value.reshape(shape),
            before.origin,
            through.reshape(shape),
            before.start,
        )
        return after, first.reshape(shape)
