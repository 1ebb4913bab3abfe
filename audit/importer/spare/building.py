"""From a graph to a program that computes each number once, and none in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from audit.importer.graph import Graph
from audit.importer.influence import fluid
from audit.importer.spare import clips, picks, powers, sums
from audit.importer.spare.assembly import Shelf
from audit.importer.spare.computing import Followed
from audit.importer.spare.demand import tasks
from audit.importer.spare.emitted import Emitted, with_deaths
from audit.importer.spare.following import follow
from audit.importer.spare.numbering import Named
from audit.importer.spare.pieces import Piece, Readers, pieces_of
from audit.importer.spare.seen import NotSpared, look
from audit.importer.spare.splitting import split_products
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
    outputs = [_output(found, slot) for slot in graph.plan.outputs]
    shelf = Shelf(found.table, tensors[0].device)
    inputs = tuple(shelf.put(found.named[slot]) for slot in graph.plan.inputs)
    for piece in _neighbours(found, outputs, shelf.device):
        _emit(shelf, piece)
    places = tuple(shelf.fetch(value) for value in outputs)
    calls = with_deaths(shelf.calls, (*places, *inputs, *shelf.constants))
    return Emitted(calls, shelf.constants, inputs, places, len(shelf.values))


def _output(found: Followed, slot: int) -> Named:
    value = found.named[slot]
    if value.axis != 0:
        raise NotSpared("an output has its rows not on the first axis")
    return value


def _neighbours(
    found: Followed, outputs: Sequence[Named], device: torch.device
) -> list[Piece]:
    """Return what is to be emitted, neighbours put together."""
    pieces = pieces_of(tasks(found, found.plan.outputs))
    powers.squared(Readers(found.table, pieces, outputs))
    clips.clipped(Readers(found.table, pieces, outputs))
    sums.summed(Readers(found.table, pieces, outputs), device)
    picks.folded(Readers(found.table, pieces, outputs))
    pieces = picks.later(Readers(found.table, pieces, outputs))
    return split_products(Readers(found.table, pieces, outputs))


def _emit(shelf: Shelf, piece: Piece) -> None:
    if piece.gone:
        return
    if isinstance(piece.work, Product):
        _emit_product(shelf, piece)
        return
    reads = [shelf.fetch(want.value, want.whole) for want in piece.wants]
    shelf.call(piece.run, reads, piece.result)


def _emit_product(shelf: Shelf, piece: Piece) -> None:
    """Emit a product; its columns of X in the order in which they lie there."""
    work, lanes = piece.work, piece.lanes
    assert isinstance(work, Product)
    (want,) = work.wants(lanes).values()
    names = want.value.names.reshape(-1).tolist()
    lying = [min(shelf.where.get(n, {-1: 0}).items()) for n in names]
    order = np.array(sorted(range(len(names)), key=lambda k: lying[k]), np.int64)
    x = replace(want.value, names=want.value.names[:, order])
    shelf.call(work.ordered(lanes, order), [shelf.fetch(x)], piece.result)
