"""Does θ belong to the x of its own row?

With θᵢ of row i and another row j, log q(θᵢ|xᵢ) > log q(θᵢ|xⱼ) says that xᵢ explains
it better. If the rows of θ are in another order than those of x, or of another file,
that holds for half of the pairs (i, j), whatever the law: xᵢ and xⱼ are exchangeable. A
model that is over- or under-confident still has more than half where it has learned
anything, and one that is off by a constant where it is moved by that (`rivals`). What
share an honest model has, draws of its own laws say. Shares are told apart by
deviations of a coin's, 0.5/√n, for n rows:

    |seen − 0.5|  <  3 deviations      and      expected − 0.5  >  8 deviations

Pairs are those of a few random orders, in which no row is its own partner.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audit.verify.selftest.pairs import Rows
from audit.verify.selftest.rivals import moved

_ORDERS, _SEED = 8, 20_240_303
_SEEN, _EXPECTED = 3.0, 8.0  # deviations of a coin's share


def strangers(rows: Rows, readings: Sequence[Rows] = ()) -> tuple[float, float] | None:
    """Return the shares seen and expected where θ has nothing to do with x; else None.

    Args:
        rows: as they are read.
        readings: other ones, under which θ may have to do with x.

    Raises:
        NotImplementedError, RuntimeError, ValueError: the law has no sampler.
    """
    deviation = 0.5 / len(rows.phi) ** 0.5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        drawn = rows.family.distribution(rows.phi.cpu()).sample().to(rows.theta)
        orders = [torch.randperm(len(rows.phi)) for _ in range(_ORDERS)]
    seen = _share(rows, rows.theta, orders)
    others = (*moved(rows), *readings)
    known = [seen, *(_share(other, other.theta, orders) for other in others)]
    if max(abs(share - 0.5) for share in known) >= _SEEN * deviation:
        return None
    expected = _share(rows, drawn.reshape(rows.theta.shape), orders)
    return (seen, expected) if expected > 0.5 + _EXPECTED * deviation else None


def _share(rows: Rows, theta: Tensor, orders: list[Tensor]) -> float:
    """Return how often a row's own x explains θ better than a partner's; ties half."""
    own = rows.with_theta(theta).log_likelihood(rows.phi)
    shares = []
    for order in orders:
        partner = torch.empty_like(order)
        partner[order] = order.roll(1)
        other = rows.with_theta(theta).log_likelihood(rows.phi[partner])
        shares.append((own > other).double() + 0.5 * (own == other))
    return float(torch.stack(shares).mean())
