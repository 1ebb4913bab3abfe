"""Products with a matrix, by the faster of two libraries.

torch gives float32 products on the CPU to the BLAS that it was built with; where that
is MKL on a processor by another maker it runs at half of what the processor can do. The
kernels of oneDNN, which torch ships for convolutions, do not ask for the maker: 210
against 93 GFLOP/s on an AVX-512 core of AMD (torch 2.13, [1280, 256] × [256, 256]). A
call costs 0.01 ms more, so small products stay where they are. Which library it is
depends on the sizes alone: the same rows give the same bytes.

A kernel is compiled for each number of rows, when it is first seen, in 0.3 to 2 ms: as
long as torch's BLAS takes for [512, 256] × [256, 256]. A search has another number of
candidates at each step, so in the block of `seldom_alike` only products that take far
longer than a kernel's making go to oneDNN.

Both take a matrix of few columns for one of sixteen, or worse. numpy's BLAS has kernels
for small products: [1280, 192] × [192, 3] in a fifth of the time. They, and one thread,
are for up to a quarter of a million multiplications, so rows are taken a few at a time.

oneDNN's operator has no derivatives in torch. They are products again: of y = x Wᵀ + b,
x̄ = ȳ W, W̄ = ȳᵀ x, b̄ = Σ ȳ, and ẏ = ẋ Wᵀ + x Ẇᵀ + ḃ.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.nn import functional

LEAST = 1 << 20  # multiplications; fewer are done before oneDNN has begun
SELDOM = 1 << 28  # of a shape that will hardly be seen again: 5 ms
NARROW = 1 << 18
"""The same where nothing is called around the kernel."""
_FEW, _BY = 16, 48  # columns, and the rows that go together
_APART = 15  # columns: with more, kernels of AVX2 tell the halves of twelve rows apart
_SMALL = 1 << 18  # multiplications of a small product
Array = NDArray[Any]
_least = ContextVar("least", default=LEAST)
_LINEAR: Any = (
    torch.ops.mkldnn._linear_pointwise.default
    if torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    else None
)


@contextmanager
def seldom_alike() -> Iterator[None]:
    """Expect another number of rows of each product in the block, as a search has it.

    That of `linear` and `times`, and of the derivatives that are taken within.
    """
    before = _least.set(SELDOM)
    try:
        yield
    finally:
        _least.reset(before)


def times(x: Tensor, matrix: Tensor) -> Tensor:
    """Return x [..., k] times a matrix [k, n], of any type."""
    if not _by_onednn(x, matrix.t(), None):
        return torch.matmul(x, matrix)
    return linear(x, matrix.t())


def plain_times(x: Tensor, matrix: Tensor, turned: Tensor | None = None) -> Tensor:
    """Return the same of tensors that no transform of torch follows, without asking.

    Args:
        x: [..., k], as cotangents of a sweep.
        matrix: [k, n].
        turned: its transpose [n, k], where that lies in memory by itself.
    """
    weight = matrix.t() if turned is None else turned
    if not _by_onednn(x, weight, None):
        return torch.matmul(x, matrix)
    flat: Tensor = _LINEAR(x.reshape(-1, x.shape[-1]), weight, None, "none", [], "")
    return flat.view(*x.shape[:-1], weight.shape[0])


def plain_times_into(out: Tensor, x: Tensor, matrix: Tensor) -> None:
    """Write x [m, k] times a matrix [k, n] into `out` [m, n], as `plain_times` does.

    A row is the same bytes in every place: kernels take rows by twelve or sixteen, and
    end with others for a few rows, so rows go by multiples of both, the last ones with
    zeros behind them.
    """
    k, n = matrix.shape
    if n > _FEW or not x.is_cpu or x.dtype not in (torch.float32, torch.float64):
        torch.matmul(x, matrix, out=out)
        return
    rows, found = x.numpy(), out.numpy()
    parts = _columns(matrix.numpy())
    each = max(1, _SMALL // max(1, _BY * k * n)) * _BY
    whole = len(rows) // _BY * _BY
    for first in range(0, whole, each):
        part = slice(first, min(first + each, whole))
        for at, columns in parts:
            np.matmul(rows[part], columns, out=found[part, at])
    if whole < len(rows):
        last = np.zeros((_BY, k), rows.dtype)
        last[: len(rows) - whole] = rows[whole:]
        for at, columns in parts:
            found[whole:, at] = (last @ columns)[: len(rows) - whole]


def _columns(matrix: Array) -> list[tuple[slice, Array]]:
    """Return the columns that go together, where each part of them lies."""
    n = matrix.shape[1]
    if n <= _APART:
        return [(slice(None), matrix)]
    halves = slice(0, n // 2), slice(n // 2, n)
    return [(half, np.ascontiguousarray(matrix[:, half])) for half in halves]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b [..., n] of x [..., k], W [n, k] and b [n].

    All transforms of torch work on it: both modes, twice, and vmap.
    """
    if not _by_onednn(x, weight, bias):
        return functional.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])
    if is_bare():
        made: Tensor = _LINEAR(flat, weight, bias, "none", [], "")
    else:
        made = _Linear.apply(flat, weight, bias)  # type: ignore[no-untyped-call]
    return made.reshape(*x.shape[:-1], len(weight))


