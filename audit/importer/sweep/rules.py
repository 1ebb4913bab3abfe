"""What a rule is: the value of a step and the transpose of its derivative.

A rule is made for one step of a plan, from what a run of a few rows shows of it, and
belongs to the operator: `RULES` maps its name to the function that makes one, or says
None where it has none for this form of it. Then autograd takes the step alone.

Sources: reverse accumulation, Griewank & Walther, Evaluating Derivatives (2008), 3.2;
each transpose is in its module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from audit.importer.plan import Step
from audit.importer.sweep.rows import Piece
from audit.importer.values import Value

Kept = tuple[Tensor, ...]
"""What a rule keeps of a run: each [n or 1, 1, …], so that inputs can be cut out."""


class NotSwept(Exception):
    """The sweep does not fit what it is given: autograd takes over."""


@dataclass(frozen=True)
class Place:
    """Where the rows of a value lie.

    Args:
        axis: of the batch.
        shape: the row shape, without it.
        joined: how many numbers of each row the batch's axis holds (a batch of
            sequences as one of steps); they are `shape[axis]` then. None where it
            holds rows alone.
        striped: whether these lie in stripes, the first of all rows first, and not
            one row after the other.
    """

    axis: int
    shape: tuple[int, ...]
    joined: int | None = None
    striped: bool = False

    @property
    def rank(self) -> int:
        """The axes of the value, with the batch."""
        return len(self.shape) + (self.joined is None)

    @property
    def plain(self) -> bool:
        """Whether the batch comes first, and its axis holds rows alone."""
        return self.axis == 0 and self.joined is None

    def count(self, value: Tensor) -> int:
        """Return the number of rows of a value."""
        return value.shape[self.axis] // (self.joined or 1)

    def dim(self, axis: int) -> int:
        """Return which axis of cotangents [n, r, *row shape] one of the value is."""
        return axis + 1 + (axis < self.axis or self.joined is not None)

    def first(self, value: Tensor) -> Tensor:
        """Return a value with its batch on the first axis, or one stretched over it."""
        if self.joined is not None:
            size = value.shape[self.axis]
            rows = (1, 1) if size == 1 else (size // self.joined, self.joined)
            before, after = value.shape[: self.axis], value.shape[self.axis + 1 :]
            value = value.reshape(
                *before, *(rows[::-1] if self.striped else rows), *after
            )
        return value.movedim(self.axis + self.striped, 0)

    def back(self, value: Tensor) -> Tensor:
        """Return a value [n, *row shape] with its batch where it was."""
        value = value.movedim(0, self.axis + self.striped)
        if self.joined is None:
            return value
        return value.flatten(self.axis, self.axis + 1)

    def fits(self, value: Value, rows: int) -> bool:
        """Whether a value has this shape at so many inputs."""
        if not isinstance(value, Tensor):
            return False
        after = self.axis + (self.joined is not None)
        size = rows * (self.joined or 1)
        whole = (*self.shape[: self.axis], size, *self.shape[after:])
        return tuple(value.shape) == whole


@dataclass(frozen=True)
class Site:
    """A step, and what a run of a few rows shows of it.

    Args:
        step: of the plan.
        arguments: its arguments in that run.
        fixed: which of them are the same in every run.
        active: position of an argument -> where its rows lie, for those that a
            derivative passes through.
        outputs: position of a result -> where its rows lie, likewise.
        rows: of that run.
    """

    step: Step
    arguments: tuple[Value, ...]
    fixed: tuple[bool, ...]
    active: dict[int, Place]
    outputs: dict[int, Place]
    rows: int

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.step.node.op

    @property
    def opset(self) -> int:
        """The version of its domain."""
        return self.step.node.opset

    def attribute(self, name: str, default: object) -> object:
        """Return an attribute of the node."""
        return self.step.node.attributes.get(name, default)

    def others_fixed(self) -> bool:
        """Whether every argument that no derivative passes through is a constant."""
        return all(
            fixed or position in self.active or argument is None
            for position, (argument, fixed) in enumerate(
                zip(self.arguments, self.fixed, strict=True)
            )
        )

    def only(self) -> tuple[int, Place, Place] | None:
        """Return (position, place, place of the result) of a step with one of each."""
        if len(self.active) != 1 or list(self.outputs) != [0]:
            return None
        ((position, place),) = self.active.items()
        return position, place, self.outputs[0]


class Rule(Protocol):
    """A step with its derivative."""

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return what the step makes, and what `pull` needs of it."""

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Return the cotangents of each active argument, in their order.

        Args:
            kept: of the inputs that are pulled back.
            given: the cotangents of each active result, in order; of one at least.
        """


class KeepsNothing:
    """What a rule is made of whose `pull` needs nothing of a run."""

    _run: Callable[..., Value]

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value."""
        return self._run(*arguments), ()


def only_piece(given: Sequence[Piece | None]) -> Piece:
    """Return the cotangents of a step's only result: a step without any is passed."""
    (piece,) = given
    assert piece is not None
    return piece


Maker = Callable[[Site], Rule | None]
RULES: dict[str, Maker] = {}


def rule(*names: str) -> Callable[[Maker], Maker]:
    """Register what makes the rule of some operators of the default domain."""

    def register(maker: Maker) -> Maker:
        RULES.update(dict.fromkeys(names, maker))
        return maker

    return register


def is_number_like(value: Value) -> bool:
    """Whether a value holds floating numbers."""
    if isinstance(value, Tensor):
        return value.is_floating_point()
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"
