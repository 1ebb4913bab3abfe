"""The parameters of a law: their names and shapes, and the vector φ they make.

φ [N, p] is the concatenation of the family's parameters, each broadcast to the event
and flattened: for a product of n one-dimensional laws (loc₁ … loc_n, scale₁ …). It is
always float64: the network runs in the file's own dtype, the small algebra does not.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from audit.families.roles import ROLES, Role
from audit.ground.errors import ConfigError

Shapes = Mapping[str, tuple[int, ...]]
"""Parameter -> its shape without the batch axis."""


class Parameterised(ABC):
    """What φ is made of, with the shapes fixed.

    Args:
        shapes: parameter name -> shape without the batch axis; () is one number that
            all coordinates share.
        options: settings that are not parameters (`levels` of a quantile head).

    Raises:
        ConfigError: the names are not one of `parameterizations`, an option is not
            one of `options` or is missing, or the shapes do not fit each other.
    """

    parameterizations: ClassVar[tuple[tuple[str, ...], ...]]
    options: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()  # those of `options` with a default
    event_axes: ClassVar[Mapping[str, int]] = {}
    """Parameter -> how many axes it has for one law, where that is fixed; axes before
    them are places with a law each. A parameter that is not named takes any shape."""
    roles: ClassVar[Mapping[str, Role]] = {}  # where a name means another than usual

    def __init__(self, shapes: Shapes, **options: object) -> None:
        self.parameters = self._match(tuple(shapes))
        self.shapes = {name: tuple(shapes[name]) for name in self.parameters}
        if unknown := set(options) - set(self.options):
            raise ConfigError(
                f"The family {self.name} was given the option {sorted(unknown)[0]!r}",
                f"It takes {', '.join(self.options) or 'none'}",
                "Remove the option",
            )
        if missing := set(self.options) - set(options) - set(self.optional):
            raise ConfigError(
                f"The family {self.name} was not given its {sorted(missing)[0]}",
                f"It takes the options {', '.join(self.options)}",
                f"Pass --option {sorted(missing)[0]}=VALUE; robaudit explain "
                f"{self.name} says what it is",
            )
        self.settings: dict[str, object] = dict(options)

    @property
    def name(self) -> str:
        """The id under which the family is registered (class name in snake case)."""
        letters = (f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__)
        return "".join(letters).lstrip("_")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shapes!r})"

    # φ and back

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of parameters p."""

    @property
    @abstractmethod
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one θ."""

    @abstractmethod
    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Flatten parameters [N, *shape] into φ [N, p], differentiably."""

    @abstractmethod
    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the parameters of φ, as `torch.distributions` takes them."""

    def finite(self, phi: Tensor) -> Tensor:
        """Return φ [N, p] with 0 for what is infinite in a member of the family.

        Differences of φ are then numbers, where the members' infinities are equal.
        """
        return phi

    @abstractmethod
    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N], true where φ is no member of the family.

        The reason is a sentence for the reader ("scale is not positive").
        """

    # what its parameters are for

    def role(self, name: str) -> Role | None:
        """Return what a parameter is for; None where no single word says it."""
        return self.roles.get(name, ROLES.get(name))

    def coordinate_of_each(self) -> Tensor | None:
        """Return which coordinate of θ each entry of φ belongs to, integers [p].

        Returns:
            None where coordinates depend on each other, or share parameters.
        """
        if math.prod(self.event_shape) != 1:
            return None
        return torch.zeros(self.size, dtype=torch.int64)

    # helpers

    @classmethod
    def _match(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for known in cls.parameterizations:
            if set(known) == set(names):
                return known
        wanted = " or ".join(", ".join(known) for known in cls.parameterizations)
        option = next((name for name in names if name in cls.options), None)
        raise ConfigError(
            f"The family {cls.__name__} was given the parameters {', '.join(names)}",
            f"It takes {wanted}",
            f"Give {option}, which is no parameter, with --option {option}=VALUE"
            if option
            else "Name each of them with --param NAME=EXPRESSION",
        )


def either(*parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the violations of several parts of a law, those of one reason together."""
    found: dict[str, Tensor] = {}
    for part in parts:
        for reason, wrong in part.items():
            found[reason] = found[reason] | wrong if reason in found else wrong
    return found


def check_finite(phi: Tensor) -> dict[str, Tensor]:
    """Return the violation every family shares: a parameter that is not finite."""
    return {"a parameter is not finite": ~torch.isfinite(phi).all(dim=-1)}
