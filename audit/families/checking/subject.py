"""A law under check, and what all checks ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audit.families.interface import Family
from audit.families.univariate import Univariate
from audit.ground.checking import LawBroken
from audit.ground.errors import NoFisher, NoTransport
from audit.linalg.stored import LinearOperator

REFUSALS = (NoFisher, NoTransport)
DRAWS = 20_000
ERRORS = 4.5  # standard errors
RESOLVED = 1e-5  # of the mass: with more lost, points are too rough to tell
SUMMED, INTEGRATED = 1e-8, 1e-3  # relative errors of sums over all outcomes
BLURRED = 0.3  # of a diagonal entry: with a larger error the mean could be anything


@dataclass(frozen=True)
class Subject:
    """A law at some parameters.

    Args:
        law: the family, its shapes fixed.
        values: its parameters [N, *shape], members of the family.
        tangent: keeps a step of φ [N, p] within the family.
        seed: of every draw.
    """

    law: Family
    values: Mapping[str, Tensor]
    tangent: Callable[[Tensor], Tensor] = lambda step: step
    seed: int = 3

    @cached_property
    def phi(self) -> Tensor:
        """φ [N, p]."""
        return self.law.pack(self.values)

    @property
    def name(self) -> str:
        """How a broken law names it."""
        return f"{type(self.law).__name__}({', '.join(self.law.parameters)})"

    @property
    def where(self) -> str:
        """At which parameters it is looked at."""
        return ", ".join(f"{k} = {v.tolist()}" for k, v in self.values.items())

    @property
    def numbers(self) -> int:
        """How many numbers one θ has."""
        return math.prod(self.law.event_shape)

    def first(self) -> Tensor:
        """Return φ of the first input [1, p]."""
        return self.phi[:1].detach()

    def alone(self) -> Subject:
        """Return the law of the first of several independent coordinates."""
        if not isinstance(self.law, Univariate) or self.law.coordinates == 1:
            return self
        shapes = dict.fromkeys(self.law.parameters, ())
        law = self.law.reshaped(shapes)
        columns = (value[:, 0] for value in self.law.split(self.phi))
        values = dict(zip(self.law.parameters, columns, strict=True))
        return Subject(law, values, self.tangent, self.seed)

    def root(self, kind: str) -> LinearOperator | None:
        """Return a root of the law; None where it refuses, or has to be sampled."""
        try:
            found: LinearOperator | None = getattr(self.law, kind)(self.phi)
        except REFUSALS:
            return None
        return found

    def refuses(self, kind: str) -> bool:
        """Tell whether the law has no such root, and says so."""
        try:
            getattr(self.law, kind)(self.phi)
        except REFUSALS:
            return True
        return False

    def step(self, size: float) -> Tensor:
        """Return a random step of φ [N, p], in units of each parameter's own size."""
        generator = torch.Generator().manual_seed(self.seed + 8)
        step = torch.randn(self.phi.shape, generator=generator, dtype=torch.float64)
        return self.tangent(size * step * self.phi.detach().abs().clamp_min(0.05))

    def demand(
        self, holds: bool | Tensor, law: str, expected: object, found: object
    ) -> None:
        """Raise where a law does not hold.

        Raises:
            LawBroken: it does not.
        """
        if not bool(holds):
            raise LawBroken(self.name, law, shown(expected), shown(found), self.where)


def gram(root: LinearOperator) -> Tensor:
    """Return BᵀB [N, p, p]."""
    entries = root.dense()
    return entries.mT @ entries


def shown(value: object) -> object:
    """Return a tensor as numbers, anything else as it is."""
    return value.tolist() if isinstance(value, Tensor) else value
