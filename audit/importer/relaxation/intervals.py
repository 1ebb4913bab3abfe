"""Interval arithmetic in float64, rounded outwards.

Ends of sums and products are widened by 2⁻⁴⁹ of the larger one, which is 16 roundings;
what is exact is not. ±∞ says that nothing is known, and so does what is no number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_SLACK = 2.0**-49


class Interval(NamedTuple):
    """Lower and upper ends, of one shape."""

    low: Tensor
    high: Tensor

    def __add__(self, other: Interval) -> Interval:  # type: ignore[override]
        """Return all sums."""
        return _wider(self.low + other.low, self.high + other.high)

    def __mul__(self, other: Interval) -> Interval:  # type: ignore[override]
        """Return all products; 0 · ∞ is any number."""
        ends = [a * b for a in self for b in other]
        low, high = ends[0], ends[0]
        for end in ends[1:]:  # NaN stays
            low, high = torch.minimum(low, end), torch.maximum(high, end)
        return _wider(low.nan_to_num(-torch.inf, torch.inf, -torch.inf), _or_all(high))

    def times(self, factor: float, shift: float = 0.0) -> Interval:
        """Return factor · v + shift; exact where nothing is rounded."""
        low, high = (self.low, self.high) if factor >= 0 else (self.high, self.low)
        if shift:
            return _wider(low * factor + shift, high * factor + shift)
        exact = math.frexp(factor)[0] in (0.5, -0.5)
        low, high = low * factor, high * factor
        return Interval(low, high) if exact else _wider(low, high)


def _or_all(high: Tensor) -> Tensor:
    return high.nan_to_num(torch.inf, torch.inf, -torch.inf)


def _wider(low: Tensor, high: Tensor, unit: float = 0.0) -> Interval:
    slack = _SLACK * (torch.maximum(low.abs(), high.abs()) + unit)
    low = (low - slack).nan_to_num(-torch.inf, torch.inf, -torch.inf)
    return Interval(low, _or_all(high + slack))


def covering(values: Sequence[Tensor], unit: float = 0.0) -> Interval:
    """Return an interval that holds some numbers, rounded to digits of a unit."""
    low, high = values[0], values[0]
    for value in values[1:]:
        low, high = torch.minimum(low, value), torch.maximum(high, value)
    return _wider(low, high, unit)
