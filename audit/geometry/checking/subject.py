"""What a divergence is checked at: a law, its parameters, and steps of these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from audit.families.interface import Family
from audit.geometry.divergence import Divergence
from audit.ground.checking import demand
from audit.nodes.noise import Noise

DRAWS, ERRORS = 20_000, 4.5
"""Of means over draws, and by how many standard errors these may be off."""
_FAR = (0.1, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class Subject:
    """A divergence, and a law with parameters φ [N, p] to compare."""

    divergence: Divergence
    law: Family
    phi: Tensor

    def demand(
        self, holds: bool | Tensor, law: str, expected: object, found: object
    ) -> None:
        """Raise LawBroken where a law does not hold."""
        demand(bool(holds), self.divergence.name, law, expected, found, self.where)

    @property
    def where(self) -> str:
        """At which parameters it is looked at."""
        return f"φ = {self.phi.tolist()} of {type(self.law).__name__}"

    def step(self, size: float) -> Tensor:
        """Return a step of φ [N, p], in units of each parameter's own size."""
        generator = torch.Generator().manual_seed(5)
        step = torch.randn(self.phi.shape, generator=generator, dtype=torch.float64)
        return size * step * self._own_sizes()

    def steps(self, size: float) -> Iterator[Tensor]:
        """Yield a step of all of φ [N, p], and one of each parameter alone."""
        yield self.step(size)
        for alone in torch.eye(self.phi.shape[1], dtype=torch.float64):
            yield size * alone * self._own_sizes()

    def others(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield φ and φ' [n, p] ever farther apart, of those that are members."""
        for size, sign in product(_FAR, (1, -1)):
            for step in self.steps(size):
                other = self.phi + sign * step
                inside = self.members(other)
                if inside.any():
                    yield self.phi[inside], other[inside]

    def members(self, phi: Tensor) -> Tensor:
        """Tell which φ [N, p] are members of the family [N]."""
        outside = torch.zeros(len(phi), dtype=torch.bool)
        for wrong in self.law.violations(phi).values():
            outside |= wrong
        return ~outside

    def noise(self, draws: int) -> Noise:
        """Return the noise of the inputs."""
        return Noise(1, np.arange(len(self.phi)), draws)

    def _own_sizes(self) -> Tensor:
        return self.phi.abs().clamp_min(0.05)
