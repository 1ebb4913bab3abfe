"""What is known of a subgraph: which of its tensors move, and how.

A subgraph reads tensors of the graph around it, and has inputs of its own. A state of a
Loop or a Scan moves continuously where its first value does and the body makes each
value of what moves continuously: the largest set of states of which this holds is found
by leaving out those of which it does not. All others may jump. Elements that a Scan
takes one by one move as the whole of them, and no input moves the count of a Loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from audit.importer.conditions import Conditions, is_float, reached
from audit.importer.program import Node, Program


def within(
    around: Conditions, node: Node, body: Program, nodes: Sequence[Node]
) -> Conditions:
    """Return what is known of a subgraph of a node.

    Args:
        around: of the graph of the node.
        node: the operator that runs the body.
        body: the subgraph.
        nodes: of the body, in an order in which they run.
    """
    taken = body.free_names()
    own = body.inputs[1:] if node.op == "Loop" else body.inputs
    read = {name for name in taken if name in around.floating}
    moving = [info.name for info in body.inputs]
    moving += filter(around.moves, taken)
    fed = _fed(node, body)
    jumping = {name for name in read if not around.is_continuous(name)}
    for info in own:
        first, _ = fed.get(info.name, ("", ""))
        if not first or not is_float(info.onnx_type) or not around.is_continuous(first):
            jumping.add(info.name)
    while True:
        found = Conditions(
            {name: one for one in nodes for name in one.outputs if name},
            body.constants,
            reached(nodes, moving),
            reached(nodes, [*(info.name for info in own), *read]),
            frozenset(jumping),
        )
        more = {
            name
            for name, (_, made) in fed.items()
            if name not in jumping and made and not found.is_continuous(made)
        }
        if not more:
            return found
        jumping |= more


def _fed(node: Node, body: Program) -> dict[str, tuple[str, str]]:
    """Return what a body's inputs are first, and next: "" where that is given too."""
    own, first = [info.name for info in body.inputs], node.inputs
    made = [info.name for info in body.outputs]
    if node.op == "Loop":
        first, own, made = first[2:], own[2:], made[1:]
    elif node.op == "Scan" and len(first) == len(own):
        count = len(own) - int(node.attributes.get("num_scan_inputs", 0))
        made = made[: max(count, 0)]
    else:
        return {}
    pairs = zip_longest(first, made[: len(first)], fillvalue="")
    return dict(zip(own, pairs, strict=False))
