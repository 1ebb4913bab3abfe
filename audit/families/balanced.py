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

import math
from typing import NamedTuple

import torch
from torch import Tensor

from audit.families.givers import Nodes
from audit.families.tensors import Pointwise

TAIL, SHARE, GROWN = 1e-6, 1e-2, 1e2  # of the mass, of the integral; an integrand
_LARGEST = 300.0  # of log r: g(r) / (1 + r) has its limit long before
_ITERATIONS, _CLOSE, _SLOWEST = 100, 1e-14, 0.25
_STEP = 1e-4  # of log c, to see how D follows it


class Side(NamedTuple):
    """log q'/q [S, N], up to a number, at the nodes of one of the laws."""

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


def by_draws(pointwise: Pointwise, ours: Side, theirs: Side) -> Tensor:
    """Return numbers [S, N] whose mean is E_q[g(q'/q)].

    The mean of A = r/(1 + r) here less 1/(1 + r) there is zero at the c that is found.
    At the true one it is not, and log c is off by its mean over w = −∂A/∂log c. So D is
    the mean of g/(1 + r) over both laws and of ∂D/∂log c · A / w, which is zero, but
    has the spread that c brings: the standard error is that of all of it.

    Args:
        pointwise: log r -> g(r).
        ours: at draws of q.
        theirs: at as many of q', from the same noise.
    """
    shift = _log_constant(ours, theirs)

    def at(move: float) -> Tensor:
        sides = (side.log_ratio - shift - move for side in (ours, theirs))
        return shared(pointwise, *sides)

    slope = (at(_STEP) - at(-_STEP)).mean(0) / (2 * _STEP)
    here, there = (
        torch.sigmoid(side)
        for side in (ours.log_ratio - shift, shift - theirs.log_ratio)
    )
    width = (here * (1 - here) + there * (1 - there)).mean(0)
    follows = torch.where(slope.isfinite() & (width > 0), slope / width, 0.0)
    return at(0.0) + follows * (here - there)


def shared(pointwise: Pointwise, ours: Tensor, theirs: Tensor) -> Tensor:
    """Return g/(1 + r) at draws of q and of q' [S, N], whose mean is E_q[g(r)].

    For a g that grows no faster than r that is bounded where r is large, and where D is
    bounded it is so everywhere: of the Jensen-Shannon divergence it is half of log 2 −
    H(w), H the entropy of a coin that falls on q with the share w = 1/(1 + r), and of
    Hellinger's ½ (1 − √r)²/(1 + r).

    Args:
        pointwise: log r -> g(r).
        ours: log r [S, N] at draws of q.
        theirs: log r [S, N] at draws of q'.
    """
    ratios = [ratio.clamp_max(_LARGEST) for ratio in (ours, theirs)]
    parts = [pointwise(ratio) * torch.sigmoid(-ratio) for ratio in ratios]
    return parts[0] + parts[1]


def _log_constant(ours: Side, theirs: Side) -> Tensor:
    """Return log c [N], c of the module's page: log q'/q less it is log r.

    Where the logarithms of both means meet, by Newton's steps: their difference falls
    with log c, as fast as the mean shares of q there and of q' here together.
    """
    mass = [_log_weights(side) for side in (ours, theirs)]
    shift = torch.zeros_like(mass[0][0])
    softplus = torch.nn.functional.softplus
    for _ in range(_ITERATIONS):
        here, there = (side.log_ratio - shift for side in (ours, theirs))
        left, right = mass[0] - softplus(-here), mass[1] - softplus(there)
        change = torch.logsumexp(left, dim=0) - torch.logsumexp(right, dim=0)
        slope = (left.softmax(0) * torch.sigmoid(-here)).nan_to_num(0.0).sum(0)
        slope = slope + (right.softmax(0) * torch.sigmoid(there)).nan_to_num(0.0).sum(0)
        change = change / slope.clamp_min(_SLOWEST)
        shift = shift + torch.where(change.isfinite(), change, 0.0)
        if not bool((change.abs() > _CLOSE * (1 + shift.abs())).any()):
            break
    return shift


def _log_weights(side: Side) -> Tensor:
    weights = side.nodes.weights
    if weights is None:  # draws, which all weigh the same
        return torch.full_like(side.log_ratio, -math.log(len(side.log_ratio)))
    return weights.log()
