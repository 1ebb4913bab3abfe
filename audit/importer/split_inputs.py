"""An input that holds several things side by side, as inputs of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from audit.importer.graph import Graph
from audit.importer.program import Node, ValueInfo


def split_graph_input(
    graph: Graph, name: str, parts: Mapping[str, tuple[int, int]]
) -> Graph:
    """Return the graph with `name` put together from its columns.

    Args:
        graph: any graph.
        name: the input to take apart, along its last axis.
        parts: new input -> (first, stop) of its columns, in their order.
    """
    program = graph.program
    (old,) = [info for info in program.inputs if info.name == name]
    ends = tuple(
        ValueInfo(part, old.kind, old.onnx_type, _columns(old, stop - first))
        for part, (first, stop) in parts.items()
    )
    joined = Node(
        "Concat", tuple(parts), (name,), {"axis": -1}, name, opset=graph.opset
    )
    others = tuple(info for info in program.inputs if info.name != name)
    nodes = (joined, *program.nodes)
    return graph.with_program(replace(program, inputs=(*ends, *others), nodes=nodes))


def _columns(old: ValueInfo, count: int) -> tuple[int | str | None, ...] | None:
    return None if old.shape is None else (*old.shape[:-1], count)
