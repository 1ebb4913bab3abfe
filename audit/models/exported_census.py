"""What lies between the condition and the outputs of a torch.export graph.

A derivative stops where a floating number becomes an integer or a truth value, and at
the few operators whose floating result is piecewise constant. Operators that quantise
count apart: some bring a derivative along (that of a scale, or one that takes rounding
as the identity), and none is that of the file.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.fx import Graph, Node

from audit.models.network import Census

_FLAT = {"round", "floor", "ceil", "trunc", "sign", "sgn", "detach", "floor_divide"}
_FLAT |= {"heaviside"}


def exported_census(graph: Graph, condition: str, _: Iterable[str]) -> Census:
    """Return whether a derivative can pass, and what stops it on the way.

    Args:
        graph: of an exported program; all its outputs count.
        condition: the name of an input.
    """
    reached: set[Node] = set()
    smooth: set[Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" and node.name == condition:
            reached.add(node)
            smooth.add(node)
        elif _holds_numbers(node) and not reached.isdisjoint(node.all_input_nodes):
            reached.add(node)
            if _passes(node) and not smooth.isdisjoint(node.all_input_nodes):
                smooth.add(node)
    before = _before(graph)
    between = [n for n in graph.nodes if n in reached & before]
    stops = tuple(_label(n) for n in between if _stops(n))
    quantised = tuple(_label(n) for n in between if _quantises(n))
    results = _results(graph)
    return Census(bool(smooth & results), stops, quantised)


def _results(graph: Graph) -> set[Node]:
    return {n for end in graph.nodes if end.op == "output" for n in end.all_input_nodes}


def _before(graph: Graph) -> set[Node]:
    """Return the nodes that some output depends on."""
    found = _results(graph)
    for node in reversed(graph.nodes):
        if node in found:
            found.update(node.all_input_nodes)
    return found


def _holds_numbers(node: Node) -> bool:
    """Whether the values of its inputs, not their shapes alone, enter a node."""
    return node.op == "call_function" and "sym_" not in str(node.target)


def _passes(node: Node) -> bool:
    return _is_floating(node) and _operator(node) not in _FLAT


def _stops(node: Node) -> bool:
    """Whether floating numbers enter and what comes out does not follow them."""
    enters = any(_is_floating(source) for source in node.all_input_nodes)
    return node.op == "call_function" and enters and not _passes(node)


def _quantises(node: Node) -> bool:
    """Whether it rounds to numbers of few bits; to read such numbers does not."""
    name = _operator(node)
    apart = getattr(node.target, "namespace", "").startswith("quantized")
    return "dequantize" not in name and (apart or "quantize" in name)


def _is_floating(node: Node) -> bool:
    value = node.meta.get("val")
    parts = value if isinstance(value, (tuple, list)) else [value]
    return any(isinstance(p, Tensor) and p.dtype.is_floating_point for p in parts)


def _operator(node: Node) -> str:
    """Return 'round' for aten.round.default."""
    name: str = getattr(node.target, "_opname", str(node.target))
    return name


def _label(node: Node) -> str:
    return f"{_operator(node)} (node '{node.name}')"
