"""Whole numbers: what has no result, or none that fits, is refused.

A quotient by zero does not exist, and the smallest number divided by -1 is one more
than the largest. Processors differ: x86 stops the process at both (SIGFPE, inside torch
and inside onnxruntime), others give some number. The standard says nothing. So both are
found before anybody divides; the same for powers, which wrap around here and stop at
the end of the range in onnxruntime. What wraps around everywhere may do so: sums,
products, and the absolute value of the smallest number. Shifts by the width or more
leave nothing, in onnxruntime too.

torch computes with uint64 as if it were int64. Where the sign matters NumPy does it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import ModelError
from audit.importer.values import Host, from_numpy, to_host

Binary = Callable[[Tensor, Tensor], Tensor]
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def refusal(what: str) -> ModelError:
    """Return the error for a result that does not exist or does not fit."""
    return ModelError(
        what,
        "Expected whole numbers with a result that their type holds",
        "Check the data, or do not use this file if you do not know it",
    )


def check_quotient(a: Tensor | Host, b: Tensor | Host) -> None:
    """Refuse a division of whole numbers that has no result, or none that fits.

    Raises:
        ModelError: a divisor is zero, or the quotient is too large for the type.
    """
    check_divisor(b)
    lowest, _ = _range(a)
    if lowest and bool(((b == -1) & (a == lowest)).any()):
        raise refusal(f"It divides {lowest} by -1")


def check_divisor(b: Tensor | Host) -> None:
    """Refuse a divisor of zero.

    Raises:
        ModelError: there is one.
    """
    if bool((b == 0).any()):
        raise refusal("It divides a whole number by zero")


def check_power(a: Tensor, b: Tensor) -> None:
    """Refuse powers of whole numbers that do not exist or do not fit.

    Raises:
        ModelError: one does not.
    """
    base, exponent = to_host(a), to_host(b)
    if ((base == 0) & (exponent < 0)).any():
        raise refusal("It divides a whole number by zero (a negative power of 0)")
    with np.errstate(all="ignore"):
        size = np.power(np.abs(base.astype(np.float64)), exponent.astype(np.float64))
    if (size >= float(_range(base)[1])).any():
        raise refusal(f"A power is too large for {base.dtype.name}")


def _range(values: Tensor | Host) -> tuple[int, int]:
    if isinstance(values, Tensor):
        known = torch.iinfo(values.dtype)
        return int(known.min), int(known.max)
    limits = np.iinfo(values.dtype)
    return int(limits.min), int(limits.max)


def divide(a: Tensor, b: Tensor) -> Tensor:
    """A / b; whole numbers are cut towards zero."""
    if a.is_floating_point() or a.is_complex():
        return a / b
    check_quotient(a, b)
    return torch.div(a, b, rounding_mode="trunc")


def remainder(a: Tensor, b: Tensor) -> Tensor:
    """Remainder with the sign of b."""
    return torch.remainder(*_divisible(a, b))


def fmod(a: Tensor, b: Tensor) -> Tensor:
    """Remainder with the sign of a."""
    return torch.fmod(*_divisible(a, b))


def _divisible(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return operands whose remainder no processor stops at: x mod -1 is x mod 1."""
    if a.is_floating_point():
        return a, b
    check_divisor(b)
    return a, torch.where(b == -1, 1, b) if _range(b)[0] else b


def power(a: Tensor, b: Tensor) -> Tensor:
    """A ** b in the type of a; whole numbers are cut towards zero."""
    if not (a.is_floating_point() or a.is_complex()):
        check_power(a, b)
    if b.dtype in UNSIGNED:
        b = b.to(torch.int64)
    result = torch.pow(a, b)
    return result if result.dtype == a.dtype else result.to(a.dtype)


_BY_NUMPY: dict[Binary, Callable[..., Any]] = {
    torch.gt: np.greater,
    torch.lt: np.less,
    torch.ge: np.greater_equal,
    torch.le: np.less_equal,
    torch.maximum: np.maximum,
    torch.minimum: np.minimum,
    torch.bitwise_right_shift: np.right_shift,
    divide: np.floor_divide,
    remainder: np.remainder,
    fmod: np.fmod,
}
_CHECKS: dict[Binary, Callable[[Tensor, Tensor], None]] = {
    divide: check_quotient,
    remainder: lambda _, b: check_divisor(b),
    fmod: lambda _, b: check_divisor(b),
    power: check_power,
}


def widened(function: Binary, a: Tensor, b: Tensor) -> Tensor:
    """Apply a function to whole numbers whose type torch does not compute with."""
    if function in _CHECKS:
        _CHECKS[function](a, b)
    if a.dtype is torch.uint64 and function in _BY_NUMPY:
        result = _BY_NUMPY[function](to_host(a), to_host(b))
        return from_numpy(np.asarray(result)).to(a.device)
    found = function(a.to(torch.int64), b.to(torch.int64))
    return found.to(a.dtype) if found.dtype is torch.int64 else found


def steps_between(first: float, last: float, step: float) -> int:
    """Return how many steps lead from a number to before another, exactly.

    Raises:
        ModelError: the step is zero, or a number is not finite.
    """
    numbers = (first, last, step)
    if not step or not all(map(isfinite, numbers)):
        raise ModelError(
            f"It counts from {first} to {last} in steps of {step}",
            "Expected finite numbers, and a step that is not zero",
            "Check the data, or do not use this file if you do not know it",
        )
    if all(isinstance(number, int) for number in numbers):
        return max(-int((first - last) // step), 0)
    span = (last - first) / step
    return max(ceil(span), 0) if isfinite(span) else 2**63
