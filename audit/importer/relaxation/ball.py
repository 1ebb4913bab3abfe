"""The set of perturbations: x + S u with ‖u‖_p ≤ ε, one ε for each row."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from audit.ground.errors import ConfigError

UNIT = 2.0**-53  # relative rounding of one operation in float64
_LOST = 1e-153  # a number whose square is above 1e-306, where no digit is lost
POWERS = (1.0, 2.0, float("inf"))


def dual_of(power: float) -> float:
    """Return q with 1/p + 1/q = 1, for one of the three powers."""
    return {1.0: torch.inf, 2.0: 2.0}.get(power, 1.0)


@dataclass(frozen=True)
class Ball:
    """Perturbations u of B rows, each in a ball of its own size.

    Args:
        centre: x [B, *event], float64.
        reach: ε [B], not negative.
        power: p, one of 1, 2 and ∞.
        free: which of the flattened features move [m].
        unit: what one unit of u is in each of them, [m] or [B, m].

    Raises:
        ConfigError: p is another number.
    """

    centre: Tensor
    reach: Tensor
    power: float
    free: Tensor
    unit: Tensor

    def __post_init__(self) -> None:
        if self.power not in POWERS:
            raise ConfigError(
                f"A ball of the norm p={self.power:g} was asked for",
                "Expected p=1, p=2 or p=inf",
                "Choose one of these norms",
            )

    @cached_property
    def whole(self) -> bool:
        """Whether every feature moves, in its own unit."""
        every = len(self.free) == self.centre[:1].numel()
        return every and bool((self.unit == 1).all())

    def taken(self, rows: Tensor) -> Ball:
        """Return the balls of some rows [n]."""
        unit = self.unit[rows] if self.unit.dim() == 2 else self.unit
        return replace(
            self, centre=self.centre[rows], reach=self.reach[rows], unit=unit
        )

    def in_units(self, slopes: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return coefficients of x [K, R, *event] as those of u [K, R, m].

        With rows [n] they are [K, n, *event].
        """
        flat = flattened(slopes, 2)
        if self.whole:
            return flat
        several = rows is not None and self.unit.dim() == 2
        return flat[..., self.free] * (self.unit[rows] if several else self.unit)

    def largest(self, slopes: Tensor) -> Tensor:
        """Return max a·u [K, B] over the balls for a [K, R, m], rounded up.

        It is ε ‖a‖_q, 1/p + 1/q = 1 (Hölder, and it is attained).
        """
        dual = dual_of(self.power)
        norms: Tensor = torch.linalg.vector_norm(slopes, ord=dual, dim=-1)
        return norms * self.reach * (1 + (slopes.shape[-1] + 8) * UNIT)

    def radius(self) -> Tensor:
        """Return how far each feature may move [B, *event]: |u_j| ≤ ε for every p."""
        flat = flattened(torch.zeros_like(self.centre), 1)
        flat[:, self.free] = self.reach[:, None] * self.unit
        return flat.reshape(self.centre.shape)


def flattened(value: Tensor, axes: int) -> Tensor:
    """Return a value with what follows its first axes as one; a number is one place."""
    return value.reshape(*value.shape[:axes], math.prod(value.shape[axes:]))


def dual_norm(tangent: Tensor, power: float) -> Tensor:
    """Return ‖J‖_q over the first axis, not below; squares that vanish are made up for.

    Plain sums along that axis are several times as fast as a norm that scales.
    """
    if power == 1:
        norm = tangent.abs().amax(dim=0)
    elif power == 2:
        norm = tangent.square().sum(dim=0).sqrt() + len(tangent) * _LOST
    else:
        norm = tangent.abs().sum(dim=0)
    return norm * (1 + (len(tangent) + 8) * UNIT)
