"""The steps that compute, by names: pointwise, along axes, products, picks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from audit.importer.cleanup import call_key
from audit.importer.plan import Plan, Step
from audit.importer.spare.kinds import REDUCTIONS, RUNNING, is_kind
from audit.importer.spare.numbering import Named, Names, Table, along, elementwise
from audit.importer.spare.seen import NotSpared, Seen
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


def _arguments(
    found: Followed, step: Step, data: set[int] | None = None
) -> tuple[dict[int, Named], tuple[Value, ...], Hashable]:
    """Return the operands by name, all arguments as seen, and a key of the others."""
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


def name_pointwise(found: Followed, step: Step) -> None:
    """Name each number by those at its place.

    Raises:
        NotSpared: it has a form that is not followed.
    """
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


def name_along(found: Followed, step: Step) -> None:
    """Name numbers by all along some axes.

    Raises:
        NotSpared: it has a form that is not followed.
    """
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


def name_product(found: Followed, step: Step) -> None:
    """Name a column by what meets a weight of it.

    Raises:
        NotSpared: it has a form that is not followed.
    """
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


def name_pick(found: Followed, step: Step) -> None:
    """Name what is picked by where from, and the place.

    Raises:
        NotSpared: it has a form that is not followed.
    """
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
