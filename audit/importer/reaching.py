"""Which tensors of a message depend on which, and what a draw is a step in.

Dependence is on values: what only the shape of a tensor decides does not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import GraphProto, NodeProto, TensorProto

LIKE = ("RandomNormalLike", "RandomUniformLike", "Bernoulli")
ALONE = ("RandomNormal", "RandomUniform")
SHAPE_ONLY = ("Shape", "Size", *LIKE[:2], *ALONE)  # no value of an input gets through
_COMPARES = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
_LOGIC = ("Not", "And", "Or", "Xor", "Identity")
_FLOATS = (
    *(TensorProto.FLOAT, TensorProto.DOUBLE),
    *(TensorProto.FLOAT16, TensorProto.BFLOAT16),
)


def bodies_of(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs among a node's attributes."""
    for each in node.attribute:
        if each.type == onnx.AttributeProto.GRAPH:
            yield each.g
        yield from each.graphs


def reads(node: NodeProto) -> set[str]:
    """Return what a node reads, its bodies' names included."""
    names = set(node.input)
    for body in bodies_of(node):
        names.update(info.name for info in body.output)
        for inner in body.node:
            names |= reads(inner)
    return names - {""}


def needed(graph: GraphProto, wanted: set[str]) -> set[str]:
    """Return the tensors that the wanted ones depend on, themselves included."""
    makers = {name: node for node in graph.node for name in node.output if name}
    found, waiting = set(wanted), list(wanted)
    while waiting:
        node = makers.get(waiting.pop())
        more = reads(node) - found if node is not None else set()
        found |= more
        waiting += more
    return found


def reached(graph: GraphProto, given: set[str]) -> set[str]:
    """Return the tensors whose values depend on those given, not on their shapes."""
    found, grows = set(given), True
    while grows:
        before = len(found)
        for node in graph.node:
            if node.op_type not in SHAPE_ONLY and not found.isdisjoint(reads(node)):
                found.update(name for name in node.output if name)
        grows = len(found) > before
    return found


def stepped(graph: GraphProto, mixed: Mapping[str, NodeProto]) -> NodeProto | None:
    """Return a comparison of noise with an input that becomes a number; None if none.

    That is how an exporter writes a Bernoulli draw, 1[u < p(x)]. A comparison that
    picks a bin, as in a spline, becomes an index.
    """
    makers = (node for node in graph.node if _makes_number(node))
    return next((mixed[n.input[0]] for n in makers if n.input[0] in mixed), None)


def branching(graph: GraphProto, mixed: Mapping[str, NodeProto]) -> NodeProto | None:
    """Return a Where that a comparison of noise with an input decides, None if none.

    Where its branches meet, as in a spline or a leaky ReLU, the map is continuous;
    where they do not, as in a mixture's sampler, it jumps.
    """
    picks = (node for node in graph.node if node.op_type == "Where")
    return next((node for node in picks if node.input[0] in mixed), None)


def compared(
    graph: GraphProto, drawn: set[str], varying: set[str]
) -> dict[str, NodeProto]:
    """Return the truth values that compare noise with an input, and who compares.

    Args:
        graph: it.
        drawn: what random operators make.
        varying: what depends on an input.
    """
    noisy = reached(graph, drawn)
    found: dict[str, NodeProto] = {}
    for node in graph.node:
        names = set(node.input)
        mixes = not names.isdisjoint(noisy) and not names.isdisjoint(varying)
        known = next((found[n] for n in node.input if n in found), None)
        if node.op_type in _COMPARES and mixes:
            found[node.output[0]] = node
        elif node.op_type in _LOGIC and known is not None:
            found[node.output[0]] = known
    return found


def _makes_number(node: NodeProto) -> bool:
    if node.op_type == "CastLike":
        return True
    to = next((int(a.i) for a in node.attribute if a.name == "to"), 0)
    return node.op_type == "Cast" and to in _FLOATS
