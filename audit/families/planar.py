"""The largest value of a function of two numbers over a polygon, proven.

A set P of the plane is known by support values h_k ≥ max w_k·v for directions w_k at
equal angles, 0 ∈ P. Lines k and k+1, w·v = h, meet at v_k; the closed polyline
Γ = v₁ v₂ … v_K has its edge (v_{k−1}, v_k) on line k.

**Γ winds once around every interior point of ∩{w_k·v ≤ h_k}.** For such a point η,
w_k·(v_k − η) > 0 and w_{k+1}·(v_k − η) > 0, so the angle at which v_k is seen from η
stays within a right angle of that of w_k. Both make a full turn together. No support
value has to be tight, and Γ need not be convex.

So a horizontal line through η meets Γ on either side of η. For a function that is
convex in the first coordinate at each value of the second, the value at η is at most
the larger of those at the two meetings: max_P ≤ max_Γ. On an edge where it is jointly
convex the maximum is at an end. On any other, it is convex in either coordinate, so at
most its largest corner value on the rectangle around the edge; edges are cut into
`PARTS` first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

PARTS = 16
Function = Callable[[Tensor, Tensor], Tensor]


def directions(count: int, like: Tensor) -> Tensor:
    """Return unit vectors at equal angles [K, 2]."""
    angle = torch.arange(count, dtype=like.dtype, device=like.device)
    angle = angle * (2 * math.pi / count)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def largest(function: Function, heights: Tensor, joint: float) -> Tensor:
    """Return an upper bound [...] on a function over a polygon that holds 0.

    Args:
        function: of two coordinates, convex in each.
        heights: h [..., K], for the directions of `directions(K)`.
        joint: it is jointly convex where |first coordinate| ≤ this.
    """
    w, h = directions(heights.shape[-1], heights), heights.clamp_min(0)
    after, next_w = h.roll(-1, -1), w.roll(-1, 0)
    sine = math.sin(2 * math.pi / len(w))
    first = (h * next_w[:, 1] - after * w[:, 1]) / sine
    second = (after * w[:, 0] - h * next_w[:, 0]) / sine
    start, other = first.roll(1, -1), second.roll(1, -1)
    at_end = function(first, second)
    value = torch.maximum(at_end, at_end.roll(1, -1))
    wide = ~(torch.maximum(first.abs(), start.abs()) <= joint)
    if bool(wide.any()):
        ends = (start[wide], first[wide], other[wide], second[wide])
        value[wide] = _on_edges(function, *ends)
    return value.amax(-1)


def _on_edges(function: Function, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Return the largest corner value around the parts of edges (a, c)-(b, d) [M]."""
    steps = torch.arange(PARTS + 1, dtype=a.dtype, device=a.device) / PARTS
    first = a[:, None] + (b - a)[:, None] * steps
    second = c[:, None] + (d - c)[:, None] * steps
    corners = [
        function(x, y)
        for x in (first[:, :-1], first[:, 1:])
        for y in (second[:, :-1], second[:, 1:])
    ]
    return torch.stack(corners).amax(0).amax(-1)
