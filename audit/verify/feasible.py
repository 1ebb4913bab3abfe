"""The sets that a witness is looked for in: a norm's ball, cut by a valid range.

The nearest point of a ball to z is a function of one number θ ≥ 0, by the conditions of
Karush, Kuhn and Tucker; a box whose sides contain 0 only clips it, coordinate by
coordinate, since objective and constraint are sums over coordinates:

    p = 2     u = clip(s z)                        0 < s = 1 / (1 + θ) ≤ 1
    p = 1     u = clip(sign(z) max(|z| − θ, 0))
    p = ∞     u = clip(z), with ±ε as further sides of the box

‖u‖ is monotone in θ, so a bisection finds it. It ends on the side inside of the ball:
no point of ours is outside by more than rounding.

Steps follow g/‖g‖₂, sign(g), or, for p = 1, g/‖g‖_∞: where that is brought back to the
ball, the small coordinates vanish and the largest remain.

References:
    Duchi et al., Efficient projections onto the l1-ball (2008), for p = 1.
    Croce & Hein, Mind the box: l1-APGD (2021), section 3, for the ball with a box.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.attacks.balls import Ball

_HALVINGS = 60


@dataclass(frozen=True)
class Feasible:
    """‖u‖_p ≤ ε and lower ≤ u ≤ upper, for C candidates.

    Shapes: size ε [C]; lower, upper [C, m], which contain 0; both None: no box.
    """

    ball: Ball
    size: Tensor
    lower: Tensor | None = None
    upper: Tensor | None = None

    def take(self, places: Tensor) -> Feasible:
        """Return the sets of some candidates."""
        lower = None if self.lower is None else self.lower[places]
        upper = None if self.upper is None else self.upper[places]
        return Feasible(self.ball, self.size[places], lower, upper)

    def nearest(self, z: Tensor) -> Tensor:
        """Return the nearest point of each set to z [C, m]."""
        size = self.size.unsqueeze(1)
        if self.ball.p == math.inf:
            return self.clipped(torch.maximum(torch.minimum(z, size), -size))
        if self.ball.p == 2 and self.lower is None:
            norm = z.norm(dim=1, keepdim=True)
            return torch.where(norm > size, z * (size / norm.clamp_min(1e-300)), z)
        if self.ball.p == 2:
            return self._bisected(lambda s: self.clipped(s * z), torch.ones_like(size))
        top = z.abs().amax(dim=1, keepdim=True)

        def shrunk(share: Tensor) -> Tensor:
            less = (z.abs() - (1 - share) * top).clamp_min(0)
            return self.clipped(z.sign() * less)

        return self._bisected(shrunk, torch.ones_like(size))

    def clipped(self, u: Tensor) -> Tensor:
        """Return u [C, m] within the box."""
        if self.lower is None or self.upper is None:
            return u
        return torch.maximum(torch.minimum(u, self.upper), self.lower)

    def norms(self, u: Tensor) -> Tensor:
        """Return ‖u‖_p [C]."""
        return self.ball.norm(u)

    def outermost(self, v: Tensor) -> Tensor:
        """Return where a ray along v [C, m] leaves the ball, clipped by the box."""
        length = self.norms(v).clamp_min(1e-300)
        return self.clipped(v * (self.size / length).unsqueeze(1))

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the step [C, m] to take along a gradient [C, m]."""
        if self.ball.p != 1:
            return self.ball.steepest(gradient)
        largest = gradient.abs().amax(dim=1, keepdim=True).clamp_min(1e-300)
        return gradient / largest

    def _bisected(self, point: Callable[[Tensor], Tensor], top: Tensor) -> Tensor:
        """Return point(s) for the largest s [C, 1] in [0, 1] that is in the ball."""
        whole = point(top)
        outside = self.norms(whole) > self.size
        if not bool(outside.any()):
            return whole
        low, high = torch.zeros_like(top), top
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = (self.norms(point(middle)) <= self.size).unsqueeze(1)
            low = torch.where(inside, middle, low)
            high = torch.where(inside, high, middle)
        return torch.where(outside.unsqueeze(1), point(low), whole)
