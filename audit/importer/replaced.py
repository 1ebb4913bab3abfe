"""Values whose NaN a graph replaces itself: what made them passes no derivative there.

A pipeline that takes roots or powers of what may be negative (scikit-learn's
PowerTransformer, `nan_to_num`) has NaN in one branch and an Imputer, or a Where that
asks IsNaN of the value that it picks, behind it. Where an operator gives NaN its result
is the same for all x around, and what replaces it does not move: its derivative is
zero. The chain rule says 0 · NaN there, so the zero is put in by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.importer.program import Node
from audit.importer.values import Value

_MADE = frozenset(
    (
        *("Sqrt", "Pow", "Log", "Asin", "Acos", "Acosh", "Atanh", "Reciprocal", "Exp"),
        *("Mul", "Div", "Tanh", "Sigmoid", "Softplus", "Atan", "Asinh", "Sin", "Cos"),
        *("Abs", "Erf"),
    )
)
_PASSED = frozenset(
    (
        *("Add", "Sub", "Sum", "Neg", "Identity", "Cast", "Where", "Imputer", "Scaler"),
        *("Concat", "Slice", "Gather", "Split", "Reshape", "Flatten", "Transpose"),
        *("Squeeze", "Unsqueeze", "ArrayFeatureExtractor", "FeatureVectorizer"),
    )
)


def replaced(nodes: Sequence[Node]) -> frozenset[str]:
    """Return the results of elementwise operators whose NaN are replaced later on."""
    makers = {name: node for node in nodes for name in node.outputs if name}
    asked = {
        node.outputs[0]: node.inputs[0]
        for node in nodes
        if (node.op, node.domain) == ("IsNaN", "")
    }
    waiting = [name for node in nodes for name in _cleared(node, asked)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if name in seen or node is None or node.op not in _MADE | _PASSED:
            continue
        seen.add(name)
        waiting += node.inputs
    return frozenset(name for name in seen if makers[name].op in _MADE)


def _cleared(node: Node, asked: dict[str, str]) -> Sequence[str]:
    """Return the inputs of a node whose NaN it replaces."""
    if node.op == "Imputer":
        missing = node.attributes.get("replaced_value_float", 0.0)
        return node.inputs[:1] if missing != missing else ()
    if node.op != "Where" or node.inputs[0] not in asked:
        return ()
    return [name for name in node.inputs[2:] if name == asked[node.inputs[0]]]


@dataclass(frozen=True)
class Shielded:
    """An elementwise operator that passes no derivative where its result is NaN."""

    run: Callable[..., Value]

    def __call__(self, *arguments: Value) -> Value:
        """Return the result; cotangents that come back are zero where it is NaN."""
        tensors = [a for a in arguments if isinstance(a, Tensor)]
        if not any(a.requires_grad for a in tensors):
            return self.run(*arguments)
        shape = np.broadcast_shapes(*(tuple(a.shape) for a in tensors))
        dead: list[Tensor] = []

        def alive(g: Tensor) -> Tensor:
            return torch.where(dead[0], torch.zeros_like(g), g)

        given = []
        for value in arguments:
            if isinstance(value, Tensor) and value.requires_grad:
                value = value.expand(shape)
                value.register_hook(alive)  # type: ignore[no-untyped-call]
            given.append(value)
        result = self.run(*given)
        assert isinstance(result, Tensor)
        dead.append(result.detach().isnan())
        return result
