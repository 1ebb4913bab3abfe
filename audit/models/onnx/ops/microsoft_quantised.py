"""com.microsoft QLinear operators: dequantise, compute, quantise again.

They are staircases of what is quantised. The scale of a dynamic quantisation would
bring a derivative of its own; it is not that of the operator, and none passes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.onnx.ops.cells import (
    Activation,
    Cell,
    Weights,
    activations_of,
    lstm_cell,
)
from audit.models.onnx.ops.microsoft import MICROSOFT
from audit.models.onnx.ops.pooling import average_pool
from audit.models.onnx.ops.quantisation import (
    BOUNDS,
    TYPES,
    dequantize_linear,
    dynamic_quantize_linear,
    mat_mul_integer,
    quantize_linear,
)
from audit.models.onnx.ops.recurrent import clipper, recurrent
from audit.models.onnx.registry import Site, operator

staircase = partial(operator, domain=MICROSOFT, zero_derivative=True, quantised=True)
staircase("QuantizeLinear")(quantize_linear)
operator("DequantizeLinear", domain=MICROSOFT, zero_inputs=(0, 2), quantised=True)(
    dequantize_linear
)


def _real(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
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
    y = function(_real(a, a_scale, a_zero), _real(b, b_scale, b_zero))
    return _whole(y, y_scale, y_zero)


def _unary(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
) -> Tensor:
    return _whole(function(_real(x, x_scale, x_zero)), y_scale, y_zero)


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
    parts = [_real(*triples[i : i + 3]) for i in range(0, len(triples), 3)]
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
    image = _channels_first(_real(x, x_scale, x_zero), channels_last)
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
    image = _channels_first(_real(x, x_scale, x_zero), channels_last)
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
    real = _real(x, x_scale, x_zero)
    if opset >= 13:
        return _whole(functional.softmax(real, axis), y_scale, y_zero)
    flat = functional.softmax(real.flatten(axis % x.dim()), -1)
    return _whole(flat.reshape(x.shape), y_scale, y_zero)


@operator(
    "MatMulIntegerToFloat",
    domain=MICROSOFT,
    zero_inputs=(0, 1, 4, 5),
    quantised=True,
)
def mat_mul_integer_to_float(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero: Tensor | None = None,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Integer product, scaled back to real numbers."""
    y = mat_mul_integer(a, b, a_zero, b_zero).to(a_scale.dtype) * a_scale * b_scale
    return y if bias is None else y + bias


@staircase("DynamicQuantizeLSTM")
def dynamic_quantize_lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    initial_h: Tensor | None,
    initial_c: Tensor | None,
    peepholes: Tensor | None,
    w_scale: Tensor,
    w_zero: Tensor,
    r_scale: Tensor,
    r_zero: Tensor,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    site: Site,
) -> tuple[Tensor, ...]:
    """LSTM whose input and state are rounded to 8 bits before each product."""
    if input_forget or peepholes is not None:
        raise site.refuse("peepholes and coupled gates are not implemented")
    names = activations or ["Sigmoid", "Tanh", "Tanh"] * w.shape[0]
    acts = activations_of(names, activation_alpha, activation_beta)

    def cell(weights: Weights, act: list[Activation]) -> Cell:
        step = lstm_cell(weights, act, clipper(clip), coupled=False)
        return lambda gates, state: step(gates, (rounded(state[0]), state[1]))

    parameters = (
        _per_direction(w, w_scale, w_zero).transpose(1, 2),
        _per_direction(r, r_scale, r_zero).transpose(1, 2),
        b,
        None,
    )
    return recurrent(
        site, rounded(x), parameters, lengths, (initial_h, initial_c), cell, acts,
        direction, layout=0,
    )  # fmt: skip


def _per_direction(w: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Dequantise [directions, inputs, gates], per direction or per gate."""
    shape = (w.shape[0], 1, -1)
    return _real(w, scale.reshape(shape), zero.reshape(shape))


def rounded(x: Tensor) -> Tensor:
    """Round to the 8-bit numbers that fit the range of x."""
    y, scale, zero = dynamic_quantize_linear(x)
    return _real(y, scale, zero)


@staircase("DynamicQuantizeMatMul")
def dynamic_quantize_mat_mul(
    a: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Round A to 8 bits, then multiply."""
    y = torch.matmul(rounded(a), _real(b, b_scale, b_zero))
    return y if bias is None else y + bias


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
    left, right = _real(a, a_scale, a_zero), _column_scaled(b, b_scale, b_zero, transB)
    y = torch.matmul(left.t() if transA else left, right)
    if c is not None:  # int32, in units of both scales
        y = y + c.to(y.dtype) * a_scale * b_scale
    y = alpha * y
    return y if y_scale is None else _whole(y, y_scale, y_zero)


def _column_scaled(b: Tensor, scale: Tensor, zero: Tensor, transposed: int) -> Tensor:
    """Dequantise B, per tensor or per column of the product."""
    return _real(b.t() if transposed else b, scale, zero)


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
        condition, _real(x, x_scale, x_zero), _real(y, y_scale, y_zero)
    )
    return _whole(chosen, z_scale, z_zero)
