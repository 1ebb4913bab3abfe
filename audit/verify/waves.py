"""Which starts of a search climb, and which are spared: three waves for each size.

1.  +v and −v, one random start, and those that were given, half as many steps.
2.  v₂ and v₃ with both signs, and one more random start, where the first stage ended
    off the local law by more than 15 %, or the random one above ±v. Elsewhere D is
    nearly the form, whose other eigenvectors are saddles: a climb from there leads to
    ±v, slowly.
3.  The other random starts, where those of the first two stages ended at more than two
    places, and not all as high as +v or −v did. They are the best of several random
    points (`screening`).

A start that lies above all that the first stage reached climbs in the second. What is
spared at one size may still come from its neighbours: they share what they find
(`candidates`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from audit.ground import stages
from audit.verify.candidates import GIVEN, Candidates, Climbers, clusters
from audit.verify.inward import inward
from audit.verify.screening import above, screened
from audit.verify.starts import EARLY, LEADING, starts

_SHARES = (0.3, 0.5, 1.0)  # of the time that is left, where no stage is spared
_AGREED = 2  # ends, such as near ±v, that call for no more
_LEVEL = 0.01  # of D: ends that differ by less are on one hill
_NEARLY = 1.15  # times the law or less: D is nearly the form


def from_starts(
    climbers: Climbers, given: Tensor | None, alone: bool, steps: int
) -> Candidates:
    """Return where the starts lead.

    Args:
        climbers: the search.
        given: further directions to start along [n, K, m].
        alone: whether to start along these only.
        steps: of each climb.
    """
    before, code, ends = _placed(climbers, given, alone)
    if alone and given is not None and len(code) == given.shape[1]:
        found, first = climbers.searched(before, steps)
        return replace(found, start=torch.minimum(first.amax(dim=2), ends))
    few = steps if climbers.blind else (steps + 1) // 2  # tell whether the law holds
    with stages.part(_SHARES[0]):
        found, first = climbers.searched(_waking(before, _stage(code) == 0), few)
    higher = above(climbers, found)
    going = torch.ones_like(first[:, :, 0], dtype=torch.bool)
    for stage, wanted in ((1, _beyond_the_law), (2, _apart)):
        known = _stage(code) < stage
        going = going & (wanted(climbers, found, known) | higher.any(dim=2))
        if stage == 1 and not climbers.blind:
            found = _best_alone(found, ~going)
        if not bool(going.any()):
            break
        own = (_stage(code) == stage).expand_as(higher)
        chosen = (own | higher if stage == 1 else own & ~higher) & going.unsqueeze(2)
        if stage == 2:
            found = screened(climbers, found, chosen)
        with stages.part(_SHARES[stage]):
            again, later = climbers.searched(_waking(found, chosen), steps)
        first = torch.where(chosen, later, first)
        through = torch.where(chosen, again.through, found.through)
        found = replace(again, through=through)
    return replace(found, start=torch.minimum(first.amax(dim=2), ends))


def _best_alone(found: Candidates, where: Tensor) -> Candidates:
    """Return candidates of which only the best goes on, for some inputs and sizes."""
    behind = found.value < found.value.amax(dim=2, keepdim=True)
    return replace(found, through=found.through | (behind & where.unsqueeze(2)))


def _stage(code: Tensor) -> Tensor:
    """Return the stage of each start [K], by its place among ours; given ones: 0."""
    at = torch.full_like(code, 2)
    at[code < EARLY] = 1
    first = (code == 0) | (code == LEADING) | (code == EARLY - 2) | (code < 0)
    at[first] = 0
    return at


def _waking(found: Candidates, chosen: Tensor) -> Candidates:
    """Return candidates of which only the chosen ones go on."""
    return replace(found, through=~chosen.expand_as(found.through))


def _placed(
    climbers: Climbers, given: Tensor | None, alone: bool
) -> tuple[Candidates, Tensor, Tensor]:
    """Return candidates where they start, and which of our starts each is, −1: none.

    And D [n, S] at the ends of rays that they did not start at, ∞ where they did.
    """
    n, count, m = *climbers.sizes.shape, climbers.m
    along = climbers.sizes.new_zeros(n, 0, m) if given is None else given
    code = torch.full((along.shape[1],), -1, device=along.device)
    if not (alone and len(code)):
        own = starts(climbers.exact.site, climbers.local, climbers.p)[climbers.asked]
        code = torch.cat([torch.arange(own.shape[1], device=code.device), code])
        along = torch.cat([own, along.to(own)], dim=1)
    k = len(code)
    wide = along.unsqueeze(1).expand(n, count, k, m).reshape(-1, m)
    within = climbers.within(k)
    u = within.nearest(within.outermost(wide)).reshape(n, count, k, m)
    own_starts = bool((code >= 0).any())
    ends = torch.full_like(climbers.sizes, torch.inf)
    if own_starts and not climbers.exact.laws.sampled:
        u, ends = inward(climbers.exact, climbers.asked, u)
    climbers.search = climbers.choose_search(u.reshape(-1, m), own_starts)
    label = torch.where(code < 0, climbers.origins.index(GIVEN), code)
    value = torch.full((n, count, k), -torch.inf).to(u)
    nothing = torch.zeros_like(value, dtype=torch.bool)
    origin = label.expand(n, count, k)
    return Candidates(u, value, origin, nothing, value.amax(dim=2)), code, ends


def _beyond_the_law(climbers: Climbers, found: Candidates, known: Tensor) -> Tensor:
    """Tell where D is not nearly the form, or a random start ended above ±v [n, S]."""
    value, at = found.value.max(dim=2)
    u = found.u.gather(2, at[..., None, None].expand(*at.shape, 1, climbers.m))
    law = climbers.local.at(climbers.asked, u.squeeze(2))
    nearly = (law > 0) & (value <= _NEARLY * law) & (law <= _NEARLY * value)
    along = found.value[:, :, [0, LEADING]].amax(dim=2)
    return ~nearly | (value > (1 + _LEVEL) * along)


def _apart(climbers: Climbers, found: Candidates, known: Tensor) -> Tensor:
    """Tell where the starts ended apart, at other hills than ±v do [n, S]."""
    u, value = found.u[:, :, known], found.value[:, :, known]
    ends = found.value[:, :, [0, LEADING]].unsqueeze(2)  # of +v and of −v
    level = (value.unsqueeze(3) - ends).abs() <= _LEVEL * ends.abs()
    return (clusters(u) > _AGREED) & ~level.any(dim=3).all(dim=2)
