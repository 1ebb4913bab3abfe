"""Which starts are worth a climb, by D where they are.

A climb takes dozens of values, and ends on the hill that it begins on. One value tells
how high a start is. So before starts are spared, D is taken where they are, and those
that are above all that climbed so far climb too (`above`): near the input D may be
close to the form along ±v, and twice the form elsewhere.

Random starts that climb are the best of several random points (`screened`), half of
them on the sphere, half within the ball: of a hill that one of f points lies on, ten
starts miss 1 − f each, and the best of sixteen each (1 − f)^16. Among many features
random points see nothing that is narrow, and are one each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.verify.candidates import Candidates, Climbers
from audit.verify.strides import lowered

_POINTS = 16
_FEATURES = 16  # at most, where points are screened
_STREAM = 15  # of the noise
_LEVEL = 1.01  # times D: as high as what has climbed


def above(climbers: Climbers, found: Candidates) -> Tensor:
    """Tell which starts lie above all that has climbed [n, S, K].

    None, where values are means over draws or nothing says which way is up.
    """
    waiting = torch.isneginf(found.value)
    if climbers.blind or climbers.exact.laws.sampled or not bool(waiting.any()):
        return torch.zeros_like(waiting)
    value = lowered(climbers.exact(climbers.asked, found.u.flatten(1, 2))[0])
    best = found.value.amax(dim=2, keepdim=True).clamp_min(0.0)
    return waiting & (value.reshape(found.value.shape) > _LEVEL * best)


def screened(climbers: Climbers, found: Candidates, chosen: Tensor) -> Candidates:
    """Return candidates of which the chosen ones [n, S, K] begin at better points."""
    if climbers.blind or climbers.exact.laws.sampled or climbers.m > _FEATURES:
        return found
    rows = chosen.flatten(1).any(dim=1).nonzero()[:, 0]
    at = chosen.flatten(0, 1).any(dim=0).nonzero()[:, 0]
    pool = torch.cat(
        [_points(climbers, len(at))[rows], found.u[rows][:, :, at, None]], 3
    )
    value = lowered(climbers.exact(climbers.asked[rows], pool.flatten(1, 3))[0])
    best = value.reshape(pool.shape[:4]).argmax(dim=3)[..., None, None]
    moved = pool.gather(3, best.expand(*best.shape[:4], climbers.m)).squeeze(3)
    u = found.u.clone()
    u[rows[:, None], :, at] = moved.transpose(1, 2)
    return Candidates(
        torch.where(chosen.unsqueeze(3), u, found.u),
        found.value,
        found.origin,
        found.through,
        found.start,
    )


def _points(climbers: Climbers, count: int) -> Tensor:
    """Return random points of each ball [n, S, count, P, m], keyed by the inputs."""
    n, sizes, m = *climbers.sizes.shape, climbers.m
    many, noise = count * _POINTS, climbers.exact.site.noise
    normal = noise.normals((many, m + 1), _STREAM, climbers.asked.tolist())
    normal = normal.to(climbers.sizes)
    along = normal[..., :m].unsqueeze(1).expand(n, sizes, many, m).reshape(-1, m)
    within = climbers.within(many)
    ends = within.nearest(within.outermost(along)).reshape(n, sizes, many, m)
    share = torch.special.ndtr(normal[..., m]).pow(1 / m)  # uniform in the ball
    share[:, ::2] = 1.0
    points: Tensor = ends * share[:, None, :, None]
    return points.reshape(n, sizes, count, _POINTS, m)
