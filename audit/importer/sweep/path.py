"""What lies between the perturbed input and the outputs that are asked for.

Two runs, of three rows and of two, show the axis along which each value has the batch:
the one that is three in one and two in the other. A step is on the path where one of
its operands depends on the input by numbers, and one of its results leads to an output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.importer.graph import Graph
from audit.importer.plan import ABSENT, Plan, Step
from audit.importer.registry import find
from audit.importer.sweep.rules import NotSwept, Place, Site
from audit.importer.values import Value

MORE, FEWER = 3, 2


@dataclass(frozen=True)
class Path:
    """The steps between an input and the outputs.

    Args:
        graph: the whole.
        sources: the slots of the inputs, in the order of their columns.
        places: slot -> where its rows lie, for every value on the path.
        sites: index of a step -> what is known of it, for every step on the path.
    """

    graph: Graph
    sources: tuple[int, ...]
    places: Mapping[int, Place]
    sites: Mapping[int, Site]

    @property
    def plan(self) -> Plan:
        """The graph's steps."""
        return self.graph.plan

    @property
    def outputs(self) -> tuple[int, ...]:
        """The slots of the outputs, in order."""
        return self.plan.outputs


def path_between(
    graph: Graph,
    conditions: Sequence[str],
    more: Sequence[Value],
    fewer: Sequence[Value],
) -> Path:
    """Return the path from some inputs to all outputs of a graph.

    Args:
        graph: with the outputs that are asked for.
        conditions: the names of the inputs.
        more: all inputs with three rows.
        fewer: the same with two.

    Raises:
        NotSwept: the batch of some value on the path is not to be found.
    """
    if graph.loops:
        raise NotSwept("an operator has a graph of its own")
    plan = graph.plan
    sources = tuple(plan.inputs[graph.input_names.index(n)] for n in conditions)
    three, two = (values_of(plan, graph.fitted(given)) for given in (more, fewer))
    active = _forward(plan, sources, three)
    leading = _backward(plan, active)
    on_path = active & leading
    if on_path.isdisjoint(sources):
        raise NotSwept("no output depends on the inputs")
    on_path |= set(sources)
    places = {slot: _place(slot, three, two) for slot in sorted(on_path)}
    if any(place.joined for place in places.values()):
        moved = values_of(plan, graph.fitted(_disturbed(graph, conditions, more)))
        places = {
            slot: _in_stripes(place, three[slot], moved[slot])
            for slot, place in places.items()
        }
    fixed = _fixed(plan)
    sites = {
        index: _site(step, three, places, fixed)
        for index, step in enumerate(plan.steps)
        if not on_path.isdisjoint(step.outputs) and not on_path.isdisjoint(step.inputs)
    }
    return Path(graph, sources, places, sites)


def values_of(plan: Plan, inputs: Sequence[Value]) -> list[Value]:
    """Return every value of a run, by slot."""
    slots = list(plan.slots)
    for slot, value in zip(plan.inputs, inputs, strict=True):
        slots[slot] = value
    with torch.no_grad():
        for step in plan.steps:
            put(slots, step, step.run(*(slots[slot] for slot in step.inputs)))
    return slots


def put(slots: list[Value], step: Step, result: Value) -> None:
    """Write the results of a step into their slots."""
    results = result if isinstance(result, tuple) else (result,)
    for position, slot in enumerate(step.outputs):
        if slot != ABSENT:
            if position >= len(results):
                raise NotSwept(f"{step.node.label} made fewer results than it names")
            slots[slot] = results[position]


def _passes(step: Step, source: int, output: int) -> bool:
    entry = find(step.node.domain, step.node.op, step.node.opset)
    return entry is None or entry.passes(source, output)


