"""How far the local number is right, and which of ±v is worse beyond.

The validity radius is the largest r with |D(q_x ‖ q_{x ± s v}) / law(s v) − 1| ≤ 10 %
for every s ≤ r that was looked at, on both sides of the worst direction v: a ladder of
radii upwards from where the law predicts 10⁻⁷, to where it predicts about 10⁴, then
secants (`bracket`) between the last rung that holds and the first that does not, to a
ten-thousandth. Where a law is all but certain the form is next to nothing, and predicts
10⁻⁷ only far outside of where it holds: where the lowest rung is off, the ladder goes
down to a millionth of the input's own size.
A violation between two rungs that both hold is not seen.

The skew is taken at that radius r, or at the last rung where the law holds all the way:

    skew = (D(+r v) − D(−r v)) / (D(+r v) + D(−r v))        in [−1, 1]

To second order it is 0; with D(±r v) = c λ r² ± κ r³ it is κ r / (c λ). Above zero the
side of +v is the worse one, v as the report's directions have it, and (1 + skew) /
(1 − skew) is how many times as much it costs.

Nothing is said where the file runs in float32 alone (its rounding is 10 % of so small a
step, and a radius of zero would be an artefact) nor where D is a mean over draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audit.ground.student import student_quantile
from audit.measure.columns import NO_DIRECTION, NOT_RESOLVED, values_of
from audit.measure.linear_law import LinearLaw
from audit.reports.values import Values
from audit.verify.anchored import TURNS, Anchored
from audit.verify.attacks import TOLERANCE
from audit.verify.bracket import Bracket
from audit.verify.exact import Exact
from audit.verify.local import LocalLaw

_SMALLEST = 1e-7  # of a nat, or what the divergence's unit is: D of the lowest rung
_RUNGS, _FACTOR = 32, 1.5  # for a law that is quadratic: to 8 · 10¹⁰ times as much
_TOGETHER = 8  # rungs
_DOWN, _WINDOWS = 16, 60  # rungs of a window below the ladder, and windows
_FLOOR = 1e-6  # of an input's own size, where the lowest rung is off
_CLOSE = 1e-4  # of a radius, which is known within that
COLUMNS = ("validity_radius", "skew")
EVERYWHERE = "within 10 % at every radius that was tried, to where the law says 10⁴"
NO_FORM = "no worst direction with a finite form"
NOISY = "exact values are means over draws, whose noise hides where the two part"
BLURRED = "the file does not run in float64, and small steps are blurred by rounding"


@dataclass(frozen=True)
class Validity:
    """The range of the local law at n inputs.

    Shapes: radius [n]; 0 where every rung to the floor is off, ∞ where every rung
        holds, NaN where no direction is the worst.
        skew [n], NaN where D is no number there.
    """

    radius: Tensor
    skew: Tensor


def validity_columns(exact: Exact, local: LocalLaw) -> dict[str, Values]:
    """Return the validity radius and the skew as columns, or why there are none."""
    why = ""
    if exact.laws.sampled or local.sampled:
        why = NOISY
    elif exact.site.model.network.dtype != torch.float64:
        why = BLURRED
    if why:
        nothing = Values.unmeasured(len(local.size), why)
        return dict.fromkeys(COLUMNS, nothing)
    found = validity(exact, local)
    still, open_ = ~local.directed & (local.size == 0), found.radius.isnan()
    reasons = {NO_DIRECTION: still, NO_FORM: open_}
    radius = values_of(
        found.radius, None, {**reasons, EVERYWHERE: found.radius.isinf()}
    )
    skew = values_of(found.skew, None, {**reasons, NOT_RESOLVED: found.skew.isnan()})
    return dict(zip(COLUMNS, (radius, skew), strict=True))


def validity(exact: Exact, local: LocalLaw) -> Validity:
    """Return up to which radius the local law is right within 10 %, and its skew."""
    unit = local.radius(_SMALLEST)
    usable = local.directed & torch.isfinite(unit) & (unit > 0)
    rows = usable.nonzero()[:, 0]
    nothing = torch.full_like(local.size, torch.nan)
    if not len(rows):
        return Validity(nothing, nothing.clone())
    search = _Search(exact, local, rows)
    radius, skew = search.found(unit[rows])
    return Validity(
        nothing.index_put((rows,), radius), nothing.index_put((rows,), skew)
    )


@dataclass(frozen=True)
class _Search:
    """Radii along ±v of some inputs [k]."""

    exact: Exact
    local: LocalLaw
    rows: Tensor

    def found(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the radius up to which the law holds [k], and the skew there.

        Where D is known by few nodes and anchors, the lowest rung becomes an anchor on
        both sides, then what is found, on the side that ends it, until it stands there,
        and at last on the other one.
        """
        radius, at = self._once(start)
        if self.rays is None:
            return radius, self.skew(at)
        everyone = torch.arange(len(start), device=start.device)
        both = torch.arange(2 * len(start), device=start.device)
        self.rays.anchor(both, self.lowest(start).repeat_interleave(2))
        radius, at = self._once(start)
        stood = torch.zeros(len(start), 2, dtype=torch.bool, device=start.device)
        for _ in range(TURNS * 2):
            worse = self._sides(at, everyone).argmax(dim=1)
            side = torch.where(
                stood.any(dim=1), (~stood).to(torch.int8).argmax(1), worse
            )
            before, open_ = at, (~stood.all(dim=1)).nonzero()[:, 0]
            self.rays.anchor(2 * open_ + side[open_], before[open_])
            radius, at = self._once(start)
            near = (at / before - 1).abs() <= 2 * _CLOSE  # each is known to one
            stood = stood & near.unsqueeze(1)
            stood[open_, side[open_]] = near[open_]
            if bool(stood.all()):
                return radius, self.skew(at)
        self.rays.plain[:] = True
        radius, at = self._once(start)
        return radius, self.skew(at)

    def _once(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the radius [k], and the last rung that holds, or the lowest of all."""
        lowest = self.lowest(start)
        low, high, *ends = self.bracket(lowest)
        inner = self.narrowed(low, high, *ends)
        radius = torch.where(torch.isinf(high), torch.inf, inner)
        return radius, torch.where(inner > 0, inner, lowest)

    def _sides(self, radii: Tensor, at: Tensor) -> Tensor:
        """Return how far D is from the law at a radius each [k], on either side."""
        values, _, law = self.both(radii.unsqueeze(1), at)
        off: Tensor = ((values - law).abs() / law).squeeze(1)
        return off

    @property
    def _factor(self) -> float:
        return _FACTOR**2 if isinstance(self.local.law, LinearLaw) else _FACTOR

    @cached_property
    def rays(self) -> Anchored | None:
        """Both sides of v of each input, where few nodes are to tell D."""
        if self.exact.light is None:
            return None
        v = self.local.worst[self.rows]
        both = torch.stack([v, -v], dim=1).flatten(0, 1)
        return Anchored(self.exact, self.rows.repeat_interleave(2), both)

    def both(self, radii: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return D, its error and the law at ±r v [n, K, 2], for radii [k, K]."""
        rows = self.rows[at]
        v = self.local.worst[rows]
        u = torch.stack([radii, -radii], dim=2).flatten(1).unsqueeze(2) * v.unsqueeze(1)
        if self.rays is None:
            values, errors = self.exact(rows, u)
        else:
            sides = torch.stack([2 * at, 2 * at + 1], dim=1).flatten()
            values = self.rays(sides, radii.repeat_interleave(2, dim=0))
            values = values.reshape(len(at), 2, -1).mT.reshape(len(at), -1)
            errors = torch.zeros_like(values)
        shape = (*radii.shape, 2)
        law = self.local.at(rows, u)
        return values.reshape(shape), errors.reshape(shape), law.reshape(shape)

    def off(self, radii: Tensor, at: Tensor) -> Tensor:
        """Return how far D is from the law at radii [k, K], on the worse side.

        As a share of the law, less what the errors of D may be; NaN and ∞ stay.
        """
        values, errors, law = self.both(radii, at)
        slack = student_quantile(math.inf) * errors
        return (((values - law).abs() - slack) / law).amax(dim=2).clamp_min(0)

    def lowest(self, start: Tensor) -> Tensor:
        """Return the radii [k] to climb from: the first, downwards, that hold.

        Those of `start` where they hold, and where none does down to the floor.
        """
        floor = _FLOOR * self.exact.site.lengths()[self.rows]
        everyone = torch.arange(len(start), device=start.device)
        holds = self.off(start.unsqueeze(1), everyone).squeeze(1) <= TOLERANCE
        found, at = start.clone(), (~holds & (start > floor)).nonzero()[:, 0]
        steps = _FACTOR ** -torch.arange(1, _DOWN + 1, device=start.device).to(start)
        least = start.clone()
        for _ in range(_WINDOWS):
            if not len(at):
                break
            radii = least[at].unsqueeze(1) * steps
            good = self.off(radii, at) <= TOLERANCE
            some, first = good.any(dim=1), good.to(torch.int8).argmax(dim=1)
            there = radii.gather(1, first.unsqueeze(1)).squeeze(1)
            found[at[some]] = there[some]
            least[at] = radii[:, -1]
            at = at[~some & (radii[:, -1] > floor[at])]
        return found

    def bracket(self, lowest: Tensor) -> tuple[Tensor, ...]:
        """Return the last rung that holds [k], 0 if none, and the next, ∞ if none.

        And how far D is from the law at both. A few rungs at a time: what lies far
        beyond the first that does not hold may be dear, as are the sums of counts with
        a rate of 10⁹.
        """
        rungs = self._factor ** torch.arange(_RUNGS, device=lowest.device).to(lowest)
        radii = lowest.unsqueeze(1) * rungs
        off = torch.full_like(radii, torch.nan)
        climbing = torch.arange(len(lowest), device=lowest.device)
        for first in range(0, _RUNGS, _TOGETHER):
            some = slice(first, first + _TOGETHER)
            off[climbing, some] = self.off(radii[climbing, some], climbing)
            climbing = climbing[(off[climbing, some] <= TOLERANCE).all(dim=1)]
            if not len(climbing):
                break
        good = (off <= TOLERANCE).to(torch.int8).cumprod(dim=1).sum(dim=1, keepdim=True)
        padded = torch.nn.functional.pad(radii, (1, 1))
        padded[:, -1] = torch.inf
        off = torch.nn.functional.pad(off, (1, 1))
        ends = [part.gather(1, at) for part in (padded, off) for at in (good, good + 1)]
        low, high, at_low, at_high = (end.squeeze(1) for end in ends)
        return low, high, at_low, at_high

    def narrowed(
        self, low: Tensor, high: Tensor, at_low: Tensor, at_high: Tensor
    ) -> Tensor:
        """Return the end [k] of what holds between a rung that does and one not."""
        found = low.clone()
        at = ((low > 0) & torch.isfinite(high)).nonzero()[:, 0]
        if not len(at):
            return found
        search = Bracket(low[at], TOLERANCE, _CLOSE)
        search.between(low[at], high[at], (at_low[at], at_high[at]))
        while bool(search.open.any()):
            some, off = search.open.nonzero()[:, 0], torch.zeros_like(search.size)
            off[some] = self.off(search.size[some].unsqueeze(1), at[some]).squeeze(1)
            search.take(off)  # of those that are open
        found[at] = search.good
        return found

    def skew(self, radius: Tensor) -> Tensor:
        """Return the share [k] by which the two sides part at a radius."""
        everyone = torch.arange(len(self.rows), device=radius.device)
        values, _, _ = self.both(radius.unsqueeze(1), everyone)
        plus, minus = values[:, 0].unbind(dim=1)
        found = (plus - minus) / (plus + minus)
        found = torch.where(torch.isinf(plus) & torch.isfinite(minus), 1.0, found)
        return torch.where(torch.isinf(minus) & torch.isfinite(plus), -1.0, found)
