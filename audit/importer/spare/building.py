"""From a graph to a program that computes each number once, and none in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from audit.importer.graph import Graph
from audit.importer.influence import fluid
from audit.importer.spare.assembly import Shelf
from audit.importer.spare.demand import Task, tasks
from audit.importer.spare.emitted import Emitted, with_deaths
from audit.importer.spare.following import Followed, follow
from audit.importer.spare.seen import NotSpared, look
from audit.importer.spare.work import Product


def spared(graph: Graph, values: Sequence[Tensor]) -> Emitted:
    """Return a graph as a program for any number of rows.

    Args:
        graph: each of whose outputs is a tensor with its rows first.
        values: of its inputs, in order: at least three rows.

    Raises:
        NotSpared: it has a form that is not followed.
    """
    if fluid(graph.program, graph.input_names):
        raise NotSpared("the shape of a value depends on numbers")
    fitted = graph.fitted(values)
    tensors = [value for value in fitted if isinstance(value, Tensor)]
    if len(tensors) != len(fitted) or not tensors:
        raise NotSpared("an input is no tensor")
    found = follow(graph.plan, look(graph.plan, tensors))
    shelf = Shelf(found.table, tensors[0].device)
    inputs = tuple(shelf.put(found.named[slot]) for slot in graph.plan.inputs)
    for task in tasks(found, graph.plan.outputs):
        _emit(shelf, task)
    outputs = tuple(_output(found, shelf, slot) for slot in graph.plan.outputs)
    calls = with_deaths(shelf.calls, (*outputs, *inputs, *shelf.constants))
    return Emitted(calls, shelf.constants, inputs, outputs, len(shelf.values))


def _output(found: Followed, shelf: Shelf, slot: int) -> int:
    value = found.named[slot]
    if value.axis != 0:
        raise NotSpared("an output has its rows not on the first axis")
    return shelf.fetch(value)


def _emit(shelf: Shelf, task: Task) -> None:
    work, lanes = task.work, task.lanes
    if isinstance(work, Product):
        _emit_product(shelf, work, task)
        return
    wants = work.wants(lanes)
    reads = [shelf.fetch(want.value, want.whole) for want in wants.values()]
    shelf.call(work.call(lanes), reads, work.part(lanes))


def _emit_product(shelf: Shelf, work: Product, task: Task) -> None:
    """Emit a product; its columns of X in the order in which they lie there."""
    (want,) = work.wants(task.lanes).values()
    names = want.value.names.reshape(-1).tolist()
    lying = [min(shelf.where.get(n, {-1: 0}).items()) for n in names]
    order = np.array(sorted(range(len(names)), key=lambda k: lying[k]), np.int64)
    x = replace(want.value, names=want.value.names[:, order])
    reads = [shelf.fetch(x)]
    shelf.call(work.ordered(task.lanes, order), reads, work.part(task.lanes))
