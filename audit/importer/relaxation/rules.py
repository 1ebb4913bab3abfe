"""The table of rules: an operator's name -> how it is written on a tape.

A rule is a function of one `Call`. It appends entries and returns what its node makes:
the position of a value, or a marker for what only some other operators can take (a
comparison, a softmax). An operator without a rule has no certificate, and neither has a
form of it that its rule does not know.

    @rule("MyOp")
    def my_op(call: Call) -> Operand: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import NoCertificate
from audit.importer.cleanup import OWN
from audit.importer.plan import Step
from audit.importer.relaxation.tape import Tape, refusal
from audit.importer.values import Value

Run = Callable[..., Tensor]


@dataclass(frozen=True)
class Moving:
    """A value that moves with x: its position on the tape."""

    at: int


@dataclass(frozen=True)
class Compared:
    """Where a moving value is above a number (or below, if `above` is false)."""

    at: int
    number: float
    above: bool


@dataclass(frozen=True)
class Softened:
    """The softmax of a moving value over its last axis, or the logarithm of it."""

    at: int
    log: bool = False


@dataclass(frozen=True)
class Displaced:
    """Copies of the elements of a moving value, with rows on another axis.

    Args:
        at: its position on the tape. run: the value [B, *in] -> its elements elsewhere.
        what: the operator that put them there.
    """

    at: int
    run: Run
    what: str


Operand: TypeAlias = "Moving | Compared | Softened | Displaced | Value"
Made: TypeAlias = "Operand | tuple[Operand, ...]"
Rule = Callable[["Call"], Made]
_RULES: dict[str, Rule] = {}
_MODULES = (
    *("linear", "weighted", "placing", "bent", "activations", "normalising"),
    *("pooled", "reduced", "recurrent"),
)
R = TypeVar("R", bound=Rule)


def rule(*names: str) -> Callable[[R], R]:
    """Register a rule for operators of the default domain, or of our own."""

    def register(function: R) -> R:
        _RULES.update(dict.fromkeys(names, function))
        return function

    return register


def find(domain: str, name: str) -> Rule | None:
    """Return the rule of an operator, None where there is none."""
    _load()
    return _RULES.get(name) if domain in ("", OWN) else None


@cache
def _load() -> None:
    for name in _MODULES:
        import_module(f"audit.importer.relaxation.{name}")


@dataclass(frozen=True)
class Call:
    """One node, and what it is given.

    Args:
        tape: where its value goes.
        step: the node, bound to its operator.
        arguments: in the node's order; constants are tensors or arrays.
    """

    tape: Tape
    step: Step
    arguments: tuple[Operand, ...]

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.step.node.op

    def attribute(self, name: str, default: object = None) -> object:
        """Return an attribute of the node."""
        return self.step.node.attributes.get(name, default)

    def refused(self, why: str = "") -> NoCertificate:
        """Return the refusal of this operator, or of this form of it."""
        return refusal(f"{self.op} {why}".strip())

    def moving(self, *allowed: int) -> list[int]:
        """Return the positions on the tape of the arguments that move, in order.

        Raises:
            NoCertificate: one moves that is not among the allowed, or is a marker.
        """
        found = []
        for place, argument in enumerate(self.arguments):
            if isinstance(argument, Compared | Softened):
                raise self.refused("of a comparison or a softmax")
            if isinstance(argument, Moving):
                if allowed and place not in allowed:
                    raise self.refused(f"with an operand {place + 1} that moves")
                found.append(argument.at)
        return found

    def constant(self, place: int) -> Tensor | None:
        """Return a constant argument as a tensor; None if it is not there."""
        if place >= len(self.arguments):
            return None
        value = self.arguments[place]
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value))
        if value is not None and not isinstance(value, Tensor):
            raise self.refused("of a value that is no tensor")
        return None if value is None else value.to(self.tape.x.device)

    def wide(self, place: int) -> Tensor | None:
        """Return a constant argument in float64."""
        value = self.constant(place)
        return None if value is None else value.double()

    def filled(self, *values: Tensor) -> Value:
        """Run the operator with values for the arguments that move."""
        rest = iter(values)
        given = [next(rest) if isinstance(a, Moving) else a for a in self.arguments]
        return self.step.run(*given)

    def run(self, *values: Tensor) -> Tensor:
        """Return the first result for values of the arguments that move."""
        found = self.filled(*values)
        first = found[0] if isinstance(found, tuple) else found
        assert isinstance(first, Tensor)
        return first.double()
