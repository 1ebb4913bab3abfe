"""Independent draws at several places, as `torch.distributions` would have them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch import distributions as td


class Folded(td.Distribution):
    """A law of N T events read as N laws: batch [N], event [*places, *event].

    Args:
        law: batch shape [N T], the places of one input after the other.
        places: axes whose product is T.
    """

    arg_constraints = {}  # noqa: RUF012 (the base class's own form)

    def __init__(self, law: td.Distribution, places: tuple[int, ...]) -> None:
        self.law, self.places = law, places
        rows = law.batch_shape[0] // math.prod(places)
        event = torch.Size([*places, *law.event_shape])
        super().__init__(torch.Size([rows]), event, validate_args=False)
        self.has_rsample = law.has_rsample

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the sum of log densities over the places [..., N]."""
        found = self.law.log_prob(self._flat(value))
        return found.reshape(*found.shape[:-1], *self.batch_shape, -1).sum(-1)

    def icdf(self, value: Tensor) -> Tensor:
        """Return quantiles of each number [..., N, *event]."""
        return self._folded(self.law.icdf(self._flat(value)))

    def sample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Tensor:
        """Return draws [*sample, N, *event]."""
        return self._folded(self.law.sample(torch.Size(sample_shape)))

    def rsample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Tensor:
        """Return differentiable draws [*sample, N, *event]."""
        return self._folded(self.law.rsample(torch.Size(sample_shape)))

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
