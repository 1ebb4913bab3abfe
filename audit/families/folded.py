"""Independent draws at several places, as `torch.distributions` would have them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.torch_laws import OwnLaw


class Folded(OwnLaw):
    """A law of N T events read as N laws: batch [N], event [*places, *event].

    Args:
        law: batch shape [N T], the places of one input after the other.
        places: axes whose product is T.
    """

    def __init__(self, law: td.Distribution, places: tuple[int, ...]) -> None:
        self.law, self.places = law, places
        rows = law.batch_shape[0] // math.prod(places)
        super().__init__((rows,), (*places, *law.event_shape), law.has_rsample)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the sum of log densities over the places [..., N]."""
        found = self.law.log_prob(self._flat(value))
        return found.reshape(*found.shape[:-1], *self.batch_shape, -1).sum(-1)

    def icdf(self, value: Tensor) -> Tensor:
        """Return quantiles of each number [..., N, *event]."""
        return self._folded(self.law.icdf(self._flat(value)))

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, N, *event]."""
        return self._folded(getattr(self.law, how)(shape))

    def _flat(self, value: Tensor) -> Tensor:
        before = value.dim() - 1 - len(self.event_shape)
        return value.reshape(
            *value.shape[:before], *self.law.batch_shape, *self.law.event_shape
        )

    def _folded(self, value: Tensor) -> Tensor:
        before = value.dim() - 1 - len(self.law.event_shape)
        return value.reshape(
            *value.shape[:before], *self.batch_shape, *self.event_shape
        )
