"""A bound of the multiply-adds of a call of torch, from the operators that it runs.

The count itself is taken from a graph (`importer.flops`), and a program of torch has to
be exported to one first, which takes a second. Where a bound is below what is asked
about, nobody needs to know more.

Products of matrices and convolutions cost here what they cost there. Any other operator
costs _EACH for every number that it reads or writes: more than the formula that an
exporter writes for it has nodes (GELU by erf has five, a normalisation about ten). An
operator that may hide a product or a loop has no bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, prod

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_EACH = 16
_LEFT = {"mm": 0, "bmm": 0, "mv": 0, "addmm": 1, "baddbmm": 1, "addmv": 1}
"""Products of matrices, and the place of the factor whose last axis is summed over."""
_CONVOLUTIONS = ("convolution", "_convolution")
_PLAIN = {
    *("empty", "zeros", "ones", "full", "arange", "scalar_tensor", "lift_fresh"),
    *("empty_like", "zeros_like", "ones_like", "full_like", "tril_indices"),
    *("new_empty", "new_zeros", "new_ones", "new_full", "fill_", "zero_"),
    *("clone", "_to_copy", "copy_", "cat", "stack", "unsafe_split", "transpose_"),
    *("index", "index_select", "gather", "embedding", "tril", "triu", "flip"),
    *("sum", "mean", "amax", "amin", "prod", "cumsum", "_softmax", "_log_softmax"),
    *("native_batch_norm", "native_layer_norm", "max_pool2d_with_indices"),
    *("avg_pool2d", "constant_pad_nd"),
}
"""Operators, neither pointwise nor views, that look at each number a few times."""


def bound_of(call: Callable[[], object]) -> float:
    """Return what the multiply-adds of a call do not exceed; ∞ where nothing tells."""
    counter = _Counter()
    with torch.no_grad(), counter:
        call()
    return counter.total


class _Counter(TorchDispatchMode):
    """Adds up what every operator costs at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0.0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here: torch need not import its compiler to say so."""
        return False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run an operator and count it."""
        result = func(*args, **(kwargs or {}))
        self.total += _cost(func, args, kwargs or {}, result)
        return result


def _cost(
    func: torch._ops.OpOverload,
    args: Sequence[object],
    named: Mapping[str, object],
    result: object,
) -> float:
    space, _, name = func._schema.name.partition("::")
    if space != "aten" or func.is_view:
        return 0.0 if func.is_view else inf
    if name in _LEFT and isinstance(result, Tensor):
        left = args[_LEFT[name]]
        assert isinstance(left, Tensor)
        return float(result.numel() * left.shape[-1])
    if name in _CONVOLUTIONS and isinstance(result, Tensor):
        x, weight = args[:2]
        assert isinstance(x, Tensor)
        assert isinstance(weight, Tensor)
        transposed = bool(args[6])
        return float((x if transposed else result).numel() * prod(weight.shape[1:]))
    if name not in _PLAIN and torch.Tag.pointwise not in func.tags:
        return inf
    leaves = tree_leaves((args, dict(named), result))
    return float(_EACH * sum(x.numel() for x in leaves if isinstance(x, Tensor)))