def _forward(plan: Plan, sources: Sequence[int], values: Sequence[Value]) -> set[int]:
    """Return the slots whose numbers depend on the inputs by a derivative."""
    active = set(sources)
    for step in plan.steps:
        moving = [k for k, slot in enumerate(step.inputs) if slot in active]
        for position, slot in enumerate(step.outputs):
            value = values[slot]
            if slot == ABSENT or not any(_passes(step, k, position) for k in moving):
                continue
            if isinstance(value, list | dict):
                raise NotSwept(f"{step.node.label} makes a sequence of values")
            if isinstance(value, Tensor) and value.is_floating_point():
                active.add(slot)
    return active


def _backward(plan: Plan, active: set[int]) -> set[int]:
    """Return the slots that lead to an output."""
    leading = set(plan.outputs) & active
    for step in reversed(plan.steps):
        if not leading.isdisjoint(step.outputs):
            leading |= {
                slot
                for k, slot in enumerate(step.inputs)
                if slot in active
                and any(
                    _passes(step, k, position)
                    for position, out in enumerate(step.outputs)
                    if out in leading
                )
            }
    return leading


def _place(slot: int, three: Sequence[Value], two: Sequence[Value]) -> Place:
    a, b = three[slot], two[slot]
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.dim() != b.dim():
        raise NotSwept("a value on the path has another rank with fewer rows")
    pairs = list(zip(a.shape, b.shape, strict=True))
    axes = [axis for axis, (m, n) in enumerate(pairs) if m != n]
    if len(axes) != 1 or FEWER * pairs[axes[0]][0] != MORE * pairs[axes[0]][1]:
        raise NotSwept(f"a value of the shape {list(a.shape)} has no axis for the rows")
    shape, joined = list(a.shape), a.shape[axes[0]] // MORE
    if joined > 1:
        shape[axes[0]] = joined
        return Place(axes[0], tuple(shape), joined)
    del shape[axes[0]]
    return Place(axes[0], tuple(shape))


def _disturbed(
    graph: Graph, conditions: Sequence[str], inputs: Sequence[Value]
) -> list[Value]:
    """Return the inputs with the first row of those that are differentiated changed."""
    found = list(inputs)
    for name in conditions:
        position = graph.input_names.index(name)
        value = found[position]
        if isinstance(value, Tensor) and value.dim():
            first = 0.5 * value[:1] - 0.25 * value.abs().max().clamp_min(1e-3)
            found[position] = torch.cat([first, value[1:]])
    return found


def _in_stripes(place: Place, before: Value, after: Value) -> Place:
    """Return a joined place as its rows lie: in stripes where a change shows so."""
    if place.joined is None:
        return place
    assert isinstance(before, Tensor)
    assert isinstance(after, Tensor)
    apart = (before != after).movedim(place.axis, 0)
    changed = apart.unsqueeze(-1).flatten(1).any(dim=1)
    where = set(changed.nonzero().squeeze(1).tolist())
    stripes = set(range(0, MORE * place.joined, MORE))
    together = set(range(place.joined))
    return replace(place, striped=where <= stripes and not where <= together)


def _fixed(plan: Plan) -> set[int]:
    """Return the slots that hold the same in every run: constants, and what is of them.

    A cast to the type of a value does not depend on the value.
    """
    fixed = {ABSENT}
    for slot, value in enumerate(plan.slots):
        if value is not None and slot not in plan.inputs:
            fixed.add(slot)
    for step in plan.steps:
        node = step.node
        entry = find(node.domain, node.op, node.opset)
        read = step.inputs[:1] if node.op == "CastLike" else step.inputs
        if entry is not None and entry.pure and fixed.issuperset(read):
            fixed |= set(step.outputs)
    return fixed


def _site(
    step: Step,
    values: Sequence[Value],
    places: Mapping[int, Place],
    fixed: set[int],
) -> Site:
    active = {
        k: places[slot]
        for k, slot in enumerate(step.inputs)
        if slot in places and any(_passes(step, k, p) for p in range(len(step.outputs)))
    }
    outputs = {p: places[slot] for p, slot in enumerate(step.outputs) if slot in places}
    arguments = tuple(values[slot] for slot in step.inputs)
    known = tuple(slot in fixed for slot in step.inputs)
    return Site(step, arguments, known, active, outputs, MORE)
