"""Text that a graph moves about: picked, joined, reshaped, compared, read as numbers.

Text stays a NumPy array (see `ops/strings.py`), and what moves or compares numbers in a
pipeline moves and compares text as well: the columns of a table are joined, cut and
picked before an encoder makes numbers of them. Each such operator has a twin on arrays,
for shape arithmetic; on text the twin is run. A graph in which no text can be is left
as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto
from torch import Tensor

from audit.importer.program import Node, Program
from audit.importer.values import Policy, Value, is_text, to_host

_MAKERS = frozenset(
    ("LabelEncoder", "CategoryMapper", "StringConcat", "StringNormalizer")
)


def has_text(program: Program) -> bool:
    """Return whether text can be among the values of a graph."""
    declared = (*program.inputs, *program.optional)
    return (
        any(info.onnx_type == TensorProto.STRING for info in declared)
        or any(map(is_text, program.constants.values()))
        or any(map(_may_make, program.nodes))
    )


def _may_make(node: Node) -> bool:
    cast = node.op == "Cast" and node.attributes.get("to") == TensorProto.STRING
    constant = node.op == "Constant" and (
        is_text(node.attributes.get("value"))
        or not node.attributes.keys().isdisjoint(("value_string", "value_strings"))
    )
    return node.op in _MAKERS or cast or constant


class Textual:
    """An operator that has its twin answer where an operand is text.

    Args:
        run: the operator, on tensors.
        twin: the same on arrays.
        policy: how the graph is evaluated.
    """

    def __init__(
        self,
        run: Callable[..., Value],
        twin: Callable[..., Value],
        policy: Policy,
    ) -> None:
        self._run, self._twin, self._policy = run, twin, policy

    def __call__(self, *arguments: Value) -> Value:
        """Return the result: text as an array, all else as a tensor."""
        if not any(map(is_text, arguments)):
            return self._run(*arguments)
        arrays = [to_host(a) if isinstance(a, Tensor) else a for a in arguments]
        result = self._twin(*arrays)
        return result if is_text(result) else self._policy.tensor(np.asarray(result))
