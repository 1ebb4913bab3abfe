"""Building the two graphs on either side of a cut.

A half holds the nodes that its outputs need, from the tensors it is given. Where it
asks for the shape of a tensor of the other side, that shape is put together anew: the
number of rows is read off a tensor of this side, and the sizes that were the same for
any number of rows are constants. So no number of rows crosses the cut.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from audit.importer.influence import SHAPES, Influence
from audit.importer.observed import Observed, Size
from audit.importer.program import Node, Program
from audit.importer.values import Host

OPSET = 14  # of the nodes written here
MARK = "cut::"  # opens the names of what is written here


@dataclass(frozen=True)
class Half:
    """One side of a cut.

    Args:
        kept: positions of its nodes in the whole graph.
        shapes: those among them that ask for a shape from the other side.
    """

    kept: tuple[int, ...]
    shapes: frozenset[int]


def half(
    influence: Influence, wanted: Sequence[str], given: Set[str], away: Set[str]
) -> Half:
    """Return the nodes that make the wanted values from the given ones.

    Args:
        influence: the whole graph.
        wanted: names to compute.
        given: names that are there.
        away: names whose numbers only the other side has.
    """
    nodes = influence.program.nodes
    needed, kept, asking = set(wanted) - given, [], set()
    far = (away - given) & influence.rigid
    for index in range(len(nodes) - 1, -1, -1):
        node = nodes[index]
        if needed.isdisjoint(node.outputs):
            continue
        kept.append(index)
        if node.op in SHAPES and node.inputs[0] in far:
            asking.add(index)
        else:
            needed.update(name for name in influence.reads[index] if name not in given)
    made = {name for i in kept for name in nodes[i].outputs} | given
    shapes = frozenset(i for i in asking if nodes[i].inputs[0] not in made)
    return Half(tuple(reversed(kept)), shapes)


def build(
    program: Program, part: Half, given: Set[str], ruler: str, seen: Observed
) -> tuple[tuple[Node, ...], dict[str, Host]]:
    """Return the nodes of a half and the constants they need.

    Args:
        program: the whole graph.
        part: what of it.
        given: names that are inputs of the half.
        ruler: one of them, with the rows along its first axis.
        seen: the shapes of the whole graph.
    """
    nodes: list[Node] = []
    constants = dict(program.constants)
    for index in part.kept:
        node = program.nodes[index]
        if index in part.shapes:
            nodes += _measured(node, ruler, seen, constants)
        else:
            names = tuple("" if name in given else name for name in node.outputs)
            nodes.append(replace(node, outputs=names))
    return tuple(nodes), constants


def _measured(
    node: Node, ruler: str, seen: Observed, constants: dict[str, Host]
) -> list[Node]:
    """Write Shape or Size of a tensor that is not there."""
    sizes = seen.sizes(node.inputs[0])
    assert sizes is not None, "only rigid shapes are asked of the other side"
    name = f"{MARK}{node.outputs[0]}"
    rows = [
        Node("Shape", (ruler,), (f"{name}/shape",), {}, name, opset=OPSET),
        _node("Gather", f"{name}/shape", _constant(constants, [0]), f"{name}/rows"),
    ]
    if node.op == "Size":
        terms = [size.per_row or size.fixed for size in sizes]
        powers = sum(1 for size in sizes if size.per_row)
        return [*rows, *_power(node, name, prod(terms), powers, constants)]
    start = node.attributes.get("start", 0)
    parts: list[str] = []
    for place, size in enumerate(sizes[start : node.attributes.get("end")]):
        parts.append(_length(f"{name}/{place}", f"{name}/rows", size, rows, constants))
    if not parts:
        constants[node.outputs[0]] = np.zeros(0, np.int64)
        return []
    joined = ("Concat", tuple(parts), node.outputs, {"axis": 0}, name)
    return [*rows, Node(*joined, opset=OPSET)]


def _length(
    name: str, rows: str, size: Size, nodes: list[Node], constants: dict[str, Host]
) -> str:
    """Return the name of one size, as a tensor of one element."""
    if not size.per_row:
        return _constant(constants, [size.fixed])
    if size.per_row == 1:
        return rows
    nodes.append(_node("Mul", rows, _constant(constants, [size.per_row]), name))
    return name


def _power(
    node: Node, name: str, factor: int, power: int, constants: dict[str, Host]
) -> list[Node]:
    """Write factor · rows^power as a scalar."""
    nodes, last = [], _constant(constants, [factor])
    for place in range(power):
        nodes.append(_node("Mul", last, f"{name}/rows", f"{name}/{place}"))
        last = f"{name}/{place}"
    zero = _constant(constants, 0)
    return [*nodes, _node("Gather", last, zero, node.outputs[0])]


def _node(op: str, a: str, b: str, output: str) -> Node:
    return Node(op, (a, b), (output,), {}, output, opset=OPSET)


def _constant(constants: dict[str, Host], value: int | list[int]) -> str:
    name = f"{MARK}{value}"
    constants[name] = np.array(value, np.int64)
    return name
