"""Starts that lie inside of a ball, where D along a ray is largest before its end.

A start of a search is where a ray leaves the ball: for a form there is nothing better
on the ray. D of a network of waves, or of a law that saturates, rises and falls on the
way, and a climb from the end seldom comes back past a valley. So D is taken at a few
shares of ±v of each size. Balls are nested, and smaller sizes' places count for larger
ones too. Where one of them is above the end by more than a hundredth, all starts of
that input are looked at, and those begin at their rays' best places. Of a single
feature ±v are all the rays there are: more shares are looked at, and about the best one
closer and closer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.verify.exact import Exact
from audit.verify.starts import LEADING
from audit.verify.strides import lowered

_SHARES, _SHARES_ALONE = 4, 24  # of a ray; of one feature's
_CLOSER = 4  # looks about the best share of one feature's rays
_ABOVE, _MORE = 1.01, 1 + 1e-9  # times D at the end; where the place is the best


def inward(exact: Exact, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return the starts, some of them nearer, and D at the best of ±v's ends [n, S].

    Args:
        exact: the divergence.
        rows: of the site's inputs [n].
        u: where rays leave the sets of each size [n, S, K, m], in the order of
            `starts`, sizes ascending.

    Returns:
        ∞ for D at the ends, where no start came nearer.
    """
    first = u[:, :, [0, LEADING]]
    places, value, end = _best(exact, rows, first)
    alone = exact.site.free == 1
    nearer = (value > (_MORE if alone else _ABOVE) * end).flatten(1).any(dim=1)
    ends = torch.full_like(end[:, :, 0], torch.inf)
    if not bool(nearer.any()):
        return u, ends
    ends[nearer] = end[nearer].amax(dim=2)
    found = u.clone()
    if alone:
        found[:, :, [0, LEADING]] = torch.where(
            nearer[:, None, None, None], places, first
        )
        return found, ends
    pairs = [
        _best(exact, rows[nearer], part) for part in torch.split(u[nearer], 2, dim=2)
    ]
    some, value, end = (torch.cat(part, dim=2) for part in zip(*pairs, strict=True))
    above = (value > _ABOVE * end).unsqueeze(3)
    found[nearer] = torch.where(above, some, u[nearer])
    return found, ends


def _best(exact: Exact, rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where D is largest on rays, up to each size, with D there and at the end.

    Args:
        exact: the divergence.
        rows: [k].
        u: the ends [k, S, K, m], sizes ascending.
    """
    alone = exact.site.free == 1
    count = _SHARES_ALONE if alone else _SHARES
    shares = torch.arange(1, count + 1).to(u).expand(*u.shape[:3], count) / count
    place, best, end = _largest(exact, rows, u, shares)
    for turn in range(_CLOSER if alone else 0):
        width = count**-1.0 * 4.0**-turn
        around = torch.linspace(-width, width, 9).to(u)
        place, best, _ = _largest(
            exact, rows, u, (place[..., None] + around).clamp(0, 1)
        )
    highest, size = best.cummax(dim=1)
    u = u * place.unsqueeze(3)
    return u.gather(1, size.unsqueeze(3).expand_as(u)), highest, end


def _largest(
    exact: Exact, rows: Tensor, u: Tensor, shares: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the share of a ray where D is largest, D there, and D at the last share.

    Args:
        exact: the divergence.
        rows: [k].
        u: the ends [k, S, K, m].
        shares: [k, S, K, R].
    """
    places = u.unsqueeze(3) * shares.unsqueeze(4)
    value = lowered(exact(rows, places.flatten(1, 3))[0]).reshape(shares.shape)
    best, at = value.max(dim=3)
    return shares.gather(3, at.unsqueeze(3)).squeeze(3), best, value[..., -1]
