"""Other corners of the ball than the one that a search came to: of a cube, and of ℓ₁.

Along a single feature a form is convex, and so is nearly every D of small steps: on an
edge of the cube it is largest at an end, and falls before it rises to the other one.
From the better corner of one hill no gradient leads to the next. Corners are many, of
about equal height, and which is the highest the third order decides: on small networks
two of a hundred climbs end at one that is 2 to 20 % lower than one beside it.

p = ∞   Features of the best point are turned to the other end of what they may be, one
        at a time, or a few together, while at most `MOST` corners are looked at: all
        corners of up to six features, pairs of up to ten, single ones of up to `MOST`.
        The best one is gone to, as long as that gains.
p = 1   A corner is a step ±ε of one feature. Both signs are looked at of up to `MOST`
        features, of more of half as many: those that the local law costs most.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor

from audit.verify.candidates import Candidates, Climbers
from audit.verify.starts import dearest
from audit.verify.strides import gains, lowered

MOST = 64  # corners in one look
_TURNS = 4  # looks


def at_corners(climbers: Climbers, found: Candidates) -> Candidates:
    """Return candidates [n, S, K], the best first, at the best corner that was seen.

    One that went to another corner goes on climbing.

    Args:
        climbers: the search, in ℓ∞ or ℓ₁.
        found: what it came to; corners are held against the best one.
    """
    found = found.best(found.value.shape[2])
    n, sizes, _, m = found.u.shape
    u, value = found.u[:, :, 0].reshape(-1, m), found.value[:, :, 0].reshape(-1)
    better = _turned if climbers.p == math.inf else _of_one_feature
    place, height = better(climbers, u, value)
    moved = torch.zeros_like(found.through)
    moved[:, :, 0] = (height > value).reshape(n, sizes)
    return replace(
        found,
        u=torch.where(moved.unsqueeze(3), place.reshape(n, sizes, 1, m), found.u),
        value=torch.where(moved, height.reshape(n, sizes, 1), found.value),
        through=found.through & ~moved,
    )


def _turned(climbers: Climbers, u: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return where turning features of u [C, m] leads, and D there [C]."""
    u, value, m = u.clone(), value.clone(), u.shape[1]
    patterns, within, rows = _patterns(m).to(u), climbers.within(1), climbers.rows(1)
    side = within.size.unsqueeze(1).expand(-1, m)
    low, high = within.nearest(-side), within.nearest(side)
    going = torch.arange(len(u), device=u.device)
    for _ in range(_TURNS if len(patterns) else 0):
        here = u[going]
        other = torch.where(here < 0, high[going], low[going]) - here
        corners = here.unsqueeze(1) + patterns * other.unsqueeze(1)
        best, at = lowered(climbers.exact(rows[going], corners)[0]).max(dim=1)
        higher = gains(best, value[going])
        going = going[higher]
        if not len(going):
            break
        u[going], value[going] = corners[higher, at[higher]], best[higher]
    return u, value


def _patterns(m: int) -> Tensor:
    """Return which features are turned together [≤ `MOST`, m], 1 or 0."""
    found: list[tuple[int, ...]] = []
    for together in range(1, m + 1):
        if len(found) + math.comb(m, together) > MOST:
            break
        found += combinations(range(m), together)
    patterns = torch.zeros(len(found), m)
    for place, features in enumerate(found):
        patterns[place, list(features)] = 1
    return patterns


def _of_one_feature(
    climbers: Climbers, u: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the best steps of one feature [C, m], where they are above D at u [C]."""
    m = u.shape[1]
    if m <= MOST:
        one = torch.eye(m).to(u).expand(len(u), m, m)
    else:
        dear = dearest(climbers.exact.site, climbers.local, MOST // 2)
        one = dear[climbers.rows(1)].to(u)
    steps = torch.cat([one, -one], dim=1)
    count = steps.shape[1]
    wide = climbers.within(count).outermost(steps.flatten(0, 1))
    corners = wide.reshape(len(u), count, -1)
    best, at = lowered(climbers.exact(climbers.rows(1), corners)[0]).max(dim=1)
    higher = gains(best, value)
    place = corners[torch.arange(len(u), device=u.device), at]
    return torch.where(higher.unsqueeze(1), place, u), torch.where(higher, best, value)
