"""A plan followed by names: which steps compute, and what their numbers are called."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.importer.cleanup import call_key
from audit.importer.ops.control import taken_branch
from audit.importer.plan import Plan, Step, Upload
from audit.importer.spare.kinds import (
    MOVEMENTS,
    PICK,
    POINTWISE,
    PRODUCTS,
    REDUCTIONS,
    RUNNING,
    is_kind,
)
from audit.importer.spare.numbering import Named, Names, Table, along, elementwise
from audit.importer.spare.seen import NotSpared, Seen, wanted
from audit.importer.spare.work import Product, Work
from audit.importer.values import Value


@dataclass
class Followed:
    """What is found of a plan, in order.

    Args:
        table: of names.
        named: slot -> value.
        works: the steps that compute, in order.
    """

    plan: Plan
    seen: Seen
    table: Table = field(default_factory=Table)
    named: dict[int, Named] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)


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
        _pointwise(found, step)
    elif is_kind(step, RUNNING) or is_kind(step, REDUCTIONS):
        _along(found, step)
    elif is_kind(step, PRODUCTS):
        _product(found, step)
    elif is_kind(step, frozenset((PICK,))):
        _pick(found, step)
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


def _arguments(
    found: Followed, step: Step, data: set[int] | None = None
) -> tuple[dict[int, Named], tuple[Value, ...], Hashable]:
    """Return the operands by name, all arguments as seen, and a key of the others.

    Raises:
        NotSpared: an argument that is no operand depends on the rows.
    """
    operands, fixed, others = {}, [], []
    for position, slot in enumerate(step.inputs):
        value = found.seen.values[slot]
        if slot in found.named and (data is None or position in data):
            operands[position] = found.named[slot]
        elif slot in found.named or (data is not None and position in data):
            raise NotSpared(f"{step.node.op} has an operand that is not followed")
        elif value is not None:
            settled = found.seen.settled(slot)
            others.append(
                (position, settled.dtype.name, settled.shape, settled.tobytes())
            )
        fixed.append(value)
    key = call_key(step.node, ())
    if key is None:
        raise NotSpared(f"{step.node.op} has a graph of its own")
    return operands, tuple(fixed), (key, tuple(others))


def _pointwise(found: Followed, step: Step) -> None:
    operands, fixed, key = _arguments(found, step)
    slot = step.outputs[0]
    axis, real = found.seen.axis(slot), found.seen.values[slot]
    assert isinstance(real, Tensor)
    if axis is None:
        raise NotSpared("a value without rows is computed from some")
    if step.node.op == "Cast" and operands[0].dtype == real.dtype:
        found.named[slot] = operands[0]
        return
    for operand in operands.values():
        if operand.axis is not None and operand.from_right != axis - real.dim():
            raise NotSpared(f"{step.node.op} meets rows along different axes")
    names = elementwise(found.table, key, [o.names for o in operands.values()])
    if names.ndim != real.dim():
        raise NotSpared(f"{step.node.op} makes another rank")
    names = _folded(found.table, operands.values(), names, real.narrow(axis, 0, 1))
    result = Named(names, axis, real.dtype)
    found.named[slot] = result
    found.works.append(Work(step, result, operands, fixed, broadcasts=True))


def _folded(
    table: Table, operands: Iterable[Named], names: Names, real: Tensor
) -> Names:
    """Return names, those of what is made of constants alone as constants."""
    fixed = np.ones(names.shape, bool)
    for operand in operands:
        fixed &= table.are_constant(operand.names)
    for place in np.flatnonzero(fixed):
        number = real.reshape(-1)[int(place)].item()
        names.flat[place] = table.constant(real.dtype, number)
    return names


def _axes(found: Followed, step: Step, rank: int) -> tuple[int, ...]:
    """Return the axes that an operator runs along, from the first."""
    given = step.node.attributes.get("axes", step.node.attributes.get("axis"))
    if len(step.inputs) > 1 and step.inputs[1]:
        given = found.seen.settled(step.inputs[1]).reshape(-1).tolist()
    if given is None and is_kind(step, RUNNING) and step.node.opset >= 13:
        given = -1
    if given is None:
        raise NotSpared(f"{step.node.op} runs along all axes")
    listed = given if isinstance(given, list | tuple) else [given]
    axes = tuple(sorted(int(axis) % rank for axis in listed))
    if not axes or (
        is_kind(step, RUNNING)
        and step.node.opset < 13
        and step.node.op != "CumSum"
        and axes != (rank - 1,)
    ):
        raise NotSpared(f"{step.node.op} runs along all axes")
    return axes


def _along(found: Followed, step: Step) -> None:
    operands, fixed, key = _arguments(found, step, {0})
    (operand,) = operands.values()
    rank, slot = operand.names.ndim, step.outputs[0]
    axes = _axes(found, step, rank)
    if operand.axis is None or operand.axis in axes:
        raise NotSpared(f"{step.node.op} runs along the rows")
    reduces = is_kind(step, REDUCTIONS)
    names = along(found.table, key, operand.names, axes, reduces)
    real = found.seen.values[slot]
    assert isinstance(real, Tensor)
    kept = Named(names, operand.axis, real.dtype)
    dropped = axes if real.dim() < rank else ()
    closed = frozenset(axis - rank for axis in axes)
    shown = names.squeeze(axis=dropped) if dropped else names
    if tuple(
        shown.shape[k] for k in range(shown.ndim) if k != found.seen.axis(slot)
    ) != tuple(real.shape[k] for k in range(real.dim()) if k != found.seen.axis(slot)):
        raise NotSpared(f"{step.node.op} makes another shape")
    found.named[slot] = Named(shown, found.seen.axis(slot), real.dtype)
    found.works.append(Work(step, kept, operands, fixed, closed, dropped=dropped))


def _product(found: Followed, step: Step) -> None:
    attributes = step.node.attributes
    slot, places = step.outputs[0], step.inputs
    x, b = found.named.get(places[0]), found.plan.slots[places[1]]
    real = found.seen.values[slot]
    assert isinstance(real, Tensor)
    if x is None or x.names.ndim != 2 or x.axis != 0 or attributes.get("transA", 0):
        raise NotSpared("a product has another form than X W + b")
    if not isinstance(b, Tensor) or b.dim() != 2 or not b.is_floating_point():
        raise NotSpared("a product of two computed values")
    if x.dtype != b.dtype:
        raise NotSpared("a product of two types")
    weight = b if attributes.get("transB", 0) and step.node.op == "Gemm" else b.t()
    weight = float(attributes.get("alpha", 1.0)) * weight
    bias = _bias(found, step, len(weight), float(attributes.get("beta", 1.0)))
    rows = [row.tobytes() for row in weight.detach().cpu().double().numpy()]
    shift = [None] * len(rows) if bias is None else bias.detach().cpu().tolist()
    met = (weight != 0).cpu().numpy()
    names = [
        found.table.name(("product", row, at, tuple(x.names[0, keep].tolist())))
        for row, at, keep in zip(rows, shift, met, strict=True)
    ]
    result = Named(np.array([names], np.int64), 0, real.dtype)
    found.named[slot] = result
    found.works.append(
        Product(step, result, {0: x}, (), weight=weight.contiguous(), bias=bias)
    )


def _bias(found: Followed, step: Step, size: int, beta: float) -> Tensor | None:
    if (
        step.node.op != "Gemm"
        or len(step.inputs) < 3
        or not step.inputs[2]
        or beta == 0
    ):
        return None
    c = found.plan.slots[step.inputs[2]]
    if not isinstance(c, Tensor) or c.numel() not in (1, size) or c.dim() > 2:
        raise NotSpared("a product is shifted by what is computed")
    if c.numel() == size and size > 1 and c.shape[-1] != size:
        raise NotSpared("a product is shifted by rows")
    return (beta * c).reshape(-1).expand(size).contiguous()


def _pick(found: Followed, step: Step) -> None:
    operands, fixed, key = _arguments(found, step, {0, 1})
    data, index = operands[0], operands[1]
    rank, slot = data.names.ndim, step.outputs[0]
    axis = int(step.node.attributes.get("axis", 0)) % rank
    shape = [s for k, s in enumerate(index.names.shape) if k != axis]
    own = [s for k, s in enumerate(data.names.shape) if k != axis]
    if (
        data.axis is None
        or data.axis != index.axis
        or axis == data.axis
        or shape != own
    ):
        raise NotSpared("GatherElements picks from another place")
    wide = np.moveaxis(data.names, axis, -1)
    groups = [
        found.table.name(("row", tuple(row)))
        for row in wide.reshape(-1, wide.shape[-1]).tolist()
    ]
    places = np.moveaxis(index.names, axis, -1)
    rows = places.reshape(-1, places.shape[-1]).tolist()
    made = [
        [found.table.name((key, group, place)) for place in row]
        for group, row in zip(groups, rows, strict=True)
    ]
    names = np.moveaxis(np.array(made, np.int64).reshape(places.shape), -1, axis)
    real = found.seen.values[slot]
    assert isinstance(real, Tensor)
    result = Named(names, data.axis, real.dtype)
    found.named[slot] = result
    closed = frozenset((axis - rank,))
    found.works.append(Work(step, result, operands, fixed, closed))
