"""From an imported graph to a tape: the graph's own plan, followed once.

What does not depend on the numbers of x is computed as the graph computes it (weights,
shapes, held inputs); what does is written down by the rule of its operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from audit.ground.errors import NoCertificate, cause
from audit.importer.graph import Graph
from audit.importer.plan import Plan, ShapeOf, Step
from audit.importer.relaxation.displaced import followed
from audit.importer.relaxation.normalising import between_layers
from audit.importer.relaxation.rules import (
    Call,
    Compared,
    Displaced,
    Made,
    Moving,
    Operand,
    Rule,
    Softened,
    find,
)
from audit.importer.relaxation.tape import Tape, refusal

_MARKS = (Moving, Compared, Softened, Displaced)


def read(
    graph: Graph, tape: Tape, condition: str, held: Mapping[str, Tensor]
) -> dict[str, Operand]:
    """Write a graph on a tape whose first value is the graph's input.

    Args:
        graph: evaluated in float64.
        tape: it grows.
        condition: the input that moves.
        held: the other inputs.

    Returns:
        Output -> its value, constant where it does not move.

    Raises:
        NoCertificate: an operator on the way has no rule; it is named.
    """
    plan = graph.plan
    _check_operators(plan, plan.inputs[graph.input_names.index(condition)])
    slots: list[Operand] = list(plan.slots)
    for slot, name in zip(plan.inputs, graph.input_names, strict=True):
        slots[slot] = Moving(0) if name == condition else held[name]
    with torch.no_grad():
        for step in plan.steps:
            _follow(tape, step, slots)
    names = zip(graph.output_names, plan.outputs, strict=True)
    found = {name: slots[slot] for name, slot in names}
    for value in found.values():
        if isinstance(value, Displaced):
            raise refusal(f"{value.what} moves the axis of the rows")
    return found


def _check_operators(plan: Plan, source: int) -> None:
    """Raise for every operator on the way that has no rule, before any is followed."""
    moving, unknown = {source}, dict[str, None]()
    for step in plan.steps:
        if isinstance(step.run, ShapeOf) or moving.isdisjoint(step.inputs):
            continue
        moving.update(slot for slot in step.outputs if slot)
        if find(step.node.domain, step.node.op) is None:
            unknown[step.node.op] = None
    if unknown:
        raise refusal(", ".join(unknown))


def _follow(tape: Tape, step: Step, slots: list[Operand]) -> None:
    given = tuple(slots[slot] for slot in step.inputs)
    if isinstance(step.run, ShapeOf):
        given = tuple(
            a.run(tape.values[a.at]) if isinstance(a, Displaced) else a for a in given
        )
        given = tuple(tape.values[a.at] if isinstance(a, _MARKS) else a for a in given)
    if not any(isinstance(a, _MARKS) for a in given):
        result: Made = step.run(*given)
    else:
        written = find(step.node.domain, step.node.op)
        assert written is not None
        result = _written(written, Call(tape, step, given))
    if len(step.outputs) == 1 and not isinstance(result, tuple):
        slots[step.outputs[0]] = result
        return
    results = result if isinstance(result, tuple) else (result,)
    for slot, value in zip(step.outputs, results, strict=False):
        if slot:
            slots[slot] = value


def _spelled(call: Call) -> Iterator[Operand]:
    """Yield the arguments, a softmax that something reads number by number."""
    for argument in call.arguments:
        if isinstance(argument, Softened):
            yield Moving(between_layers(call.tape, argument))
        else:
            yield argument


def _written(rule: Rule, call: Call) -> Made:
    """Apply a rule; a form of the operator that it stumbles over is refused."""
    try:
        given = replace(call, arguments=tuple(_spelled(call)))
        if any(isinstance(a, Displaced) for a in given.arguments):
            return followed(rule, given)
        return rule(given)
    except NoCertificate:
        raise
    except Exception as error:  # shapes of every kind, from torch
        raise refusal(f"{call.op} ({cause(error)})") from error
