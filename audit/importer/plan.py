"""A program as a flat list of steps over numbered slots.

Building a plan binds each node to its operator, moves constants to where they are
used, and cleans up (see `cleanup.py`). Running it is one loop: read slots, call,
write slots, forget what is not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import is_

import numpy as np
from torch import Tensor

from audit.ground.errors import AuditError, ModelError, UnsupportedOperator, cause
from audit.importer.limits import MAX_ELEMENTS
from audit.importer.program import Node
from audit.importer.values import Host, Policy, Value, is_text

ABSENT = 0  # the slot of an input that is not given; always None


@dataclass(frozen=True)
class Step:
    """One call: which slots it reads, writes and is the last to read."""

    node: Node
    run: Callable[..., Value]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    dead: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A callable: values of the inputs in, values of the outputs out.

    Args:
        slots: the constants at their places, None elsewhere.
        fixed: the outputs that are constants or host values (returned as copies).
    """

    slots: tuple[Value, ...]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    fixed: frozenset[int] = frozenset()

    def __call__(self, *values: Value) -> tuple[Value, ...]:
        """Run every step in order."""
        slots = list(self.slots)
        for slot, value in zip(self.inputs, values, strict=True):
            slots[slot] = value
        for step in self.steps:
            arguments = [slots[slot] for slot in step.inputs]
            try:
                result = step.run(*arguments)
            except Exception as error:
                raise failure(step.node, error, arguments) from error
            if len(step.outputs) == 1 and not isinstance(result, tuple):
                if isinstance(result, Tensor) and result.numel() > MAX_ELEMENTS:
                    raise too_large(step.node, result)
                slots[step.outputs[0]] = result
            else:
                _scatter(slots, step, result)
            for slot in step.dead:
                slots[slot] = None
        return tuple(
            _own(slots[slot]) if slot in self.fixed else slots[slot]
            for slot in self.outputs
        )


def _scatter(slots: list[Value], step: Step, result: Value) -> None:
    results = result if isinstance(result, tuple) else (result,)
    for position, slot in enumerate(step.outputs):
        if slot == ABSENT:
            continue
        if position >= len(results):
            raise ModelError(
                f"{step.node.label} has no output number {position + 1}",
                f"Expected at most {len(results)} in this form of the operator",
                "Export the file again",
            )
        value = results[position]
        if isinstance(value, Tensor) and value.numel() > MAX_ELEMENTS:
            raise too_large(step.node, value)
        slots[slot] = value


def too_large(node: Node, value: Tensor) -> ModelError:
    """Return the error for a result that the next node could only make larger."""
    return ModelError(
        f"{node.label} made a tensor of the shape {list(value.shape)}",
        f"Expected at most {MAX_ELEMENTS} elements",
        "Lower the batch size, or do not use this file if you do not know it",
    )


def _own(value: Value) -> Value:
    """Copy what the plan keeps, so that callers may change what they get."""
    return value.clone() if isinstance(value, Tensor) else value


def failure(node: Node, error: Exception, arguments: Sequence[Value]) -> AuditError:
    """Return the error to raise when an operator failed."""
    if isinstance(error, AuditError):
        named = node.label in str(error)
        given = error.given if named else f"{node.label}: {error.given}"
        return type(error)(given, error.expected, error.next_step)
    if any(map(is_text, arguments)):
        return UnsupportedOperator(
            f"{node.label} is given text",
            "Expected numbers: text is only moved, compared, joined, cut and encoded",
            "Cut the graph before this node, or use --method finite-difference",
        )
    seen = ", ".join(_describe(value) for value in arguments)
    return ModelError(
        f"{node.label} failed on inputs ({seen}): {cause(error)}",
        "Expected shapes and types that the operator accepts",
        "Check the shapes of the inputs against `robaudit inspect`",
    )


def _describe(value: Value) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    return "none" if value is None else type(value).__name__


class Remembered:
    """A host operator that answers at once when its inputs are the same objects."""

    def __init__(self, run: Callable[..., Value]) -> None:
        self.run = run
        self.last: tuple[tuple[Value, ...], Value] | None = None

    def __call__(self, *inputs: Value) -> Value:
        """Return the result for these inputs."""
        last = self.last
        if last and len(last[0]) == len(inputs) and all(map(is_, last[0], inputs)):
            return last[1]
        result = self.run(*inputs)
        self.last = (inputs, result)
        return result


class ShapeOf:
    """Shape or Size of a tensor: the same array object for the same shape."""

    def __init__(self, run: Callable[..., Value]) -> None:
        self.run = run
        self.last: tuple[object, Value] | None = None

    def __call__(self, value: Tensor | Host) -> Value:
        """Return the result for the shape of this value."""
        last, shape = self.last, value.shape
        if last and last[0] == shape:
            return last[1]
        result = self.run(value)
        self.last = (shape, result)
        return result


@dataclass(frozen=True)
class Upload:
    """Turns a host value into a tensor where a tensor is needed."""

    policy: Policy

    def __call__(self, value: Host) -> Value:
        """Return the tensor; text stays an array."""
        return value if is_text(value) else self.policy.tensor(np.asarray(value))
