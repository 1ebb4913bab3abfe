"""Operators on pairs and lists of tensors: Add, Pow, Mod, Max, Where, comparisons.

Up to opset 6 broadcasting had to be asked for, with `axis` for where the second operand
starts; from opset 7 it is NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

import numpy as np
import torch
from torch import Tensor

from audit.importer import integers
from audit.importer.integers import UNSIGNED, divide, power, widened
from audit.importer.limits import MAX_ELEMENTS, check_broadcast
from audit.importer.registry import operator
from audit.importer.values import Host, from_numpy, plain


def _legacy(
    function: Callable[[Tensor, Tensor], Tensor],
    a: Tensor,
    b: Tensor,
    *,
    broadcast: int = 0,
    axis: int | None = None,
) -> Tensor:
    """Apply with the broadcasting of opset 1 to 6."""
    if broadcast and axis is not None:
        trailing = a.dim() - axis % max(a.dim(), 1) - b.dim()
        b = b.reshape(b.shape + (1,) * trailing)
    return function(a, b)


def _wide(function: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Apply; unsigned types that torch cannot compute with go through int64."""
    if not isinstance(a, Tensor):  # strings: only Equal takes them
        return torch.from_numpy(np.asarray(np.equal(a, b), bool))
    if a.numel() * b.numel() > MAX_ELEMENTS:
        check_broadcast(a.shape, b.shape, "The result of broadcasting")
    return widened(function, a, b) if a.dtype in UNSIGNED else function(a, b)


SMOOTH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": divide,
    "Pow": power,
}
STEPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "Less": torch.lt,
}
LATER_STEPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # opset 12 or 18
    "GreaterOrEqual": torch.ge,
    "LessOrEqual": torch.le,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
}
for _name, _function in SMOOTH.items():
    operator(_name)(partial(_legacy, _function))
    if _name != "Pow":
        operator(_name, since=7, bounded=True)(partial(_wide, _function))
for _name, _function in STEPS.items():
    operator(_name, zero_derivative=True)(partial(_legacy, _function))
    operator(_name, since=7, zero_derivative=True, bounded=True)(
        partial(_wide, _function)
    )
for _name, _function in LATER_STEPS.items():
    operator(_name, zero_derivative=True, bounded=True)(partial(_wide, _function))


@operator("Pow", since=7, host=(1,))
def pow_(a: Tensor, b: Tensor | Host) -> Tensor:
    """A ** b, elementwise, in the type of a."""
    if isinstance(b, Tensor):
        return _wide(power, a, b)
    if b.size > 1 or not a.is_floating_point():
        return _wide(power, a, from_numpy(b).to(a.device))
    result: Tensor = a ** plain(b)
    result = result.reshape(np.broadcast_shapes(tuple(a.shape), b.shape))
    return result if result.dtype == a.dtype else result.to(a.dtype)


@operator("Mod", zero_inputs=(), bounded=True)
def mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """Remainder with the sign of b, or with fmod=1 of a."""
    return _wide(integers.fmod if fmod else integers.remainder, a, b)


@operator("BitShift", zero_derivative=True, bounded=True)
def bit_shift(a: Tensor, b: Tensor, *, direction: str) -> Tensor:
    """Shift bits to the left or to the right."""
    left = direction == "LEFT"
    return _wide(torch.bitwise_left_shift if left else torch.bitwise_right_shift, a, b)


@operator("Sum", bounded=True)
def sum_(*tensors: Tensor) -> Tensor:
    """Sum of any number of tensors."""
    return reduce(partial(_wide, torch.add), tensors)


@operator("Mean", bounded=True)
def mean(*tensors: Tensor) -> Tensor:
    """Mean of any number of tensors."""
    return reduce(partial(_wide, torch.add), tensors) / len(tensors)


@operator("Max", bounded=True)
def max_(*tensors: Tensor) -> Tensor:
    """Largest of any number of tensors; a tie shares the derivative, as in torch."""
    return reduce(partial(_wide, torch.maximum), tensors)


@operator("Min", bounded=True)
def min_(*tensors: Tensor) -> Tensor:
    """Smallest of any number of tensors."""
    return reduce(partial(_wide, torch.minimum), tensors)


@operator("Where", zero_inputs=(0,), bounded=True)
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A where the condition holds, else b."""
    if not condition.shape == a.shape == b.shape:
        check_broadcast(a.shape, b.shape, "The result of Where")
        both = np.broadcast_shapes(tuple(a.shape), tuple(b.shape))
        check_broadcast(condition.shape, both, "The result of Where")
    return torch.where(condition, a, b)


@operator("Apart", domain="robaudit", zero_derivative=True, bounded=True)
def apart(a: Tensor, b: Tensor) -> Tensor:
    """Whether two numbers differ by a finite one."""
    difference = _wide(torch.sub, a, b)
    return (difference != 0) & torch.isfinite(difference)


@operator("Held", domain="robaudit", zero_inputs=(1,))
def held(x: Tensor, dead: Tensor) -> Tensor:
    """X, which does not move where all that it takes part in is dead."""
    if not (torch.is_tensor(x) and x.is_floating_point()):
        return x
    return torch.where(held_of(x, dead), x.detach(), x)


def held_of(x: Tensor, dead: Tensor) -> Tensor:
    """Return where x is held, in the shape of x: where all it is stretched to is."""
    shape = np.broadcast_shapes(tuple(x.shape), tuple(dead.shape))
    sizes = (1,) * (len(shape) - x.dim()) + tuple(x.shape)
    dead = dead.expand(shape)
    for axis, (there, own) in enumerate(zip(shape, sizes, strict=True)):
        if there != own:
            dead = dead.all(dim=axis, keepdim=True)
    return dead.reshape(x.shape)


@operator("Clip", since=1)
def clip_attributes(
    x: Tensor,
    *,
    min: float = -3.4028234663852886e38,
    max: float = 3.4028234663852886e38,
) -> Tensor:
    """Clamp between two attributes (up to opset 10)."""
    return torch.clamp(x, min, max)


@operator("Clip", since=11, host=(1, 2))
def clip(
    x: Tensor, low: Tensor | Host | None = None, high: Tensor | Host | None = None
) -> Tensor:
    """Clamp between two inputs; max wins when they cross."""
    if isinstance(low, np.ndarray) and isinstance(high, np.ndarray):
        return torch.clamp(x, low.item(), high.item())
    if low is not None:
        x = _bounded(x, low, torch.clamp_min)
    if high is not None:
        x = _bounded(x, high, torch.clamp_max)
    return x


def _bounded(x: Tensor, bound: Tensor | Host, clamp: Callable[..., Tensor]) -> Tensor:
    limit = plain(bound)
    return clamp(x, limit if not isinstance(limit, Tensor) else limit.to(x.dtype))
