"""Affine upper bounds over balls, and what the passes of `bounds` compute with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.relaxation.ball import Ball
from audit.importer.relaxation.tape import flattened


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
    flat, values = flattened(a, 2), flattened(v, 1)
    if values.shape[0] == 1 or flat.shape[1] == 1:
        one = flat.shape[1] == 1
        return flat[:, 0] @ values.mT if one else flat @ values[0]
    found: Tensor = torch.linalg.vecdot(flat, values.unsqueeze(0))
    return found
