"""Sizes known before anything is allocated.

What an operator makes of operands of a, b, … numbers has at most a b … of them, and so
has every step on its way: broadcasting, products of matrices and picking by an index
come to that, nothing exceeds it. (Operators that make more, of sizes in attributes, of
the numbers in an operand or of an operand by itself, check these themselves.) Only
where the product is beyond the limit something can be too large, so only there an
operator is first rehearsed: it runs on tensors of torch's `meta` device, which have a
shape and no memory, and every tensor it makes is held against the limits. Shapes that
have passed are remembered. What a product of two matrices makes is known without, and
what is placed, or picked element by element, has the shape of an operand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from audit.ground.errors import ModelError
from audit.importer.limits import (
    MAX_ELEMENTS,
    MAX_TEMPORARY,
    check_elements,
    check_temporary,
)
from audit.importer.ops.host import ELEMENTWISE
from audit.importer.program import Node
from audit.importer.values import Host, Value

_REMEMBERED = 256
_PRODUCTS = ("Gemm", "MatMul")
_AS_AN_OPERAND = ("GatherElements", "Scatter", "ScatterElements", "ScatterND")
"""What they make, and every step on the way, is no larger than one of the operands."""


class Foreseen:
    """An operator that is rehearsed where its operands could multiply."""

    def __init__(self, node: Node, run: Callable[..., Value]) -> None:
        self._node, self._run = node, run
        self._passed: set[object] = set()

    def __call__(self, *arguments: Value) -> Value:
        """Run it.

        Raises:
            ModelError: it would make a tensor that is too large.
        """
        product = 1
        for value in arguments:
            if isinstance(value, Tensor):
                product *= value.numel() or 1
            elif isinstance(value, np.ndarray):
                product *= value.size or 1
        if product > MAX_ELEMENTS and not self._is_seen(arguments):
            self._rehearse(arguments)
        return self._run(*arguments)

    def _is_seen(self, arguments: Sequence[Value]) -> bool:
        """Tell whether it is plain to see that what it makes is not too large.

        A rehearsal has torch import its compiler: a second, for what networks and
        flows do most.
        """
        if self._node.domain:
            return False
        op = self._node.op
        return op in _AS_AN_OPERAND or (
            op in _PRODUCTS and self._is_small_product(arguments)
        )

    def _is_small_product(self, arguments: Sequence[Value]) -> bool:
        """Tell whether a product of matrices has a size that is not too large.

        [m, k] times [k, n] has (a / k) (b / k) numbers, a and b being those of its
        factors; a k that is too small bounds them too.
        """
        if not all(isinstance(value, Tensor) for value in arguments):
            return False
        a, b, *added = (value for value in arguments if isinstance(value, Tensor))
        sizes = {*a.shape[-2:]} & {*b.shape}  # a Gemm may turn both
        k = a.shape[-1] if self._node.op == "MatMul" else min(sizes, default=0)
        if b.dim() != 2 or k not in sizes or not k or any(c.dim() > 1 for c in added):
            return False
        columns = max(b.numel() // k, *(c.numel() for c in added), 1)
        return bool(a.numel() // k * columns <= MAX_ELEMENTS)

    def _rehearse(self, arguments: Sequence[Value]) -> None:
        shapes = tuple([getattr(value, "shape", None) for value in arguments])
        if shapes in self._passed:
            return
        try:
            with torch.no_grad(), _Bounds(self._node.label):
                results = self._run(*map(_without_memory, arguments))
        except ModelError:
            raise
        except Exception:  # it reads numbers, which are not there: it checks by itself
            return
        for result in results if isinstance(results, tuple) else (results,):
            if isinstance(result, Tensor):
                check_elements(result.shape, f"The result of {self._node.op}")
        if len(self._passed) < _REMEMBERED:
            self._passed.add(shapes)


def _without_memory(value: Value) -> Value:
    return value.detach().to("meta") if isinstance(value, Tensor) else value


class Small:
    """Shape arithmetic: what it makes of its operands is not much.

    Of operands whose product is beyond the limit (indices of many draws, that are added
    elementwise) the size of the result is looked at: elementwise they broadcast, a
    Gather replaces an axis by an index, and no other joins more than it is given.
    """

    def __init__(self, node: Node, run: Callable[..., Value]) -> None:
        self._node, self._run = node, run

    def __call__(self, *arrays: Host) -> Value:
        """Run it.

        Raises:
            ModelError: it could make an array that is too large.
        """
        if prod(array.size or 1 for array in arrays) > MAX_ELEMENTS:
            made = self._made(*arrays)
            check_elements([made], f"The result of {self._node.op}")
        return self._run(*arrays)

    def _made(self, *arrays: Host) -> int:
        """Return the numbers of the result, or more."""
        if self._node.op == "Gather":
            x, index, *_ = arrays
            axis = int(self._node.attributes.get("axis", 0))
            return int(x.size // max(x.shape[axis], 1) * index.size)
        if self._node.op in ELEMENTWISE:
            return prod(np.broadcast_shapes(*(array.shape for array in arrays)))
        return sum(array.size for array in arrays)


class _Bounds(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Holds every tensor that is made, and is no view, against the limit."""

    def __init__(self, label: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._label = label

    def __torch_dispatch__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run a step of the rehearsal."""
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            for each in tree_leaves(result):
                if isinstance(each, Tensor) and each.numel() > MAX_TEMPORARY:
                    check_temporary(each.shape, f"A step of {self._label}")
        return result
