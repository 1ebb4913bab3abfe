"""Means over the nodes of inputs, of many φ' at a time.

The file is called for as many φ' together as make a call worth its while.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from audit.families.givers import Nodes
from audit.linalg.sampled import mean_over_units

_TAIL, _SHARE = 1e-6, 1e-2  # of the mass, and of an integral
_TOGETHER = 2**15  # points of all φ' that are looked at together


def together(
    means: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    rows: Tensor,
    others: Tensor,
    points: int,
) -> tuple[Tensor, Tensor]:
    """Return means and their errors [k, M], of some φ' [k, M, p + c] at a time.

    Args:
        means: rows [K] of inputs, φ' [K, p + c] -> both [K].
        rows: which of the inputs [k].
        others: φ' [k, M, p + c].
        points: at which each φ' is looked at.
    """
    k, _, size = others.shape
    count = max(1, _TOGETHER // (points * max(1, k)))
    found = []
    for part in torch.split(others, count, dim=1):
        owner = rows.repeat_interleave(part.shape[1])
        one = means(owner, part.reshape(-1, size))
        found.append([each.reshape(part.shape[:2]) for each in one])
    values, errors = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    return values, errors


def taken(nodes: Nodes, rows: Tensor) -> Nodes:
    """Return the nodes of some inputs."""
    weights = None if nodes.weights is None else nodes.weights[:, rows]
    return Nodes(nodes.targets[:, rows], weights, nodes.unit)


def log_mean(log_ratio: Tensor, nodes: Nodes) -> Tensor:
    """Return log E_q[q'/q] [N]."""
    if nodes.weights is None:
        return torch.logsumexp(log_ratio, dim=0) - math.log(len(log_ratio))
    return torch.logsumexp(log_ratio + nodes.weights.log(), dim=0)


def mean(samples: Tensor, nodes: Nodes) -> tuple[Tensor, Tensor]:
    """Return the mean over nodes [S, N] and its standard error."""
    if nodes.weights is not None:
        return _integral(samples, nodes.weights)
    found = mean_over_units(samples.T / len(samples), nodes.unit)
    assert found.standard_error is not None
    return found.value, found.standard_error


def _integral(samples: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ w g [N] and no error; infinite where the nodes' tail carries it.

    Nodes lie where q has its mass. An integral that gets a hundredth from the last
    millionth of that mass goes on beyond them, perhaps for ever: see `balanced`.
    """
    weighted = torch.where(weights > 0, samples * weights, 0.0)
    order = weights.argsort(dim=0)
    tail = weights.gather(0, order).cumsum(dim=0) < _TAIL
    beyond = torch.where(tail, weighted.gather(0, order).abs(), 0.0).sum(dim=0)
    total = weighted.sum(dim=0)
    open_end = beyond > _SHARE * weighted.abs().sum(dim=0)
    return total.masked_fill(open_end, torch.inf), torch.zeros_like(total)
