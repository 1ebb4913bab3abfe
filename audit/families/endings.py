"""Fisher information that grows towards the end of a support, beyond the last node.

Where the end of a support moves with x and q ~ z^(a−1) at a distance z from it, the
score is about (a − 1)/z, and an octave of z adds to

    E‖s‖²   ∝ z^(a−2),        the probability   ∝ z^a.

For a ≤ 2 octaves add ever more, and there is no Fisher information: what a grid sums is
as large as its last node is near. For a > 2 octaves shrink by r = 2^(2−a), and beyond
an octave that adds f there is f r / (1 − r).

Nodes are sorted by ‖s‖², an octave of z being a factor of four. The last one holds what
a grid makes of all that is nearer; the three before it are whole. From these r and f
are known, where it looks like an end: octaves of falling probability, which are rare. A
law whose scores are as large somewhere inside has most of them there, and the octaves
before have next to none.
"""

from __future__ import annotations

import torch
from torch import Tensor

_OCTAVES, _LOWEST = 512, -256  # of ‖s‖², by factors of four
_RARE = 1e-2  # of the probability: what these octaves may hold
_LEAST = 1e-3  # of tr F: an octave that matters


class Endings:
    """Probability and part of E‖s‖², octave by octave, as parts of nodes come in.

    Args:
        inputs: N.
    """

    def __init__(self, inputs: int) -> None:
        self.mass = torch.zeros(inputs, _OCTAVES, dtype=torch.float64)
        self.fisher = torch.zeros_like(self.mass)

    def add(self, sizes: Tensor, weights: Tensor) -> None:
        """Take in ‖s‖² and the weights of some nodes [K, N]."""
        sizes, weights = sizes.T.double().cpu(), weights.T.double().cpu()
        octave = (
            torch.frexp(sizes).exponent.to(torch.int64).div(2, rounding_mode="floor")
        )
        octave = (octave - _LOWEST).clamp(0, _OCTAVES - 1)
        self.mass.scatter_add_(1, octave, weights)
        self.fisher.scatter_add_(1, octave, weights * sizes)

    def missing(self) -> Tensor:
        """Return what lies beyond the last node, as a share of the sum [N].

        One where octaves do not shrink; 0 where nothing looks like an end.
        """
        there = self.mass > 0
        last = _OCTAVES - 1 - there.flip(1).to(torch.int8).argmax(dim=1)
        places = (last.unsqueeze(1) - torch.arange(4)).clamp_min(0)
        mass, fisher = (part.gather(1, places) for part in (self.mass, self.fisher))
        total = self.fisher.sum(1)
        falls = (mass[:, 1] < mass[:, 2]) & (mass[:, 2] < mass[:, 3])
        rare = mass.sum(1) < _RARE * self.mass.sum(1)
        end = falls & rare & (last >= 3) & (fisher[:, 1] > _LEAST * total)
        ratio = (fisher[:, 1] / fisher[:, 3]).sqrt()
        beyond = fisher[:, 1] * ratio / (1 - ratio) - fisher[:, 0]
        share = torch.where(ratio < 1, (beyond / total).clamp(0, 1), 1.0)
        return torch.where(end, share, 0.0)
