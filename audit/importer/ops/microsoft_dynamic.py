"""com.microsoft operators that quantise to the range of what they are given.

They are staircases of what is quantised. The scale of a dynamic quantisation would
bring a derivative of its own; it is not that of the operator, and none passes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.ops.cells import (
    Activation,
    Cell,
    Weights,
    activations_of,
    lstm_cell,
)
from audit.importer.ops.microsoft import MICROSOFT
from audit.importer.ops.microsoft_quantised import real_of, staircase
from audit.importer.ops.quantisation import dynamic_quantize_linear, mat_mul_integer
from audit.importer.ops.recurrent import clipper, recurrent
from audit.importer.registry import Site, operator


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


@staircase("DynamicQuantizeLSTM", bounded=True)
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
    return real_of(w, scale.reshape(shape), zero.reshape(shape))


def rounded(x: Tensor) -> Tensor:
    """Round to the 8-bit numbers that fit the range of x."""
    y, scale, zero = dynamic_quantize_linear(x)
    return real_of(y, scale, zero)


@staircase("DynamicQuantizeMatMul")
def dynamic_quantize_mat_mul(
    a: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Round A to 8 bits, then multiply."""
    y = torch.matmul(rounded(a), real_of(b, b_scale, b_zero))
    return y if bias is None else y + bias
