"""The values of a random attack, each by few nodes of its own.

A mean over perturbations needs no value to more than their own spread. Where one takes
a hundred thousand nodes, each is taken by a few that are drawn anew for it, without
bias: the mean over pairs is that of δ and θ together, and its interval allows for both.

Few nodes may miss what makes D ∞, or most of it: a support that moves by little, a
tail that carries the integral. So at the farthest of some perturbations D is taken both
ways; where the two are not the same, all values of that input are sums over all nodes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audit.attacks.bases import RandomAttack
from audit.verify.anchored import APART
from audit.verify.exact import Exact
from audit.verify.rough import Values

_TRIED = 32  # perturbations, of which the farthest is looked at
_STREAM = 43  # of the noise
_SURE = 8.0  # standard errors


def few_nodes(attack: RandomAttack, exact: Exact) -> Values | None:
    """Return (rows [n], u [n, K, m]) -> D [n, K] by few nodes, and no error.

    None where values are no sums over very many nodes.

    Args:
        attack: the law of δ.
        exact: the divergence at a site.
    """
    few = exact.anew()
    if few is None:
        return None
    told = _told(attack, exact, few)

    def values(rows: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        assert few is not None
        value = torch.empty_like(u[..., 0])
        for by, chosen in ((few, told[rows]), (exact, ~told[rows])):
            at = chosen.nonzero()[:, 0]
            if len(at):
                value[at] = by(rows[at], u[at])[0]
        return value, torch.zeros_like(value)

    return values


def _told(attack: RandomAttack, exact: Exact, few: Exact) -> Tensor:
    """Tell at which inputs few nodes say the same as all of them [n]."""
    site = exact.site
    rows = torch.arange(len(site.x), device=site.x.device)
    drawn = [
        attack.draw(site.noise.generator(row, _STREAM), _TRIED, site.free)
        for row in rows.tolist()
    ]
    u = torch.from_numpy(np.stack(drawn)).to(site.point.phi)
    far = u.norm(dim=2).argmax(dim=1)
    u = u[rows, far].unsqueeze(1)
    whole = exact(rows, u)[0][:, 0]
    value, error = (part[:, 0] for part in few(rows, u))
    allowed = torch.maximum(_SURE * error, APART * whole)
    return (value - whole).abs() <= allowed
