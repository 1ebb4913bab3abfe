"""Products with a constant matrix, by the faster of two libraries.

torch gives float32 products on the CPU to the BLAS that it was built with; where that
is MKL on a processor by another maker it runs at half of what the processor can do. The
kernels of oneDNN, which torch ships for convolutions, do not ask for the maker: 210
against 93 GFLOP/s on an AVX-512 core of AMD (torch 2.13, [1280, 256] × [256, 256]). A
call costs 10 µs more, so small products stay where they are. Which library it is
depends on the sizes alone: the same rows give the same bytes.

The operator has no derivative: it belongs to the sweep, which is its own derivative.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

LEAST = 1 << 20  # multiplications; fewer are done before oneDNN has begun
_LINEAR: Any = (
    torch.ops.mkldnn._linear_pointwise.default
    if torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    else None
)


def times(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return rows [..., k] times a matrix [k, n]."""
    return linear(rows, matrix.t())


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b [..., n] of x [..., k] and W [n, k]."""
    flat = x.reshape(-1, x.shape[-1])
    if _by_onednn(flat, weight):
        y: Tensor = _LINEAR(flat, weight, bias, "none", [], "")
    else:
        y = torch.nn.functional.linear(flat, weight, bias)
    return y.reshape(*x.shape[:-1], len(weight))


def _by_onednn(flat: Tensor, weight: Tensor) -> bool:
    return (
        _LINEAR is not None
        and bool(torch.backends.mkldnn.enabled)
        and flat.device.type == "cpu"
        and flat.dtype == weight.dtype == torch.float32
        and prod((*flat.shape, len(weight))) >= LEAST
    )
