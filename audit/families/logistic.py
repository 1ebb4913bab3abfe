"""The logistic distribution, which `torch.distributions` does not have."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

Shape = torch.Size | list[int] | tuple[int, ...]


class LogisticLaw(td.Distribution):
    """Draws loc + scale · logit u; batch shape [*batch], event shape []."""

    arg_constraints = {}  # noqa: RUF012 (the base class's own form)
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(self.loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return −|z| − 2 ln(1 + e^{−|z|}) − ln s."""
        z: Tensor = ((value - self.loc) / self.scale).abs()
        return -z + 2 * logsigmoid(z) - self.scale.log()

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Return loc + scale · logit u."""
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * torch.logit(uniform, eps=1e-300)
