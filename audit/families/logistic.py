"""The logistic distribution, which `torch.distributions` does not have."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from audit.families.torch_laws import OwnLaw


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
