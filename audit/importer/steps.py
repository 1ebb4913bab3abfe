"""One step of a graph: from tensors that are known to the next one.

A tensor of a file is made by one operator, or by the few that a function of the file is
expanded into. To run that step alone, on values from elsewhere, tells whether it is the
operator that others run, whatever the steps before it did to its inputs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from audit.importer.graph import Graph
from audit.importer.program import Node, ValueInfo


def step_to(
    graph: Graph, target: str, known: Collection[str]
) -> tuple[tuple[str, ...], Graph]:
    """Return the graph that makes a tensor of known ones, and the names of these.

    Args:
        graph: the whole.
        target: a tensor that a node of it makes.
        known: tensors that need not be made; `target` may be among them.
    """
    program = graph.program
    makers = {name: node for node in program.nodes for name in node.outputs if name}
    needed: dict[str, None] = {}
    inputs: dict[str, None] = {}
    open_names = [target]
    while open_names:
        name = open_names.pop()
        if name != target and name in known:
            inputs[name] = None
        elif name in makers and name not in needed:
            needed[name] = None
            open_names += _read(makers[name])
    part = replace(
        program,
        inputs=tuple(ValueInfo(name) for name in inputs),
        outputs=(ValueInfo(target),),
        nodes=tuple(
            n for n in program.nodes if not needed.keys().isdisjoint(n.outputs)
        ),
        constants={k: v for k, v in program.constants.items() if k not in inputs},
        optional=(),
    )
    return tuple(inputs), graph.literal(part)


def _read(node: Node) -> list[str]:
    inner = [name for _, body in node.bodies() for name in body.free_names()]
    return [name for name in (*node.inputs, *inner) if name]
