"""The critical radius: how far an input has to move, on the exact divergence.

Along the worst direction v, on both sides of it, D(q_x ‖ q_{x ± r v}) = τ is solved for
r; the smaller of the two is the input's. An input without a worst direction, because
its form is zero or infinite, is moved along sampled directions, and the first of these
to reach τ counts. There the reach is ten times the input's own norm, or ten where that
is more, since no form says how far is far.

With draws of θ, the same for every r, D̂ is a smooth function of r with an error s. Its
crossing has the interval between those of D̂ + 1.96 s and D̂ − 1.96 s. Where the latter
is not reached, or far off, noise hides the crossing.

Other directions may be worse than v. Where a search of all of them found radii
(`lowering`), the smaller ones count, and those along v stand beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.ground.student import student_quantile
from audit.measure.columns import NOT_RESOLVED, values_of
from audit.reports.doubts import CRITICAL
from audit.reports.roles import ALONG, LOWER, UPPER, Role, named
from audit.reports.values import Values
from audit.verify.anchored import Anchored, anchored_crossings
from audit.verify.crossing import REACH, crossings
from audit.verify.exact import Exact
from audit.verify.local import LocalLaw, sampled_directions

HIDDEN = "the noise of the draws hides where τ is crossed"
FAR = 10.0
"""Of an input's own norm, or of 1: how far is far where no form says so."""
_WIDEST = 4.0  # upper over lower end of an interval that still says something


@dataclass(frozen=True)
class Critical:
    """Critical radii of n inputs.

    Shapes: value, lower, upper [n], in units of the perturbation; ∞ where τ is not
    reached, NaN where it is not known. directed: whether along a worst direction [n].
    hidden: whether noise is why it is not known [n]. sampled: whether draws leave an
    interval at all. along: those along v alone [n], where others were found; else None.
    u: the perturbations [n, m] that they were found at; zeros where there is none.
    """

    value: Tensor
    lower: Tensor
    upper: Tensor
    directed: Tensor
    hidden: Tensor
    sampled: bool
    u: Tensor
    along: Tensor | None = None

    def lowered_to(self, radius: Tensor, u: Tensor) -> Critical:
        """Return the radii [n] with those that were found in other directions.

        Args:
            radius: found [n]; ∞ where nothing was.
            u: where it was found [n, m].
        """
        nearer = (radius < self.value) | (self.value.isnan() & radius.isfinite())
        value = torch.where(nearer, radius, self.value)
        u = torch.where(nearer.unsqueeze(1), u, self.u)
        return replace(
            self, value=value, lower=value, upper=value, along=self.value, u=u
        )

    def columns(self, tau: float) -> dict[str, Values]:
        """Return the radii as columns."""
        found: dict[tuple[Role, ...], Tensor] = {(): self.value}
        if self.sampled:
            found |= {(LOWER,): self.lower, (UPPER,): self.upper}
        if self.along is not None:
            found[(ALONG,)] = self.along
        return {
            named(CRITICAL, *roles): values_of(end, None, self._reasons(end, tau))
            for roles, end in found.items()
        }

    def _reasons(self, end: Tensor, tau: float) -> dict[str, Tensor]:
        unreached = torch.isinf(end)
        return {
            f"{tau:g} is not reached within {REACH:g} second-order radii": unreached
            & self.directed,
            f"{tau:g} is not reached within {FAR:g} times the input's own norm, or "
            f"{FAR:g}, along sampled directions: the form has no worst one": unreached
            & ~self.directed,
            HIDDEN: self.hidden,
            NOT_RESOLVED: end.isnan(),
        }


