"""What has to be known of a graph before it is cut: who depends on whom, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from audit.importer import observed
from audit.importer.graph import Graph
from audit.importer.influence import Influence, fluid
from audit.importer.observed import Observed, Rows


@dataclass(frozen=True)
class Anatomy:
    """A graph with a condition x and draws θ.

    Args:
        graph: the whole.
        condition: name of x.
        influence: who depends on whose numbers.
        touched: everything that depends on x, with x.
        theirs: everything that depends on the draws, with θ.
        cuttable: what depends on x alone and goes row by row.
        seen: the shapes.
    """

    graph: Graph
    condition: str
    influence: Influence
    touched: frozenset[str]
    theirs: frozenset[str]
    cuttable: frozenset[str]
    seen: Observed

    @cached_property
    def ours(self) -> frozenset[str]:
        """Everything that depends on x and on no draw, with x."""
        return self.touched - self.theirs

    @cached_property
    def flops(self) -> list[float]:
        """Multiply-adds per row of each node."""
        return self.seen.flops(self.graph)

    @cached_property
    def order(self) -> dict[str, int]:
        """The node that makes each of `ours`; -1 for x."""
        nodes = self.graph.program.nodes
        made = {n: i for i, node in enumerate(nodes) for n in node.outputs if n}
        return {self.condition: -1} | {n: made[n] for n in made if n in self.ours}

    @cached_property
    def sinks(self) -> list[str]:
        """Those of `ours` that are outputs, or meet a draw in some node."""
        found = {name for name in self.graph.output_names if name in self.ours}
        for index, node in enumerate(self.graph.program.nodes):
            if not self.theirs.isdisjoint(node.outputs):
                found.update(self.ours.intersection(self.influence.numbers(index)))
        return sorted(found, key=self.rank)

    @cached_property
    def sources(self) -> dict[str, list[str]]:
        """For each of `ours` on a way to a sink: those it is made from."""
        found: dict[str, list[str]] = {}
        queue = list(self.sinks)
        for name in queue:
            if name in found:
                continue
            index = self.order[name]
            reads = self.influence.numbers(index) if index >= 0 else []
            found[name] = list(dict.fromkeys(n for n in reads if n in self.ours))
            queue += found[name]
        return found

    def rank(self, name: str) -> tuple[int, str]:
        """Return what to sort tensors by."""
        return self.order[name], name

    def width(self, name: str) -> int:
        """Return how many numbers of a tensor belong to a row."""
        return prod(self.seen.three[name][1:])


def look(
    graph: Graph, condition: str, others: Sequence[str], rows: Rows
) -> Anatomy | None:
    """Look at a graph; None when its outputs do not depend on the condition."""
    seen = observed.observe(graph, rows)
    loose = fluid(graph.program, graph.input_names)
    names = (*graph.input_names, *graph.tensor_names)
    rigid = frozenset(n for n in names if n not in loose and seen.sizes(n) is not None)
    influence = Influence(graph.program, rigid)
    touched = frozenset(influence.of([condition]))
    theirs = frozenset(influence.of(others))
    ours = touched - theirs
    likely = [n for n in names if n in ours and seen.is_batch(n)]
    if condition not in likely or touched.isdisjoint(graph.output_names):
        return None
    cuttable = observed.by_row(graph, rows, condition, likely) | {condition}
    return Anatomy(graph, condition, influence, touched, theirs, cuttable, seen)
