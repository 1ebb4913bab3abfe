"""A law and a θ that was seen: its log-likelihood, −∞ where the law has no such θ.

`torch.distributions` without validation returns anything for a θ outside the support (a
number, NaN, an index error), so the support is asked first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.tensors import Drawn
from audit.nodes.noise import own_generator


def log_likelihood(family: Drawn, theta: Tensor, phi: Tensor) -> Tensor:
    """Return ln q_φ(θ) [S, N] in nats, −∞ outside the support.

    Args:
        family: of the laws.
        theta: finite, [S, N, *event].
        phi: φ [N, p], members of the family.
    """
    law = family.distribution(phi)
    inside = supported(law, theta)
    if not bool(inside.all()):
        shape = (...,) + (None,) * len(law.event_shape)
        theta = torch.where(inside[shape], theta, _member(law).to(theta))
    value = law.log_prob(theta)
    return torch.where(inside & ~value.isnan(), value, -torch.inf)


def supported(law: td.Distribution, theta: Tensor) -> Tensor:
    """Return where θ [S, N, *event] is in the support [S, N]; all, if none is told."""
    try:
        constraint: Any = law.support
        inside: Tensor = constraint.check(theta)
    except NotImplementedError:
        batch = theta.shape[: theta.dim() - len(law.event_shape)]
        return torch.ones(batch, dtype=torch.bool, device=theta.device)
    return inside


def tells_support(law: td.Distribution) -> bool:
    """Return whether a law has one support, whatever its parameters."""
    parts = getattr(law, "laws", None)
    if parts is not None:  # side by side
        return all(tells_support(part) for part in parts)
    try:
        constraint: Any = law.support
        constraint.check(_member(law))
    except NotImplementedError:
        return False
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    return not any(
        isinstance(value, Tensor) and value.dim() for value in vars(constraint).values()
    )


def _member(law: td.Distribution) -> Tensor:
    """Return some θ of each law [N, *event]; the global generator is left as it was."""
    with own_generator():
        torch.manual_seed(0)
        found: Tensor = law.sample()
    return found
