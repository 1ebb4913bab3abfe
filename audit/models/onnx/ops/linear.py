"""Linear algebra: Gemm, MatMul, Einsum."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audit.models.onnx.limits import MAX_ELEMENTS, check_elements
from audit.models.onnx.registry import operator


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
    check_elements((a.shape[0], b.shape[0]), "The result of Gemm")
    if c is not None and beta == 1.0 and alpha == 1.0 and c.dim() == 1:
        return functional.linear(a, b, c)
    y = functional.linear(a, b)
    y = y if alpha == 1.0 else (alpha * y).to(y.dtype)
    if c is None or beta == 0.0:
        return y
    return y + (c if beta == 1.0 else (beta * c).to(c.dtype))


@operator("MatMul")
def mat_mul(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product with NumPy's rules for other ranks."""
    _check_product(a, b)
    return torch.matmul(a, b)


@operator("Einsum")
def einsum(*tensors: Tensor, equation: str) -> Tensor:
    """Einstein summation; without an arrow the output is in alphabetical order."""
    equation = equation.replace(" ", "")
    if prod(tensor.numel() for tensor in tensors) > MAX_ELEMENTS:
        shapes = [tensor.detach().to("meta") for tensor in tensors]
        check_elements(torch.einsum(equation, *shapes).shape, "The result of Einsum")
    return torch.einsum(equation, *tensors)


def _check_product(a: Tensor, b: Tensor) -> None:
    """Refuse a product that would be too large, before it is made."""
    inner = max(a.shape[-1], 1) if a.dim() else 1
    if a.numel() // inner * (b.numel() // inner) > MAX_ELEMENTS and b.dim() > 1:
        batch = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
        rows = a.shape[-2] if a.dim() > 1 else 1
        check_elements((*batch, rows, b.shape[-1]), "The result of MatMul")
