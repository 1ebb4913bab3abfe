"""Making a graph smaller without changing a number.

Dead nodes go, Identity and inference-mode Dropout are looked through, nodes of
constants are run once, equal calls share one result, and x * Sigmoid(x) becomes one
operator (that one may change the last bit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import UnsupportedOperator
from audit.importer.limits import MAX_FOLDED
from audit.importer.plan import ABSENT, Step, failure
from audit.importer.program import Node, Program
from audit.importer.values import Value

OWN = "robaudit"  # the domain of operators that only cleaning up writes
SMALL = 4096  # elements of a constant that may take part in shape arithmetic
HANDS_ON = ("Cast", "Identity")
IGNORED = ("consumed_inputs",)  # a hint of opset 1 about memory


def live(nodes: Sequence[Node], wanted: Iterable[str]) -> list[Node]:
    """Return the nodes that the wanted values depend on."""
    needed = set(wanted)
    kept = []
    for node in reversed(nodes):
        if needed.isdisjoint(node.outputs):
            continue
        outputs = tuple(name if name in needed else "" for name in node.outputs)
        while outputs and not outputs[-1]:
            outputs = outputs[:-1]
        kept.append(replace(node, outputs=outputs) if len(outputs) > 1 else node)
        needed.update(node.inputs)
        for _, body in node.bodies():
            needed.update(body.free_names())
    return kept[::-1]


def fused(nodes: Sequence[Node]) -> list[Node]:
    """Write x * Sigmoid(x) as Swish(x): one kernel, one derivative kernel.

    The numbers are the same up to the last bit, and those of torch's own silu.
    """
    gates = {
        node.outputs[0]: node.inputs[0]
        for node in nodes
        if (node.op, node.domain) == ("Sigmoid", "") and node.inputs
    }

    def gated(node: Node) -> str | None:
        if (node.op, node.domain) != ("Mul", "") or len(node.inputs) != 2:
            return None
        a, b = node.inputs
        if gates.get(b) == a and node.opset >= 7:
            return a
        return b if gates.get(a) == b and node.opset >= 7 else None

    return [
        replace(node, op="Swish", inputs=(x,)) if (x := gated(node)) else node
        for node in nodes
    ]


def guarded(nodes: Sequence[Node]) -> list[Node]:
    """Mark each softmax whose result is picked away by a Where afterwards.

    Exporters guard a fully masked row that way. Its softmax is NaN, rightly so, but the
    NaN must not come back through the derivative of a value that was not taken.
    """
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)

    def is_picked(name: str, hops: int = 4) -> bool:
        return any(
            (node.op == "Where" and name in node.inputs[1:])
            or (node.op in HANDS_ON and hops and is_picked(node.outputs[0], hops - 1))
            for node in readers.get(name, ())
        )

    def is_open(node: Node) -> bool:
        softmax = (node.op, node.domain) == ("Softmax", "")
        return softmax and node.opset >= 13 and is_picked(node.outputs[0])

    return [
        replace(node, op="GuardedSoftmax", domain=OWN) if is_open(node) else node
        for node in nodes
    ]


def passed_through(node: Node) -> str | None:
    """Return the input that a node hands on unchanged, or None."""
    made = [name for name in node.outputs if name]
    if node.domain or not node.inputs or len(made) != 1:
        return None
    if node.op == "Identity":
        return node.inputs[0]
    if node.op == "Dropout" and len(node.inputs) < 3 and node.outputs[0]:
        return (
            node.inputs[0]
            if node.opset >= 7 or node.attributes.get("is_test")
            else None
        )
    return None


def fold(
    node: Node, run: Callable[..., Value], arguments: Sequence[Value]
) -> tuple[Value, ...] | None:
    """Run a node of constants; None when its result is too big to keep."""
    try:
        with torch.no_grad():
            result = run(*arguments)
    except UnsupportedOperator:
        raise
    except Exception as error:
        raise failure(node, error, arguments) from error
    results = result if isinstance(result, tuple) else (result,)
    for value in results:
        if isinstance(value, Tensor) and value.numel() > MAX_FOLDED:
            return None
        if not isinstance(value, Tensor | np.ndarray | type(None)):
            return None
    return results


def call_key(node: Node, inputs: Sequence[int]) -> object:
    """Return what two calls must share to have the same result, or None."""
    attributes = []
    for key, value in sorted(node.attributes.items()):
        if isinstance(value, Program):
            return None
        attributes.append((key, _frozen(value)))
    wanted = tuple(bool(name) for name in node.outputs)
    return (node.domain, node.op, node.opset, *attributes, wanted, tuple(inputs))


def _frozen(value: object) -> object:
    if isinstance(value, np.ndarray):
        return (value.dtype.name, value.shape, value.tobytes())
    return repr(value)


def with_deaths(steps: Sequence[Step], outputs: Sequence[int]) -> tuple[Step, ...]:
    """Mark at each step the computed values that no later step reads."""
    read_later = set(outputs) | {ABSENT}
    made = {slot for step in steps for slot in step.outputs}
    marked = []
    for step in reversed(steps):
        slots_here = (set(step.inputs) & made) | set(step.outputs)
        dead = tuple(sorted(slots_here - read_later))
        read_later |= set(step.inputs)
        marked.append(replace(step, dead=dead))
    return tuple(marked[::-1])
