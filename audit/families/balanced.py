"""E_q[g(q'/q)] from the nodes of both laws, where those of q alone do not do.

Where q' has mass beyond the nodes of q, the integral goes on there. With r = q'/q,

    ∫ q g(r) = ∫ (q + q') g(r) / (1 + r) = E_q[g(r) / (1 + r)] + E_q'[g(r) / (1 + r)]

sees every place through the law that has its mass there (the balance heuristic: Veach
and Guibas, Optimally combining sampling techniques, SIGGRAPH 1995). Laws that are not
normalised have q'/q = c r. Then c is what makes both sides of E_q[r/(1 + r)] =
E_q'[1/(1 + r)] equal, found by iteration (Meng and Wong, Simulating ratios of
normalizing constants via a simple identity, Statistica Sinica 6 (1996), equation 4.1).

For KL and whatever else has a g that grows no faster than r, g/(1 + r) is bounded where
q' is large, and the integral is finite whatever lies beyond. It is infinite where the
integrand itself has grown large in the last millionth of a law's mass and carries a
hundredth of the whole from there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from audit.families.givers import Nodes
from audit.families.tensors import Pointwise

TAIL, SHARE, GROWN = 1e-6, 1e-2, 1e2  # of the mass, of the integral; an integrand
_LARGEST = 300.0  # of log r: g(r) / (1 + r) has its limit long before
_ITERATIONS, _CLOSE = 100, 1e-14


class Side(NamedTuple):
    """log q'/q [S, N], up to a number, at the weighted nodes of one of the laws."""

    log_ratio: Tensor
    nodes: Nodes


def balanced(pointwise: Pointwise, ours: Side, theirs: Side) -> Tensor:
    """Return E_q[g(q'/q)] [N].

    Args:
        pointwise: log r -> g(r).
        ours: at the nodes of q.
        theirs: at those of q'.
    """
    shift = _log_constant(ours, theirs)
    total, absolute = torch.zeros_like(shift), torch.zeros_like(shift)
    tails = []
    for side in (ours, theirs):
        assert side.nodes.weights is not None
        weights = side.nodes.weights
        ratio = (side.log_ratio - shift).clamp_max(_LARGEST)
        value = pointwise(ratio) * torch.sigmoid(-ratio)
        weighted = torch.where(weights > 0, value * weights, 0.0)
        total, absolute = total + weighted.sum(0), absolute + weighted.abs().sum(0)
        order = weights.argsort(dim=0)
        beyond = weights.gather(0, order).cumsum(dim=0) < TAIL
        grown = value.gather(0, order).abs() > GROWN
        tails.append(
            torch.where(beyond & grown, weighted.gather(0, order).abs(), 0.0).sum(0)
        )
    open_end = torch.stack(tails).amax(0) > SHARE * absolute
    return total.masked_fill(open_end, torch.inf)


def _log_constant(ours: Side, theirs: Side) -> Tensor:
    """Return log c [N], c of the module's page: log q'/q less it is log r."""
    mass = [_log_weights(side) for side in (ours, theirs)]
    shift = torch.zeros_like(mass[0][0])
    softplus = torch.nn.functional.softplus
    for _ in range(_ITERATIONS):
        here, there = (side.log_ratio - shift for side in (ours, theirs))
        left = torch.logsumexp(mass[0] - softplus(-here), dim=0)
        right = torch.logsumexp(mass[1] - softplus(there), dim=0)
        change = left - right
        shift = shift + torch.where(change.isfinite(), change, 0.0)
        if not bool((change.abs() > _CLOSE * (1 + shift.abs())).any()):
            break
    return shift


def _log_weights(side: Side) -> Tensor:
    assert side.nodes.weights is not None
    return side.nodes.weights.log()
