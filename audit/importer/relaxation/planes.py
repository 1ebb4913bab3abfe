"""Affine upper bounds over balls, and what the passes of `bounds` compute with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.relaxation.ball import Ball
from audit.importer.relaxation.curves import Curve, Lines

_SLACK = 2.0**-49


@dataclass(frozen=True)
class Planes:
    """Affine upper bounds level + a·u on K functionals, over each of B balls.

    Shapes: slopes a [K, R, m], R = 1 or B; level [K, B].
    """

    slopes: Tensor
    level: Tensor
    ball: Ball

    def top(self, less: Tensor | None = None) -> Tensor:
        """Return upper bounds [K, B] on the functional, or on it less j·u.

        Args:
            less: j [K, R, m].
        """
        slopes = self.slopes if less is None else self.slopes - less
        found = self.level + self.ball.largest(slopes)
        return torch.where(found.isnan(), torch.inf, found)


def dot(a: Tensor, v: Tensor) -> Tensor:
    """Return a·v [K, B] for functionals a [K, R, *shape] and values v [R', *shape]."""
    flat, values = a.flatten(2), v.flatten(1)
    if len(values) == 1 or flat.shape[1] == 1:
        one = flat.shape[1] == 1
        return flat[:, 0] @ values.mT if one else flat @ values[0]
    found: Tensor = torch.linalg.vecdot(flat, values.unsqueeze(0))
    return found


def range_of(
    curve: Curve, low: Tensor, high: Tensor, lines: Lines
) -> tuple[Tensor, Tensor]:
    """Return an interval that holds the curve on [low, high]."""
    if curve.rising:
        least, most = curve.value(low), curve.value(high)
        slack = _SLACK * torch.maximum(least.abs(), most.abs())
    else:
        above = [lines.above * v + lines.above_level for v in (low, high)]
        below = [lines.below * v + lines.below_level for v in (low, high)]
        most, least = torch.maximum(*above), torch.minimum(*below)
        slope = torch.maximum(lines.above.abs(), lines.below.abs())
        level = torch.maximum(lines.above_level.abs(), lines.below_level.abs())
        slack = _SLACK * (slope * torch.maximum(low.abs(), high.abs()) + level)
    return least - slack, most + slack
