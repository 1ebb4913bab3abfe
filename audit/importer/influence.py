"""Which values of a graph depend on the numbers of which inputs.

A shape holds no numbers: Shape(x) does not depend on x, as long as the shape itself is
no function of numbers. That of NonZero(x) is, and so is every shape made with an
operand of sizes that is computed from x. Such values are called fluid here; asking for
the shape of one is asking for numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from audit.importer.paths import reads
from audit.importer.program import Node, Program
from audit.importer.registry import find

SHAPES = ("Shape", "Size")
COUNTING = ("NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit")
ROUNDS = ("Loop", "Scan", "SequenceMap")  # as many as numbers say
SIZED = (  # operators whose plain-number operands are no sizes
    *("Pow", "Clip", "Gather", "GatherElements", "GatherND", "Scatter", "CumSum"),
    *("ScatterElements", "ScatterND", "CumProd", "Trilu", "Dropout", "ReverseSequence"),
)


@dataclass(frozen=True)
class Influence:
    """Follows numbers through the nodes of a graph, in order and without recursion.

    Args:
        program: a graph whose nodes are all needed.
        rigid: values whose shape is known to follow from the number of rows alone.
    """

    program: Program
    rigid: frozenset[str] = frozenset()

    @cached_property
    def reads(self) -> list[list[str]]:
        """The names that each node reads, those of its subgraphs included."""
        return [[n for n in reads(node) if n] for node in self.program.nodes]

    def numbers(self, index: int) -> list[str]:
        """Return the names whose numbers a node depends on."""
        node = self.program.nodes[index]
        if node.op in SHAPES and node.inputs[0] in self.rigid:
            return []
        return self.reads[index]

    def of(self, sources: Iterable[str]) -> set[str]:
        """Return everything that depends on the numbers of the sources."""
        found = set(sources)
        for index, node in enumerate(self.program.nodes):
            if not found.isdisjoint(self.numbers(index)):
                found.update(name for name in node.outputs if name)
        return found


def fluid(program: Program, sources: Iterable[str]) -> set[str]:
    """Return the values whose shapes may depend on the numbers of the sources."""
    return _swept(program.nodes, set(sources), set())


def _swept(nodes: Sequence[Node], numbers: set[str], found: set[str]) -> set[str]:
    for node in nodes:
        reading = {name for name in reads(node) if name}
        outputs = {name for name in node.outputs if name}
        if node.op in SHAPES:
            if not found.isdisjoint(reading):
                numbers |= outputs
        elif not numbers.isdisjoint(reading):
            numbers |= outputs
            if not found.isdisjoint(reading) or _varies(node, numbers, found):
                found |= outputs
    return found


def _varies(node: Node, numbers: Set[str], found: Set[str]) -> bool:
    """Return whether the numbers that a node reads may decide about a shape."""
    if node.op in COUNTING or node.op in ROUNDS:
        return True
    if node.op == "If" and node.inputs[0] in numbers:
        return True
    for _, body in node.bodies():
        inner = _swept(body.nodes, set(numbers), set(found))
        if any(info.name in inner for info in body.outputs):
            return True
    entry = find(node.domain, node.op, node.opset)
    host = entry.host if entry and node.op not in SIZED else frozenset()
    return any(n in numbers for i, n in enumerate(node.inputs) if i in host)