def critical_radius(exact: Exact, local: LocalLaw, tau: float) -> Critical:
    """Return the critical radii of a site.

    Args:
        exact: the divergence.
        local: its local law, with the worst directions and a guess.
        tau: what has to be reached.
    """
    guess = local.radius(tau)
    usable = local.directed & torch.isfinite(guess) & (guess > 0)
    rays = _rays(exact, local, guess, usable)
    signs = (0.0, 1.0, -1.0) if exact.laws.sampled else (0.0,)
    (value, u), *ends = rays.smallest(exact, tau, signs)
    if not exact.laws.sampled:
        nowhere = torch.zeros_like(usable)
        return Critical(value, value, value, usable, nowhere, False, u)
    (lower, _), (upper, _) = ends
    hidden = torch.isinf(upper) & torch.isfinite(value) | (upper > _WIDEST * lower)
    value, lower, upper = (
        torch.where(hidden, torch.nan, end) for end in (value, lower, upper)
    )
    return Critical(value, lower, upper, usable, hidden, True, u)


@dataclass(frozen=True)
class _Rays:
    """Rays x + r v to search along, several for each of n inputs.

    Shapes: rows [R], which input each starts from; directions [R, m]; guess [R].
    """

    n: int
    rows: Tensor
    directions: Tensor
    guess: Tensor

    def smallest(
        self, exact: Exact, tau: float, signs: tuple[float, ...]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the smallest crossing [n] of D + 1.96 · sign · error over the rays.

        And where it is [n, m], on the first of the rays that have it; zeros where none
        does. One for each sign; they are looked for together, since their ladders ask
        for D at the same radii.
        """
        count = len(self.rows)
        reach = student_quantile(math.inf) * self.guess.new_tensor(signs)

        def evaluate(rays: Tensor, radii: Tensor) -> Tensor:
            asked = torch.cat([(rays % count).to(radii).unsqueeze(1), radii], dim=1)
            once, owner = torch.unique(asked, dim=0, return_inverse=True)
            ray = once[:, 0].long()
            u = self.directions[ray].unsqueeze(1) * once[:, 1:].unsqueeze(-1)
            values, errors = (part[owner] for part in exact(self.rows[ray], u))
            return (values + reach[rays // count].unsqueeze(1) * errors).clamp_min(0)

        scale = exact.site.lengths()[self.rows]
        if signs == (0.0,) and exact.light is not None:
            rays = Anchored(exact, self.rows, self.directions)
            most = torch.full_like(self.guess, torch.inf)
            found = anchored_crossings(rays, self.guess, tau, scale, most)
            return [self._least(found)]
        times = len(signs)
        found = crossings(evaluate, self.guess.repeat(times), tau, scale.repeat(times))
        return [self._least(each) for each in found.chunk(times)]

    def _least(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return each input's least of the crossings [R], and where it is."""
        least = torch.full((self.n,), torch.inf).to(found)
        least = least.scatter_reduce(0, self.rows, found, "amin")
        return least, self._places(found, least)

    def _places(self, found: Tensor, least: Tensor) -> Tensor:
        """Return where the crossings [R] are that are their input's least [n, m]."""
        rays = (found == least[self.rows]) & found.isfinite()
        order = torch.arange(len(found), device=found.device)
        first = torch.full((self.n,), len(found), device=found.device)
        first.scatter_reduce_(0, self.rows[rays], order[rays], "amin")
        there = (first < len(found)).nonzero()[:, 0]
        u = found.new_zeros(self.n, self.directions.shape[1])
        ray = first[there]
        u[there] = self.directions[ray].to(u) * found[ray].unsqueeze(1)
        return u


def _rays(exact: Exact, local: LocalLaw, guess: Tensor, usable: Tensor) -> _Rays:
    """Return ±v where there is a worst direction v, and sampled ones where not."""
    along, open_ = usable.nonzero()[:, 0], (~usable).nonzero()[:, 0]
    v = local.worst[along]
    rows, directions, guesses = [along, along], [v, -v], [guess[along], guess[along]]
    if len(open_):
        sampled = sampled_directions(exact.site, open_)
        count = sampled.shape[1]
        rows.append(open_.repeat_interleave(count))
        directions.append(sampled.flatten(0, 1))
        far = exact.site.lengths()[open_].clamp_min(1.0) * FAR / REACH
        guesses.append(far.repeat_interleave(count))
    return _Rays(len(guess), torch.cat(rows), torch.cat(directions), torch.cat(guesses))
