"""Sizes known before anything is allocated.

What an operator makes of operands of a, b, … numbers has at most a b … of them, and so
has every step on its way: broadcasting, products of matrices and picking by an index
come to that, nothing exceeds it. (Operators that make more, of sizes in attributes, of
the numbers in an operand or of an operand by itself, check these themselves.) Only
where the product is beyond the limit something can be too large, so only there an
operator is first rehearsed: it runs on tensors of torch's `meta` device, which have a
shape and no memory, and every tensor it makes is held against the limits. Shapes that
have passed are remembered.
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
from audit.importer.program import Node
from audit.importer.values import Host, Value

_REMEMBERED = 256


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
        if product > MAX_ELEMENTS:
            self._rehearse(arguments)
        return self._run(*arguments)

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
    """Shape arithmetic: its operands are small enough not to multiply to much."""

    def __init__(self, node: Node, run: Callable[..., Value]) -> None:
        self._node, self._run = node, run

    def __call__(self, *arrays: Host) -> Value:
        """Run it.

        Raises:
            ModelError: it could make an array that is too large.
        """
        product = prod(array.size or 1 for array in arrays)
        if product > MAX_ELEMENTS:
            check_elements([product], f"The result of {self._node.op}")
        return self._run(*arrays)


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
