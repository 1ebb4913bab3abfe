"""The values of a discrete law, with their masses, that sums are taken over."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Independent

from audit.families.interface import Family

_FIRST, _MOST = 64, 2**17
_LOST = 1e-11  # of the mass


@dataclass(frozen=True)
class Values:
    """Values [K, n, *event] of n laws, and their masses [K, n], which sum to one."""

    values: Tensor
    mass: Tensor


def values_of(family: Family, phi: Tensor) -> Values | None:
    """Return the values of the laws at φ [n, p]; None where they cannot be listed.

    They are those that torch enumerates, else 0, 1, 2, … as far as the mass goes.
    """
    law = family.distribution(phi)
    base = law.base_dist if isinstance(law, Independent) else law
    with suppress(NotImplementedError):
        if law.event_shape.numel() == 1 or base is law:
            listed = base.enumerate_support()
            return _whole(family, phi, listed)
    if law.event_shape.numel() != 1:
        return None
    count = _FIRST
    while count <= _MOST:
        grid = torch.arange(count, dtype=phi.dtype, device=phi.device)
        shape = (count, *[1] * (1 + len(law.event_shape)))
        grid = grid.reshape(shape).expand(count, len(phi), *law.event_shape)
        found = _whole(family, phi, grid)
        if found is not None:
            return found
        count *= 4
    return None


def _whole(family: Family, phi: Tensor, values: Tensor) -> Values | None:
    """Return values [K, n, *event] with their masses; None if mass is elsewhere."""
    try:
        mass = family.distribution(phi).log_prob(values).exp()
    except (IndexError, RuntimeError, ValueError):
        return None  # the law has no such values
    off = (mass.sum(dim=0) - 1).abs()
    return Values(values, mass) if bool((off < _LOST).all()) else None
