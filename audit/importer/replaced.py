"""Values whose NaN a graph replaces itself: what made them passes no derivative there.

A pipeline that takes roots or powers of what may be negative (scikit-learn's
PowerTransformer, `nan_to_num`) has NaN in one branch and an Imputer, or a Where that
asks IsNaN of the value that it picks, behind it. A root or a power of a negative number
is NaN for all x around, and so is what is made of it; what replaces it does not move:
its derivative is zero. The chain rule says 0 · NaN there, so the zero is put in by
hand. 0/0, as of sin(x)/x, is NaN at a point alone. What replaces it there says nothing
of a derivative, and none is put in: the chain rule's 0 · ∞ at the quotient stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from audit.importer.program import Node
from audit.importer.values import Value

_MAKING = frozenset(("Sqrt", "Pow", "Log", "Asin", "Acos", "Acosh", "Atanh"))
"""What has no value on one side of a number."""
_MADE = _MAKING | frozenset(
    (
        *("Reciprocal", "Exp", "Mul", "Div", "Tanh", "Sigmoid", "Softplus", "Atan"),
        *("Asinh", "Sin", "Cos", "Abs", "Erf", "FallingSigmoid"),
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
    """An elementwise operator that passes no derivative where NaN is all around.

    Args:
        run: the operator.
        makes: whether it is NaN on one side of a number; else only of NaN.
    """

    run: Callable[..., Value]
    makes: bool

    @classmethod
    def of(cls, node: Node, run: Callable[..., Value]) -> Shielded:
        """Return a node's operator, shielded."""
        return cls(run, node.op in _MAKING)

    def __call__(self, *arguments: Value) -> Value:
        """Return the result; cotangents that come back are zero where x is off."""
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
        asked = [result] if self.makes else tensors
        off = [value.detach().isnan().expand(shape) for value in asked]
        dead.append(reduce(torch.logical_or, off))
        return result
