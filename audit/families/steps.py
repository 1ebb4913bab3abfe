"""Laws on a few ordered places: what their step functions have in common."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from audit.families.interface import Family
from audit.ground.errors import NoTransport


def refuse_steps(family: Family) -> NoReturn:
    """Refuse a transport tensor: a step function has no derivative.

    Raises:
        NoTransport: always.
    """
    raise NoTransport(
        f"The family {family.name} is discrete: its quantile function is a step "
        "function, and the quantile distance grows linearly with the perturbation",
        "A quadratic form would be infinite; autograd would say zero",
        "Read the linear coefficient, or audit it with -d kl",
    )


def step_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return E(T − T')² [M] of laws with masses [M, K] on the same places 0, 1, ….

    The levels at which either function steps cut (0, 1) into pieces on which both are
    constant.
    """
    first, second = (mass.cumsum(-1).clamp_max(1) for mass in (ours, theirs))
    levels = torch.cat([first, second], dim=-1).sort(dim=-1).values
    levels = torch.nn.functional.pad(levels, (1, 0))
    middle = (levels[:, 1:] + levels[:, :-1]) / 2
    gap = torch.searchsorted(first, middle) - torch.searchsorted(second, middle)
    return (levels.diff(dim=-1) * gap.square()).sum(-1)
