"""Neighbours of the corner of a cube that a search in ℓ∞ came to.

Along a single feature a form is convex, and so is nearly every D of small steps: on an
edge of the cube it is largest at an end, and falls before it rises to the other one.
From the better corner of one hill no gradient leads to the next. Corners are many, of
about equal height, and which is the highest the third order decides: on small networks
two of a hundred climbs end at one that is 2 to 20 % lower than one beside it.

So features of the best point are turned to the other end of what they may be, one at a
time, or a few together, while at most `MOST` corners are looked at: all corners of up
to six features, pairs of up to ten, single ones of up to `MOST`. The best one is gone
to, as long as that gains.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor

from audit.verify.candidates import Candidates, Climbers
from audit.verify.strides import gains, lowered

MOST = 64  # corners in one look
_TURNS = 4  # looks


def turned(climbers: Climbers, found: Candidates) -> Candidates:
    """Return candidates [n, S, K], the best first, at the best corners beside it.

    One that went to another corner goes on climbing.

    Args:
        climbers: the search, in ℓ∞.
        found: what it came to; of the best one the neighbours are looked at.
    """
    found = found.best(found.value.shape[2])
    n, sizes, _, m = found.u.shape
    patterns = _patterns(m).to(found.u)
    within = climbers.within(1)
    side = within.size.unsqueeze(1).expand(-1, m)
    ends = torch.stack([within.nearest(-side), within.nearest(side)])
    u, value = found.u[:, :, 0].reshape(-1, m), found.value[:, :, 0].reshape(-1)
    rows, going = climbers.rows(1), torch.arange(n * sizes, device=u.device)
    moved = torch.zeros_like(value, dtype=torch.bool)
    for _ in range(_TURNS if len(patterns) else 0):
        other = torch.where(u[going] < 0, ends[1, going], ends[0, going])
        here = u[going].unsqueeze(1)
        corners = here + patterns * (other.unsqueeze(1) - here)
        best, at = lowered(climbers.exact(rows[going], corners)[0]).max(dim=1)
        higher = gains(best, value[going])
        going, at = going[higher], at[higher]
        if not len(going):
            break
        u[going], value[going] = corners[higher, at], best[higher]
        moved[going] = True
    first = torch.zeros_like(found.through)
    first[:, :, 0] = moved.reshape(n, sizes)
    return replace(
        found,
        u=torch.where(first.unsqueeze(3), u.reshape(n, sizes, 1, m), found.u),
        value=torch.where(first, value.reshape(n, sizes, 1), found.value),
        through=found.through & ~first,
    )


def _patterns(m: int) -> Tensor:
    """Return which features are turned together [≤ `MOST`, m], 1 or 0."""
    found: list[tuple[int, ...]] = []
    for together in range(1, m + 1):
        more = list(combinations(range(m), together))
        if len(found) + len(more) > MOST:
            break
        found += more
    patterns = torch.zeros(len(found), m)
    for place, features in enumerate(found):
        patterns[place, list(features)] = 1
    return patterns
