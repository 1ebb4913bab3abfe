"""Quantisation: QuantizeLinear, DequantizeLinear and the operators on integers.

Rounding has derivative zero; `path_ops` shows it, and `quantised_nodes` tells it from
other steps. DequantizeLinear passes a derivative to its scale only, and so does the
scale that DynamicQuantizeLinear gives.
"""

from __future__ import annotations

import ml_dtypes
import torch
from onnx import TensorProto
from torch import Tensor

from audit.importer.limits import check_elements
from audit.importer.ops.convolution import conv
from audit.importer.registry import Site, operator
from audit.importer.values import CARRIED, TORCH_TYPES, axis_of, round_to

BOUNDS: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT4: (-8, 7),
    25: (0, 3),  # UINT2
    26: (-2, 1),  # INT2
}
TYPES = {
    torch.uint8: TensorProto.UINT8,
    torch.int8: TensorProto.INT8,
    torch.uint16: TensorProto.UINT16,
    torch.int16: TensorProto.INT16,
    torch.float8_e4m3fn: TensorProto.FLOAT8E4M3FN,
    torch.float8_e4m3fnuz: TensorProto.FLOAT8E4M3FNUZ,
    torch.float8_e5m2: TensorProto.FLOAT8E5M2,
    torch.float8_e5m2fnuz: TensorProto.FLOAT8E5M2FNUZ,
}


def spread(parameter: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Give a scale or zero point the shape of x: per tensor, per axis, per block."""
    if parameter.numel() == 1:
        return parameter.reshape((1,) * x.dim())
    axis = axis_of(axis, x.dim())
    if parameter.dim() == 1 and not block:
        shape = [1] * x.dim()
        shape[axis] = -1
        return parameter.reshape(shape)
    size = block or -(-x.shape[axis] // parameter.shape[axis])
    check_elements((parameter.numel(), size), "A scale for each element")
    return parameter.repeat_interleave(size, axis).narrow(axis, 0, x.shape[axis])


@operator("DequantizeLinear", zero_inputs=(0, 2), quantised=True)
def dequantize_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    site: Site,
) -> Tensor:
    """(x - zero_point) scale."""
    dtype = site.dtype(output_dtype) if output_dtype else scale.dtype
    wide = torch.promote_types(scale.dtype, torch.float32)
    y = x.to(wide)
    if zero_point is not None:
        y = y - spread(zero_point.to(wide), x, axis, block_size)
    return (y * spread(scale, x, axis, block_size)).to(dtype)


@operator("QuantizeLinear", zero_derivative=True, quantised=True)
def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
    site: Site,
) -> Tensor:
    """Round x / scale to even, add the zero point, saturate."""
    target = _target(zero_point, output_dtype, site)
    wide = site.dtype(precision) if precision else scale.dtype
    y = x.to(wide) / spread(scale.to(wide), x, axis, block_size)
    if target not in BOUNDS:
        return round_to(y, target) if target in CARRIED else y.to(site.dtype(target))
    y = torch.round(y)
    if zero_point is not None:
        y = y + spread(zero_point.to(y.dtype), x, axis, block_size)
    return y.clamp(*BOUNDS[target]).to(site.dtype(target))


def _target(zero_point: Tensor | None, output_dtype: int, site: Site) -> int:
    """Return the type that is quantised to."""
    if zero_point is None or output_dtype:
        return output_dtype or TensorProto.UINT8
    return site.input_type(2) or TYPES[zero_point.dtype]


def _limits(target: int) -> tuple[float, float]:
    """Return the smallest and the largest number of a type."""
    if target in BOUNDS:
        return BOUNDS[target]
    if target in CARRIED:
        kind = CARRIED[target][1]
        last = float(ml_dtypes.finfo(kind).max)  # type: ignore[no-untyped-call]
    else:
        last = torch.finfo(TORCH_TYPES[target]).max
    return -last, last


@operator("FakeQuantize", domain="robaudit", zero_inputs=(1, 2))
def fake_quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    real_dtype: int = 0,
    saturate: int = 1,
    site: Site,
) -> Tensor:
    """Quantise and dequantise; the derivative is one where nothing saturates."""
    whole = quantize_linear(
        x,
        scale,
        zero_point,
        axis=axis,
        block_size=block_size,
        output_dtype=output_dtype,
        precision=precision,
        saturate=saturate,
        site=site,
    )
    y = dequantize_linear(
        whole,
        scale,
        zero_point,
        axis=axis,
        block_size=block_size,
        output_dtype=real_dtype,
        site=site,
    ).detach()
    target = _target(zero_point, output_dtype, site)
    steps = x.detach() / spread(scale, x, axis, block_size).detach()
    if target in BOUNDS:
        steps = torch.round(steps)
    if zero_point is not None:
        steps = steps + spread(zero_point.to(steps.dtype), x, axis, block_size)
    low, high = _limits(target)
    inside = ((steps >= low) & (steps <= high)).to(x.dtype)
    return y + (inside * (x - x.detach())).to(y.dtype)


@operator("DynamicQuantizeLinear", zero_outputs=(0, 2), quantised=True)
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quantise to uint8 with the scale and zero point that fit x."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = torch.where(high == low, torch.ones_like(high), (high - low) / 255)
    zero = torch.round((-low / scale).clamp(0, 255))
    y = (torch.round(x / scale) + zero).clamp(0, 255)
    return y.to(torch.uint8), scale, zero.to(torch.uint8)


@operator("MatMulInteger", zero_derivative=True, quantised=True)
def mat_mul_integer(
    a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    """Integer matrix product, less the zero points, in int32."""
    left, right = a.to(torch.int32), b.to(torch.int32)
    if a_zero is not None:
        rows = a_zero.to(torch.int32)
        left = left - (rows.unsqueeze(-1) if rows.dim() else rows)
    if b_zero is not None:
        right = right - b_zero.to(torch.int32)
    return torch.matmul(left, right)


@operator("QLinearMatMul", zero_derivative=True, quantised=True)
def q_linear_mat_mul(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    *,
    site: Site,
) -> Tensor:
    """Matrix product of quantised tensors, quantised again."""
    product = mat_mul_integer(a, b, a_zero, b_zero)
    return requantized(product, a_scale * b_scale / y_scale, y_zero)


def requantized(product: Tensor, factor: Tensor, zero: Tensor) -> Tensor:
    """Scale an integer result, round, shift and saturate."""
    y = torch.round(product * factor) + zero
    return y.clamp(*BOUNDS[TYPES[zero.dtype]]).to(zero.dtype)


@operator("ConvInteger", zero_derivative=True, quantised=True)
def conv_integer(
    x: Tensor,
    w: Tensor,
    x_zero: Tensor | None = None,
    w_zero: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Integer convolution, less the zero points, in int32 (float64 is exact here)."""
    image = x.to(torch.float64) - (0 if x_zero is None else x_zero.to(torch.float64))
    kernel = w.to(torch.float64)
    if w_zero is not None:
        kernel = kernel - w_zero.to(torch.float64).reshape(-1, *(1,) * (w.dim() - 1))
    y = conv(
        image,
        kernel,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    return y.to(torch.int32)


@operator("QLinearConv", zero_derivative=True, quantised=True)
def q_linear_conv(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Convolution of quantised tensors, quantised again."""
    total = conv_integer(
        x,
        w,
        x_zero,
        w_zero,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    shape = (-1, *(1,) * (x.dim() - 2))
    if bias is not None:
        total = total + bias.reshape(shape)
    factor = (x_scale * w_scale / y_scale).reshape(shape)
    return requantized(total, factor, y_zero)
