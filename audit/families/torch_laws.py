"""What laws here share that are, or draw as, `torch.distributions`.

Torch moves probabilities away from 0 and 1, or makes 0 · ∞ of them, and has no logistic
law.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from audit.families.univariate import Parameters


class OfTorch:
    """Coordinates with a law of torch's, by the same parameters in the same order."""

    torch_law: ClassVar[Callable[..., td.Distribution]]

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return torch's law of one coordinate."""
        return type(self).torch_law(*parameters, validate_args=False)


class OwnLaw(td.Distribution):
    """A law that torch does not have, without a look at its arguments."""

    arg_constraints = {}  # noqa: RUF012 (the base class's own form)

    def __init__(
        self, batch: tuple[int, ...], event: tuple[int, ...] = (), moves: bool = False
    ) -> None:
        self.has_rsample = moves
        super().__init__(torch.Size(batch), torch.Size(event), validate_args=False)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch, *event]; `how`, of a law inside: its method."""
        raise NotImplementedError

    def sample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Tensor:
        """Return draws [*sample, *batch, *event]."""
        with torch.no_grad():
            return self.drawn(torch.Size(sample_shape), "sample")

    def rsample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> Tensor:
        """Return draws [*sample, *batch, *event] that follow the parameters."""
        if not self.has_rsample:
            raise NotImplementedError
        return self.drawn(torch.Size(sample_shape), "rsample")


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


class LogisticLaw(OwnLaw):
    """Draws loc + scale · logit u; batch shape [*batch], event shape []."""

    support = constraints.real

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape, moves=True)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return −|z| − 2 ln(1 + e^{−|z|}) − ln s."""
        z: Tensor = ((value - self.loc) / self.scale).abs()
        return -z + 2 * logsigmoid(z) - self.scale.log()

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return loc + scale · logit u."""
        shape = self._extended_shape(shape)
        uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * torch.logit(uniform, eps=1e-300)
