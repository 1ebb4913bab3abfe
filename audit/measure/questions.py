"""What is asked at every input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks.bases import Attack
from audit.geometry.divergence import Divergence
from audit.geometry.row_frame import Frames
from audit.measure.bounds import Bounds
from audit.measure.plan import Plan
from audit.nodes.noise import Noise


@dataclass(frozen=True)
class Principal:
    """The space that the data's leading principal components span.

    Args:
        basis: orthonormal columns [m, k], of the free features; None with a reason.
        rows: how many inputs it is of.
        reason: why there is none.
    """

    basis: Tensor | None
    rows: int
    reason: str = ""


@dataclass(frozen=True)
class Questions:
    """What is asked at every input."""

    divergences: tuple[Divergence, ...]
    attacks: Mapping[str, Attack]
    frame: Frames
    top: int
    tau: float
    draws: int
    seed: int
    keep_directions: bool
    sampling: str = "auto"
    rel_error: float | None = None
    max_draws: int = 0
    plan: Plan = field(default_factory=Plan)
    principal: Principal | None = None
    bounds: Bounds | None = None
    """The valid range of the inputs; None: everything."""

    @property
    def matrix_free(self) -> bool:
        """Whether Jacobians are known by their products alone."""
        return self.plan.by_products

    def noise(self, index: NDArray[np.int64]) -> Noise:
        """Return the randomness of some inputs."""
        return Noise(self.seed, index, self.draws, self.sampling)
