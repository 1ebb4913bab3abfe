"""Where a graph computes with numbers of few bits that stand for real ones.

Rounding to them, and products of them, are staircases: flat almost everywhere, and yet
they follow the input. Backward passes see nothing of what passes there. What they do
see is beside the point: the scale of a dynamic quantisation depends on the extremes of
x alone, and its derivative may be 19 times too small. So an operator
that is marked as quantised counts where an edge on the way lets no derivative pass,
whether or not another way goes around it. Weights of few bits are no matter: nothing
on the way rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from audit.importer.paths import (
    after,
    any_edge,
    before,
    check_names,
    passes,
    ports,
    reads,
)
from audit.importer.program import Node, Program
from audit.importer.registry import find
from audit.importer.values import CARRIED, FLOAT8, TORCH_TYPES

_EIGHT_BITS = {to for to, dtype in TORCH_TYPES.items() if dtype in FLOAT8}


def quantised_nodes(program: Program, source: str, output: str) -> tuple[Node, ...]:
    """Return the nodes between two values that compute with numbers of few bits.

    Those inside subgraphs are among them.

    Raises:
        ModelError: the graph has no such value.
    """
    check_names(program, source, output)
    reached = after(program, [source], any_edge)
    return tuple(_between(program, reached, before(program, [output])))


def _between(program: Program, reached: Set[str], needed: Set[str]) -> Iterator[Node]:
    for node in program.nodes:
        sources = [i for i, name in enumerate(reads(node)) if name in reached]
        outputs = [i for i, name in enumerate(node.outputs) if name in needed]
        if sources and outputs:
            yield from _within(node, sources, outputs)


def _within(node: Node, sources: list[int], outputs: list[int]) -> Iterator[Node]:
    """Yield the node if it is one, or those of its subgraphs."""
    way = ports(node)
    for _, body in node.bodies():
        entered = set().union(*(way.entered(node, body, i) for i in sources))
        left = set().union(*(way.left(body, i) for i in outputs))
        reached = way.reached(body, entered, any_edge)
        yield from _between(body, reached, way.needed(body, left))
    flat = not all(passes(node, i, o) for i in sources for o in outputs)
    if flat and _is_quantised(node):
        yield node


def _is_quantised(node: Node) -> bool:
    if node.op == "Cast" and not node.domain:
        to = int(node.attributes.get("to", 0))
        return to in CARRIED or to in _EIGHT_BITS
    entry = find(node.domain, node.op, node.opset)
    return entry is not None and entry.quantised
