"""A law on the integers that draws as torch does, with a log probability of its own.

Torch moves probabilities away from 0 and 1, or makes 0 · ∞ of them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import constraints

from audit.families.torch_laws import OwnLaw


class Counts(OwnLaw):
    """Integers from 0; batch shape and draws are those of `sampler`."""

    support = constraints.nonnegative_integer

    def __init__(
        self, sampler: td.Distribution, log_mass: Callable[[Tensor], Tensor]
    ) -> None:
        self.sampler, self.log_mass = sampler, log_mass
        super().__init__(sampler.batch_shape)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch]."""
        return self.sampler.sample(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of integers [*sample, *batch]."""
        return self.log_mass(value)
