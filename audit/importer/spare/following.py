"""A plan followed by names: which steps compute, and what their numbers are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.importer.ops.control import taken_branch
from audit.importer.plan import Plan, Step, Upload
from audit.importer.spare.computing import (
    Followed,
    name_along,
    name_pick,
    name_pointwise,
    name_product,
)
from audit.importer.spare.kinds import (
    MOVEMENTS,
    PICK,
    POINTWISE,
    PRODUCTS,
    REDUCTIONS,
    RUNNING,
    is_kind,
)
from audit.importer.spare.numbering import Named, Table
from audit.importer.spare.seen import NotSpared, Seen, wanted
from audit.importer.values import Value


def follow(plan: Plan, seen: Seen) -> Followed:
    """Follow a plan from its inputs.

    Raises:
        NotSpared: an operator, or a form of one, is not followed.
    """
    found = Followed(plan, seen)
    for slot in plan.inputs:
        value = seen.values[slot]
        assert isinstance(value, Tensor)
        found.named[slot] = _input(found.table, slot, value)
    for slot, value in enumerate(plan.slots):
        if isinstance(value, Tensor):
            found.named[slot] = found.table.of_tensor(value, None)
    for step in plan.steps:
        _step(found, step)
    return found


def _input(table: Table, slot: int, value: Tensor) -> Named:
    shape = (1, *value.shape[1:])
    names = [table.name(("input", slot, k)) for k in range(int(np.prod(shape)))]
    return Named(np.array(names, np.int64).reshape(shape), 0, value.dtype)


def _step(found: Followed, step: Step) -> None:
    seen, table = found.seen, found.table
    outputs = wanted(step)
    if all(seen.host(slot) for slot in outputs):
        return
    if isinstance(step.run, Upload) or _is_constant(found, step):
        for slot in outputs:
            value = seen.values[slot]
            if not isinstance(value, Tensor):
                raise NotSpared("a constant is no tensor")
            found.named[slot] = table.of_tensor(value, seen.axis(slot))
    elif _is_movement(found, step):
        _move(found, step)
    elif len(outputs) != 1 or step.outputs[0] != outputs[0]:
        raise NotSpared(f"{step.node.label} has several results")
    elif is_kind(step, POINTWISE):
        name_pointwise(found, step)
    elif is_kind(step, RUNNING) or is_kind(step, REDUCTIONS):
        name_along(found, step)
    elif is_kind(step, PRODUCTS):
        name_product(found, step)
    elif is_kind(step, frozenset((PICK,))):
        name_pick(found, step)
    else:
        raise NotSpared(f"{step.node.op} is not followed")


def _is_constant(found: Followed, step: Step) -> bool:
    """Whether a step's operands are constants (of those that have numbers)."""
    given = [found.named[slot] for slot in step.inputs if slot in found.named]
    return all(bool(found.table.are_constant(value.names).all()) for value in given)


def _is_movement(found: Followed, step: Step) -> bool:
    """Whether a step only moves numbers; so does an If of a branch that does."""
    if is_kind(step, frozenset(("If",))):
        condition = step.inputs[0]
        if not _alike(found.seen, condition):
            return False
        known = found.named.get(condition)
        if known is not None and not found.table.are_constant(known.names).all():
            return False
        branch = taken_branch(step.run, found.seen.values[condition])
        return branch is not None and all(
            isinstance(each.run, Upload) or is_kind(each, MOVEMENTS)
            for each in branch.plan.steps
        )
    return is_kind(step, MOVEMENTS)


def _alike(seen: Seen, slot: int) -> bool:
    """Whether a value is the same with fewer rows."""
    a, b = seen.values[slot], seen.fewer[slot]
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


def _moving(step: Step) -> set[int]:
    """Return the positions of the operands that are moved."""
    if step.node.op == "Concat":
        return set(range(len(step.inputs)))
    if step.node.op == "If":
        return set(range(1, len(step.inputs)))
    return {0}


def _move(found: Followed, step: Step) -> None:
    """Run a movement on names."""
    seen, table = found.seen, found.table
    moving, arguments = _moving(step), []
    for position, slot in enumerate(step.inputs):
        value: Value = seen.values[slot]
        if slot in found.named and position in moving:
            value = table.coded(found.named[slot])
        elif slot in found.named:
            if not table.are_constant(found.named[slot].names).all():
                raise NotSpared(f"{step.node.op} moves by numbers that are computed")
        elif position in moving and value is not None:
            raise NotSpared(f"{step.node.op} moves a value of shape arithmetic")
        arguments.append(value)
    if step.node.op == "Pad":
        _zero_fill(step, arguments)
    try:
        result = step.run(*arguments)
    except (AuditError, RuntimeError, TypeError, ValueError) as error:
        raise NotSpared(f"{step.node.op} moves no names: {error}") from error
    results = result if isinstance(result, tuple) else (result,)
    for slot, codes in zip(step.outputs, results, strict=False):
        if slot:
            real = seen.values[slot]
            if not isinstance(codes, Tensor) or not isinstance(real, Tensor):
                raise NotSpared(f"{step.node.op} makes no tensor")
            found.named[slot] = table.decoded(codes, seen.axis(slot), real.dtype)


def _zero_fill(step: Step, arguments: Sequence[Value]) -> None:
    """Refuse a Pad that puts anything but zeros."""
    fill = arguments[2] if len(arguments) > 2 else step.node.attributes.get("value")
    if str(step.node.attributes.get("mode", "constant")) not in (
        "constant",
        "b'constant'",
    ):
        return
    if fill is not None and float(np.asarray(fill).reshape(-1)[0]) != 0:
        raise NotSpared("a Pad puts other numbers than zeros")
