"""Operators on one tensor, element by element: activations, trigonometry, rounding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.registry import operator

SMOOTH: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Det": torch.det,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Identity": lambda x: x,
    "Log": torch.log,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "Mish": functional.mish,
    "HardSwish": functional.hardswish,
}
STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "BitwiseNot": lambda x: torch.bitwise_not(x.to(torch.int64)).to(x.dtype),
    "Ceil": torch.ceil,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Not": torch.logical_not,
    "Round": torch.round,  # halves to even, as the standard asks
    "Sign": torch.sign,
}
for _name, _function in SMOOTH.items():
    operator(_name)(_function)
for _name, _function in STEPS.items():
    operator(_name, zero_derivative=True)(_function)


@operator("FallingSigmoid", domain="robaudit")
def falling_sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + eˣ), by whichever sigmoid is small: its derivative keeps its digits."""
    return torch.where(x < 0, 1 - torch.sigmoid(x), torch.sigmoid(-x))


@operator("Softplus")
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); linear only from 40, where float64 cannot tell."""
    return functional.softplus(x, 1.0, 40.0)


@operator("IsInf", zero_derivative=True)
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Where x is infinite, of the signs asked for."""
    found = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
    if detect_positive:
        found = found | torch.isposinf(x)
    return found | torch.isneginf(x) if detect_negative else found


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Alpha (exp(x) - 1) below zero, x above."""
    return functional.elu(x, alpha)


@operator("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    return functional.celu(x, alpha)


@operator("Selu")
def selu(
    x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554804
) -> Tensor:
    """Gamma times an Elu (the defaults are those of opset 6)."""
    return gamma * functional.elu(x, alpha)


@operator("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """X above zero, alpha x below."""
    return functional.leaky_relu(x, alpha)


@operator("PRelu", since=7)
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """LeakyRelu with a learned slope, broadcast to x."""
    return torch.where(x < 0, slope * x, x)


@operator("PRelu", since=1)
def prelu_per_channel(x: Tensor, slope: Tensor) -> Tensor:
    """Up to opset 6 a slope of one axis belongs to axis 1 of x."""
    if slope.dim() == 1 and slope.shape[0] > 1 and x.dim() > 2:
        slope = slope.reshape(-1, *(1,) * (x.dim() - 2))
    return prelu(x, slope)


@operator("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """X above alpha, else zero."""
    return functional.threshold(x, alpha, 0.0)


@operator("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """Alpha x + beta, kept between 0 and 1."""
    return torch.clamp(alpha * x + beta, 0, 1)


@operator("Shrink")
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """X - bias above lambd, x + bias below -lambd, else zero."""
    zero = torch.zeros_like(x)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, zero))


@operator("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """X times the normal distribution function, or its tanh approximation."""
    return functional.gelu(x, approximate=approximate)


@operator("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """X sigmoid(alpha x)."""
    return functional.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


@operator("SwiGLU")
def swiglu(gate: Tensor, value: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Swish of the gate, times the value."""
    return swish(gate, alpha=alpha) * value
