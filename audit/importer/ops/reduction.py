"""Reductions and cumulative operators, softmax and its relatives.

Axes are an attribute up to opset 12 (ReduceSum) or 17 (the others), an input after.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer import integers
from audit.importer.registry import operator
from audit.importer.values import Host, axis_of, integer, ints

Reduce = Callable[[Tensor, list[int], bool], Tensor]
REGISTER = 16  # float32 in a vector register of 512 bits


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim=keep)
    return x


def _extreme(x: Tensor, axes: list[int], keep: bool, largest: bool) -> Tensor:
    if x.dtype is torch.bool:
        found: Tensor = (torch.any if largest else torch.all)(x, dim=axes, keepdim=keep)
        return found
    if all(x.shape[axis] for axis in axes):
        return (torch.amax if largest else torch.amin)(x, axes, keep)
    limits = torch.finfo if x.is_floating_point() else torch.iinfo
    worst = limits(x.dtype).min if largest else limits(x.dtype).max
    if x.is_floating_point():
        worst = -torch.inf if largest else torch.inf
    return torch.full_like(x.sum(axes, keepdim=keep), worst)


REDUCE: dict[str, Reduce] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: _euclidean(x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keep),
    "ReduceMax": partial(_extreme, largest=True),
    "ReduceMean": lambda x, axes, keep: _mean(x, axes, keep),
    "ReduceMin": partial(_extreme, largest=False),
    "ReduceProd": _prod,
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep, dtype=x.dtype),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(
        axes, keepdim=keep, dtype=x.dtype
    ),
}


def lp_norm(x: Tensor, p: float, axes: tuple[int, ...], keep: bool = False) -> Tensor:
    """Return (sum |x|^p)^(1/p); its derivative at zero is zero, as in torch."""
    norm: Tensor = torch.linalg.vector_norm(x, p, axes, keep)
    return norm


def _euclidean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return lp_norm(x, 2, tuple(axes), keep)
    return (x * x).sum(axes, keepdim=keep).to(torch.float64).sqrt().to(x.dtype)


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    if not all(x.shape[axis] for axis in axes):
        raise integers.refusal("It takes the mean of no whole number at all")
    return x.to(torch.float64).mean(axes, keepdim=keep).to(x.dtype)


def _with_attribute(
    reduce: Reduce,
    x: Tensor,
    *,
    axes: list[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    return _with_input(
        reduce, x, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes
    )


def _with_input(
    reduce: Reduce,
    x: Tensor,
    axes: Host | Tensor | list[int] | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    chosen = [axis_of(axis, x.dim()) for axis in ints(axes)]
    if not chosen:
        if noop_with_empty_axes:
            return reduce(x.unsqueeze(0), [0], False)
        chosen = list(range(x.dim()))
    if not x.dim():
        return reduce(x.unsqueeze(0), [0], False)
    return reduce(x, chosen, bool(keepdims))


for _name, _reduce in REDUCE.items():
    operator(_name)(partial(_with_attribute, _reduce))
    _since = 13 if _name == "ReduceSum" else 18
    operator(_name, since=_since, host=(1,), zero_inputs=(1,))(
        partial(_with_input, _reduce)
    )


def _arg_extreme(
    find: Callable[[Tensor, int, bool], Tensor],
    x: Tensor,
    *,
    axis: int = 0,
    keepdims: int = 1,
    select_last_index: int = 0,
) -> Tensor:
    axis = axis_of(axis, x.dim())
    if not select_last_index:
        return find(x, axis, bool(keepdims))
    return x.shape[axis] - 1 - find(x.flip(axis), axis, bool(keepdims))


for _name, _find in (("ArgMax", torch.argmax), ("ArgMin", torch.argmin)):
    operator(_name, zero_derivative=True)(partial(_arg_extreme, _find))


@operator("CumSum", host=(1,))
def cum_sum(
    x: Tensor, axis: Host | Tensor, *, exclusive: int = 0, reverse: int = 0
) -> Tensor:
    """Running sum; exclusive leaves each element out of its own sum."""
    return _running(torch.cumsum, x, integer(axis), 0, bool(exclusive), bool(reverse))


@operator("CumProd", host=(1,))
def cum_prod(
    x: Tensor, axis: Host | Tensor, *, exclusive: int = 0, reverse: int = 0
) -> Tensor:
    """Running product; exclusive leaves each element out of its own product."""
    return _running(torch.cumprod, x, integer(axis), 1, bool(exclusive), bool(reverse))


def _running(
    run: Callable[..., Tensor],
    x: Tensor,
    axis: int,
    start: int,
    exclusive: bool,
    reverse: bool,
) -> Tensor:
    x = x.flip(axis) if reverse else x
    if exclusive:
        head = torch.full_like(x.narrow(axis, 0, 1), start)
        x = torch.cat([head, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    result = run(x, axis, dtype=x.dtype)
    return result.flip(axis) if reverse else result


def _over_rest(
    function: Callable[[Tensor, int], Tensor], x: Tensor, *, axis: int = 1
) -> Tensor:
    """Up to opset 12, softmax runs over `axis` and all axes after it together."""
    axis = axis_of(axis, x.dim())
    return function(x.flatten(axis), -1).reshape(x.shape)


def _over_axis(
    function: Callable[[Tensor, int], Tensor], x: Tensor, *, axis: int = -1
) -> Tensor:
    return function(x, axis)


def _by_columns(
    function: Callable[[Tensor, int], Tensor], x: Tensor, axis: int
) -> Tensor:
    """Run along an axis; a last axis that is shorter than a register is put first.

    torch takes rows along the last axis one by one, and what does not fill a vector
    register falls out of its fast code: rows of 8 take 40 times as long as columns
    of 8, rows of 16 less. The bins of a spline and the components of a mixture are
    such rows.
    """
    if x.dim() < 2 or axis % x.dim() != x.dim() - 1 or x.shape[-1] >= REGISTER:
        return function(x, axis)
    return function(x.movedim(-1, 0), 0).movedim(0, -1)


def softmax(x: Tensor, axis: int) -> Tensor:
    """Softmax; halves are rounded at every step, as the standard's function does."""
    if x.dtype not in (torch.float16, torch.bfloat16):
        return _by_columns(functional.softmax, x, axis)
    powers = (x - x.amax(axis, keepdim=True)).exp()
    return powers / powers.sum(axis, keepdim=True)


