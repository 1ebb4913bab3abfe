"""The coarser rules that nodes carry within them, cell by cell.

In each cell a rule of 17 points along an axis holds one of 9 (`clenshaw_curtis`): of a
node of weight w the coarser one along axis a makes w (1 + r_a), with r_a = −1 at every
other place. So what the fine sum Σ w g changes by, cell by cell, costs no further g:

    g_{cell, a} = Σ_{k in the cell} w_k r_{a,k} g(θ_k).

Across a jump of g of size J somewhere between the points, h apart, of a trapezoid rule
the change from 2 h to h is J h / 2, wherever the jump is, and the error of h is at most
that; across a kink at x h from a point it is K h² x / 2 against K h² x (1 − x) / 2. A
change is thus an honest error where a function is not smooth, and a generous one where
it is. Jumps whose changes cancel within a cell are missed.

Shapes: Q nodes, N inputs, c axes, k = 17^c places in a cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.nodes.clenshaw_curtis import ORDER, weights


@dataclass(frozen=True)
class Nested:
    """Which cell of its input a node is in, and where.

    Args:
        order: cell × k + place in it [Q, N].
        axes: c.
        left_out: the share of the mass that was not worth nodes [N].
    """

    order: Tensor
    axes: int
    left_out: Tensor

    def take(self, inputs: Tensor, last: int) -> Nested:
        """Return those of some inputs, of as many of the first nodes."""
        return Nested(self.order[:last, inputs], self.axes, self.left_out[inputs])

    @property
    def cells(self) -> Tensor:
        """Which cell, one number for a cell of an input [Q, N]."""
        number = self.order // ORDER**self.axes
        most = int(number.max()) + 1
        inputs = torch.arange(number.shape[1], device=number.device)
        found: Tensor = number + most * inputs
        return found

    def changes(self) -> tuple[Tensor, ...]:
        """Return r along each axis, each [Q, N]."""
        full, *coarse = weights(self.axes)
        places = self.order % ORDER**self.axes
        return tuple((rule / full - 1)[places] for rule in coarse)
