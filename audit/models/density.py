"""q(θ|x): a family after a differentiable map.

The one place where models (left of the root) and geometry (right of it) meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from audit.families.interface import Family
from audit.linalg.stored import LinearOperator

Values = Mapping[str, Tensor]


class Linearized(Protocol):
    """φ with its derivative at x; `held` carries the inputs that are not perturbed."""

    def linearize(self, x: Tensor, held: Values) -> tuple[Tensor, LinearOperator]:
        """Return φ [N, p] and its Jacobian [N, p, d], from one forward pass."""


class DifferentiableMap(Linearized, Protocol):
    """x -> φ with its derivative."""

    def __call__(self, x: Tensor, held: Values) -> Tensor:
        """Return φ [N, p] in float64, for x [N, d]."""


@dataclass(frozen=True)
class ConditionalDensity:
    """A family whose parameters are a function of x.

    Args:
        parameter_map: x [N, d] -> φ [N, p].
        family: what φ means.
        d: the number of features of x, flattened.
    """

    parameter_map: DifferentiableMap
    family: Family
    d: int