def is_bare() -> bool:
    """Whether no derivative is taken, in either mode, and nothing is mapped over."""
    return (
        not torch.is_grad_enabled()
        and torch._C._functorch.maybe_current_level() is None
        and forward_ad._current_level < 0
    )


def straight(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b of x [m, k], of narrow matrices too, for no transform of torch.

    Backward passes go through it; without one there is nothing around the kernel.
    """
    if not _by_onednn(x, weight, bias, NARROW):
        return functional.linear(x, weight, bias)
    if torch.is_grad_enabled() and x.requires_grad:
        made: Tensor = _Straight.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return made
    found: Tensor = _LINEAR(x, weight, bias, "none", [], "")
    return found


def _by_onednn(
    x: Tensor, weight: Tensor, bias: Tensor | None, least: int | None = None
) -> bool:
    return (
        weight.dim() == 2
        and x.numel() * weight.shape[0] >= (least or _least.get())
        and x.dtype == weight.dtype == torch.float32
        and x.is_cpu
        and weight.is_cpu
        and x.dim() > 0
        and (bias is None or bias.dim() == 1)
        and _LINEAR is not None
        and bool(torch.backends.mkldnn.enabled)
    )


class _Straight(Function):
    """Of x [m, k] and constants W [n, k] and b [n] or None, with as little around it.

    Functions that keep a context by themselves have their arguments bound at each call.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """Return y [m, n]."""
        ctx.save_for_backward(weight)
        y: Tensor = _LINEAR(x, weight, bias, "none", [], "")
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        """Return that of x."""
        (weight,) = ctx.saved_tensors
        return straight(g, weight.t()), None, None


class _Linear(Function):
    """Of x [m, k], W [n, k] and b [n] or None."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return y [m, n]."""
        y: Tensor = _LINEAR(x, weight, bias, "none", [], "")
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        """Keep what the derivatives need."""
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Return the cotangents."""
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            times(g, weight) if wanted[0] else None,
            times(g.t(), x) if wanted[1] else None,
            g.sum(0) if wanted[2] else None,
        )

    @staticmethod
    def jvp(
        ctx: Any,  # noqa: ANN401
        x_t: Tensor | None,
        weight_t: Tensor | None,
        bias_t: Tensor | None,
    ) -> Tensor:
        """Return the tangent."""
        x, weight = ctx.saved_tensors
        parts = [
            linear(x_t, weight) if x_t is not None else None,
            linear(x, weight_t) if weight_t is not None else None,
            bias_t.expand(len(x), -1) if bias_t is not None else None,
        ]
        first, *others = (part for part in parts if part is not None)
        return sum(others, first)

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401
        in_dims: tuple[int | None, ...],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> tuple[Tensor, int]:
        """Fold what is mapped over into the rows; of mapped weights, multiply each."""
        moved = [
            value if value is None or at is None else value.movedim(at, 0)
            for value, at in zip((x, weight, bias), in_dims, strict=True)
        ]
        if in_dims[1] is None and in_dims[2] is None:
            return linear(moved[0], weight, bias), 0  # type: ignore[arg-type]
        batched = [
            value if value is None or at is not None else value.unsqueeze(0)
            for value, at in zip(moved, in_dims, strict=True)
        ]
        y = batched[0] @ batched[1].mT  # type: ignore[operator,union-attr]
        return (y if bias is None else y + batched[2].unsqueeze(1)), 0  # type: ignore[union-attr]