def _hardmax(x: Tensor, axis: int) -> Tensor:
    index = torch.argmax(x, axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, index, 1)


for _name, _along, _zero in (
    ("Softmax", softmax, False),
    ("LogSoftmax", partial(_by_columns, functional.log_softmax), False),
    ("Hardmax", _hardmax, True),
):
    operator(_name, zero_derivative=_zero)(partial(_over_rest, _along))
    operator(_name, since=13, zero_derivative=_zero)(partial(_over_axis, _along))


@operator("GuardedSoftmax", domain="robaudit")
def guarded_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Softmax that is NaN on a row of -inf, with a derivative of zero there."""
    dead = torch.isneginf(x).all(axis, keepdim=True)
    y = softmax(torch.where(dead, torch.zeros_like(x), x), axis)
    return torch.where(dead, torch.full_like(y, torch.nan), y)


@operator("TopK", host=(), zero_outputs=(1,))
def top_k_attribute(x: Tensor, *, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Largest k elements along an axis, and where they are (opset 1)."""
    return _top_k(x, k, axis, largest=True)


@operator("TopK", since=10, host=(1,), zero_inputs=(1,), zero_outputs=(1,))
def top_k(
    x: Tensor,
    k: Host | Tensor,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,
) -> tuple[Tensor, Tensor]:
    """Largest or smallest k elements along an axis, and where they are."""
    return _top_k(x, integer(k), axis, bool(largest))


def _top_k(x: Tensor, k: int, axis: int, largest: bool) -> tuple[Tensor, Tensor]:
    """Ties go to the lower index, so sort stably."""
    order = torch.sort(x.detach(), dim=axis, descending=largest, stable=True).indices
    order = order.narrow(axis, 0, k)
    return torch.take_along_dim(x, order, axis), order
