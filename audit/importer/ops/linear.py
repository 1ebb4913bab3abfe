"""Linear algebra: Gemm, MatMul, Einsum."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.products import linear, times
from audit.importer.registry import operator


@operator("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 1,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Alpha A B + beta C, with A and B transposed on request."""
    a = a.t() if transA else a
    b = b if transB else b.t()
    if c is not None and beta == 1.0 and alpha == 1.0 and c.dim() == 1:
        return linear(a, b, c)
    y = linear(a, b)
    y = y if alpha == 1.0 else (alpha * y).to(y.dtype)
    if c is None or beta == 0.0:
        return y
    return y + (c if beta == 1.0 else (beta * c).to(c.dtype))


@operator("MatMul")
def mat_mul(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product with NumPy's rules for other ranks."""
    return times(a, b) if b.dim() == 2 else torch.matmul(a, b)


@operator("Einsum")
def einsum(*tensors: Tensor, equation: str) -> Tensor:
    """Einstein summation; without an arrow the output is in alphabetical order."""
    return torch.einsum(equation.replace(" ", ""), *tensors)
