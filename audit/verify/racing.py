"""Which of the climbs of one ball are worth another step.

Only the best of them counts in the end. With the best value D_k of k steps, a climb
that gained D_k − D_{k−w} in its last w steps, and has l left, comes about to

    D_k + (l / w) (D_k − D_{k−w})

if it goes on like that; near a top it gains less with every step. Where that is below
what another climb of the same input and size has by now, it rests: its place is kept,
and may go on in a later round. The leader never rests for that, but where there is a
goal, and anything below it is worth nothing, it rests where it would not come there.
That is asked after every w steps: kernels are compiled for each number of climbs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_STEPS = 4  # w: fewer may be the wrong way, down a hill and up the next


class Race:
    """The climbs of each input and size.

    Args:
        rows: each one's input [C], those of an input and a size in one run.
        size: of its ball [C].
        value: D where it starts [C].
        goal: the least of D that counts.
    """

    def __init__(
        self, rows: Tensor, size: Tensor, value: Tensor, goal: float = -math.inf
    ) -> None:
        apart = (rows.diff() != 0) | (size[1:] != size[:-1])
        self._ball = torch.nn.functional.pad(apart, (1, 0)).cumsum(dim=0)
        self._before, self._steps, self._goal = value.clone(), 0, goal

    def outpaced(self, value: Tensor, left: int) -> Tensor:
        """Tell who would not come as high as another one is by now [C].

        Args:
            value: each one's best after another step [C].
            left: how many steps there are.
        """
        self._steps += 1
        if self._steps % _STEPS:
            return torch.zeros_like(value, dtype=torch.bool)
        gained, self._before = value - self._before, value.clone()
        lead = torch.full_like(value, self._goal)
        lead = lead.scatter_reduce(0, self._ball, value, "amax")[self._ball]
        return value + gained * (left / _STEPS) < lead
