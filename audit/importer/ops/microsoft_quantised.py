"""com.microsoft QLinear operators: dequantise, compute, quantise again.

They are staircases: no derivative passes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.ops.microsoft import MICROSOFT
from audit.importer.ops.pooling import average_pool
from audit.importer.ops.quantisation import (
    BOUNDS,
    TYPES,
    dequantize_linear,
    quantize_linear,
)
from audit.importer.registry import operator

staircase = partial(operator, domain=MICROSOFT, zero_derivative=True, quantised=True)
staircase("QuantizeLinear")(quantize_linear)
operator("DequantizeLinear", domain=MICROSOFT, zero_inputs=(0, 2), quantised=True)(
    dequantize_linear
)


def real_of(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """Return the real numbers that quantised ones stand for."""
    shifted = x.to(scale.dtype)
    return (shifted if zero is None else shifted - zero.to(scale.dtype)) * scale


def _whole(y: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    if zero is None:
        zero = torch.zeros((), dtype=torch.uint8, device=y.device)
    shifted = torch.round(y / scale) + zero
    return shifted.clamp(*BOUNDS[TYPES[zero.dtype]]).to(zero.dtype)


def _binary(
    function: Callable[[Tensor, Tensor], Tensor],
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor | None,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
) -> Tensor:
    y = function(real_of(a, a_scale, a_zero), real_of(b, b_scale, b_zero))
    return _whole(y, y_scale, y_zero)


def _unary(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
) -> Tensor:
    return _whole(function(real_of(x, x_scale, x_zero)), y_scale, y_zero)


for _name, _two in (("QLinearAdd", torch.add), ("QLinearMul", torch.mul)):
    staircase(_name)(partial(_binary, _two))
staircase("QLinearSigmoid")(partial(_unary, torch.sigmoid))


@staircase("QLinearLeakyRelu")
def q_leaky_relu(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 0.01,
) -> Tensor:
    """LeakyRelu of quantised numbers."""
    slope = partial(functional.leaky_relu, negative_slope=alpha)
    return _unary(slope, x, x_scale, x_zero, y_scale, y_zero)


@staircase("QLinearConcat")
def q_concat(y_scale: Tensor, y_zero: Tensor, *triples: Tensor, axis: int) -> Tensor:
    """Join quantised tensors, each with its scale and zero point."""
    parts = [real_of(*triples[i : i + 3]) for i in range(0, len(triples), 3)]
    return _whole(torch.cat(parts, axis), y_scale, y_zero)


def _channels_first(x: Tensor, channels_last: int) -> Tensor:
    return x.movedim(-1, 1) if channels_last else x


@staircase("QLinearGlobalAveragePool")
def q_global_average_pool(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    *,
    channels_last: int = 0,
) -> Tensor:
    """GlobalAveragePool of quantised numbers."""
    image = _channels_first(real_of(x, x_scale, x_zero), channels_last)
    y = _whole(image.mean(list(range(2, x.dim())), keepdim=True), y_scale, y_zero)
    return y.movedim(1, -1) if channels_last else y


@staircase("QLinearAveragePool")
def q_average_pool(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """AveragePool of quantised numbers."""
    image = _channels_first(real_of(x, x_scale, x_zero), channels_last)
    mean = average_pool(
        image,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    y = _whole(mean, y_scale, y_zero)
    return y.movedim(1, -1) if channels_last else y


@staircase("QLinearSoftmax")
def q_softmax(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor,
    *,
    axis: int = -1,
    opset: int,
) -> Tensor:
    """Softmax of quantised numbers; before opset 13 over all axes from `axis` on."""
    real = real_of(x, x_scale, x_zero)
    if opset >= 13:
        return _whole(functional.softmax(real, axis), y_scale, y_zero)
    flat = functional.softmax(real.flatten(axis % x.dim()), -1)
    return _whole(flat.reshape(x.shape), y_scale, y_zero)


@staircase("QGemm")
def q_gemm(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    c: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Gemm of quantised numbers; without an output scale the result is real."""
    left, right = (
        real_of(a, a_scale, a_zero),
        _column_scaled(b, b_scale, b_zero, transB),
    )
    y = torch.matmul(left.t() if transA else left, right)
    if c is not None:  # int32, in units of both scales
        y = y + c.to(y.dtype) * a_scale * b_scale
    y = alpha * y
    return y if y_scale is None else _whole(y, y_scale, y_zero)


def _column_scaled(b: Tensor, scale: Tensor, zero: Tensor, transposed: int) -> Tensor:
    """Dequantise B, per tensor or per column of the product."""
    return real_of(b.t() if transposed else b, scale, zero)


@staircase("QLinearWhere")
def q_where(
    condition: Tensor,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    y: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    z_scale: Tensor,
    z_zero: Tensor,
) -> Tensor:
    """Where on quantised numbers."""
    chosen = torch.where(
        condition, real_of(x, x_scale, x_zero), real_of(y, y_scale, y_zero)
    )
    return _whole(chosen, z_scale, z_zero)
