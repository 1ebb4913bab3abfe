"""Functions of several numbers, each an affine map at the centre and a rest.

    f(v) = f(v₀) + J (v − v₀) + R(v),    R in [R₁, R₂] on the ball,

for whatever values v₀ are at the centre of a tape. The affine map is carried as others
are, with J at v₀; what is enclosed is R, by the module of each function.

**Rounding.** f(v₀), J and products with them are off by a few γ of |J| |v| and |f(v₀)|,
n the numbers that go in and come out (`bounds`); 16 γ of both is added wherever they
are used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from torch import Tensor

Pair = tuple[Tensor, Tensor]
Values = tuple[Tensor, ...]


@dataclass(frozen=True)
class Near:
    """What is known of the inputs v of a surface, around their values v₀.

    Args:
        values: v₀ [B, *in]. ends: intervals of v. gamma: γ of the surface.
        reach: ε, with as many axes as the value has.
        sways: ε ‖J‖_q of the inputs, rounded up; None: no forms are known.
        rests: of v − v₀ = J u + f, bounds on |f|.
        times: m, the directions of the tangents.
        own: ε ‖J‖_q of the value. crossed: what the surface asked `Slopes` to keep.
        passed: what the surface asked backward passes for; None: nothing.
    """

    values: Values
    ends: tuple[Pair, ...]
    gamma: float
    reach: Tensor
    sways: Values | None = None
    rests: Values | None = None
    times: int = 1
    own: Tensor | None = None
    crossed: Tensor | None = None
    passed: Pair | None = None

    def far(self, place: int) -> Tensor:
        """Return an upper bound on |v − v₀| by the interval of an input."""
        value, (low, high) = self.values[place], self.ends[place]
        size = low.abs().maximum(high.abs()).maximum(value.abs())
        return (high - value).maximum(value - low).clamp_min(0) + 2.0**-50 * size


@dataclass(frozen=True)
class Surface(ABC):
    """A function of several numbers.

    Args:
        inputs: positions in the tape.
    """

    inputs: tuple[int, ...]

    @abstractmethod
    def moved(self, inputs: tuple[int, ...]) -> Self:
        """Return the same function of other values."""

    @abstractmethod
    def run(self, *values: Tensor) -> Tensor:
        """Return f of values [R, *in]."""

    @abstractmethod
    def along(self, values: Values, tangents: Values) -> Tensor:
        """Return J t [m, R, *out] for tangents [m, R, *in], J at values."""

    @abstractmethod
    def back(self, functionals: Tensor, values: Values) -> Values:
        """Carry functionals [K, R, *out] over J at values."""

    @abstractmethod
    def absolute(self, values: Values, magnitudes: Values) -> Tensor:
        """Return an upper bound on |J| m, up to rounding."""

    @abstractmethod
    def range(self, ends: tuple[Pair, ...], gamma: float) -> Pair:
        """Return an interval of f for intervals of the inputs."""

    @abstractmethod
    def rest(self, near: Near) -> Pair:
        """Return an interval of R."""

    def crossed(self, values: Values, tangents: Values, power: float) -> Tensor | None:
        """Return what is asked for of the tangents of the inputs."""
        return None

    def wanted(self, values: Values) -> Tensor | None:
        """Return functionals of the input [K, B, *in] that R is made of, if any."""
        return None

    def taken(self, bounds: Tensor, values: Values) -> Pair:
        """Return what bounds [K, B] on the absolute values of those say."""
        raise NotImplementedError
