"""Which roots of a graph are lengths: those of sums of squares (see `ops.lengths`).

A sum of squares is read off the graph: a product of a value with itself, an
even power, and what is made of such by sums, positive factors and by moving them about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from audit.importer.binding import constant_of
from audit.importer.program import Node
from audit.importer.values import Host

_SUMMED = frozenset(("Add", "Sum", "Concat"))
"""Of these all operands are to be sums of squares, of the others the first."""
_HANDED_ON = frozenset(
    (
        *("ReduceSum", "ReduceMean", "Cast", "Identity", "Transpose"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Expand"),
    )
)


def lengths(nodes: Sequence[Node], constants: Mapping[str, Host]) -> frozenset[str]:
    """Return the results of Sqrt that are roots of sums of squares.

    Args:
        nodes: of a graph, in an order in which they can run.
        constants: of the graph, by name.
    """
    roots = {
        node.outputs[0]: node.inputs[0]
        for node in nodes
        if (node.op, node.domain) == ("Sqrt", "")
    }
    squares = _squares(nodes, constants) if roots else set()
    return frozenset(name for name, under in roots.items() if under in squares)


def _squares(nodes: Sequence[Node], constants: Mapping[str, Host]) -> set[str]:
    found: set[str] = set()
    made = {n.outputs[0]: constant_of(n) for n in nodes if n.op == "Constant"}
    constants = {**constants, **made}
    for node in nodes:
        if node.op == "Scan":
            found |= _stacked(node, constants)
        elif _is_square(node, found, constants):
            found.add(node.outputs[0])
    return found


def _stacked(node: Node, constants: Mapping[str, Host]) -> set[str]:
    """Return the outputs of a Scan whose every slice is a sum of squares."""
    found: set[str] = set()
    for _, body in node.bodies():
        inner = _squares(body.nodes, {**constants, **body.constants})
        states = len(body.inputs) - int(node.attributes.get("num_scan_inputs", 0))
        pairs = zip(node.outputs[states:], body.outputs[states:], strict=False)
        found |= {name for name, info in pairs if name and info.name in inner}
    return found


def _is_square(node: Node, found: set[str], constants: Mapping[str, Host]) -> bool:
    """Return whether a node makes a sum of squares."""
    if node.domain or not node.inputs:
        return False
    first, *others = node.inputs
    if node.op == "ReduceSumSquare":
        return True
    if node.op in _SUMMED:
        return all(name in found for name in node.inputs)
    if node.op in _HANDED_ON:
        return first in found
    if not others:
        return False
    if node.op == "Pow":
        return _all(constants.get(others[0]), lambda x: (x > 0) & (x % 2 == 0))
    if node.op in ("Mul", "Div"):
        itself = node.op == "Mul" and first == others[0]
        positive = _all(constants.get(others[0]), lambda x: x > 0)
        turned = node.op == "Mul" and _all(constants.get(first), lambda x: x > 0)
        return (
            itself or (first in found and positive) or (others[0] in found and turned)
        )
    return False


def _all(constant: Host | None, holds: Any) -> bool:  # noqa: ANN401
    """Return whether a constant is known and something holds of all its numbers."""
    known = constant is not None and constant.dtype.kind in "fiu"
    return known and bool(np.all(holds(constant)))
