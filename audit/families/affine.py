"""What a law becomes when its draws are shifted and stretched, θ = a + b y with b > 0.

Most laws of one number stay in their family. How each parameter moves is said by the
family (`Continuous.under_affine`); one that is not named there stays as it is:

    SHIFTS      a + b v     the location of a law on the line
    STRETCHES   b v         a scale, in units of θ
    SHRINKS     v / b       a rate, in units of 1/θ
    IN_LOGS     v + ln b    the location of ln θ

A law without a parameter that shifts has an end, which may not move: a = 0 there.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import torch
from torch import Tensor


class Affine(Enum):
    """How a parameter v moves with θ = a + b y."""

    SHIFTS = "a + b v"
    STRETCHES = "b v"
    SHRINKS = "v / b"
    IN_LOGS = "v + ln b"
    STAYS = "v"

    def moved(self, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the parameter [...] of a + b y."""
        of: dict[Affine, Callable[[], Tensor]] = {
            Affine.SHIFTS: lambda: a + b * v,
            Affine.STRETCHES: lambda: b * v,
            Affine.SHRINKS: lambda: v / b,
            Affine.IN_LOGS: lambda: v + b.log(),
            Affine.STAYS: lambda: v,
        }
        return of[self]()

    def slopes(self, v: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return its derivatives [...] in v, a and b."""
        none, one = torch.zeros_like(v), torch.ones_like(v)
        of = {
            Affine.SHIFTS: (b, one, v),
            Affine.STRETCHES: (b, none, v),
            Affine.SHRINKS: (1 / b, none, -v / b.square()),
            Affine.IN_LOGS: (one, none, 1 / b),
            Affine.STAYS: (one, none, none),
        }
        return of[self]
