"""Slopes of the hull of a function on an interval: guesses, that lines are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
_POINTS = 16  # of the interval


def hull_slopes(
    f: Function, slope_of: Function, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Guess the slopes of the concave and convex hull of f at the middle, [M] each.

    That of the best chord over the middle; of f itself where no chord is beyond it.
    Nothing is proven by them. A chord that ends at the middle is as high as f there
    whatever its slope, so that rounding would choose: there is none.
    """
    steps = torch.arange(_POINTS + 1, dtype=low.dtype, device=low.device) / _POINTS
    v = low[:, None] + (high - low)[:, None] * steps
    y, half = f(v), _POINTS // 2
    left, right = v[:, :half, None], v[:, None, half + 1 :]
    slope = (y[:, None, half + 1 :] - y[:, :half, None]) / (right - left)
    over = y[:, :half, None] + slope * (v[:, half, None, None] - left)
    own, at_middle = slope_of(v[:, half]), y[:, half]
    found = []
    for sign in (1.0, -1.0):
        heights = (sign * over).flatten(1).nan_to_num(-torch.inf)
        best, at = heights.max(1, keepdim=True)
        chord = slope.flatten(1).gather(1, at).squeeze(1)
        found.append(torch.where(best.squeeze(1) > sign * at_middle, chord, own))
    return found[0].nan_to_num(), found[1].nan_to_num()
