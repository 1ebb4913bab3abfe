"""Random search for witnesses, where no gradient exists.

Each candidate proposes one move and takes it where D does not fall: an evolution
strategy with one parent and one child. The size σ of its moves follows the success
rule: up by a = 3/2 after a gain, down by a^(−1/4) after none, at rest where one move in
five gains. Moves of D that leave it as it is are taken, so that a model that goes in
steps is crossed on its plateaus, and count as no gain.

    p = 2, 1    a normal move of length about σ ε
    p = ∞       each feature, with probability σ, jumps to one of the sides: D's maximum
                over a cube is often at a corner

Moves are keyed by the input: neither its neighbours nor the batch change them.

References:
    Rechenberg, Evolutionsstrategie (1973), for the rule of one fifth.
    Andriushchenko et al., Square attack (2020), for jumps between sides of the cube.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.ground import stages
from audit.verify.climbing import Summits
from audit.verify.exact import Exact
from audit.verify.feasible import Feasible
from audit.verify.strides import gains, lowered

_STREAM = 13  # of the noise
_UP = 1.5
_DOWN = _UP**-0.25
_SIGMA, _LEAST, _MOST = 0.5, 1e-3, 2.0  # of moves, at first and at all


@dataclass
class Wanderer:
    """Random search at a site; every call goes on with new numbers."""

    exact: Exact

    def __post_init__(self) -> None:
        site = self.exact.site
        count = range(len(site.x))
        self._generators = [site.noise.generator(row, _STREAM) for row in count]

    def __call__(
        self, rows: Tensor, within: Feasible, u: Tensor, steps: int
    ) -> Summits:
        """Return the best points that were met.

        Args:
            rows: each candidate's input [C], every input in one run of equal length.
            within: their sets.
            u: where they start [C, m].
            steps: moves of each.
        """
        best, first = u.clone(), self._value(rows, u)
        value, sigma = first.clone(), torch.full_like(first, _SIGMA)
        for _ in range(steps):
            stages.step(1 / steps)
            moved = within.nearest(self._moved(rows, within, best, sigma))
            found = self._value(rows, moved)
            gained, kept = gains(found, value), found >= value
            best = torch.where(kept.unsqueeze(1), moved, best)
            value = torch.where(kept, found, value)
            sigma = (sigma * torch.where(gained, _UP, _DOWN)).clamp(_LEAST, _MOST)
        return Summits(best, value, first, value == torch.inf)

    def _value(self, rows: Tensor, u: Tensor) -> Tensor:
        found, _ = self.exact(rows, u.unsqueeze(1))
        return lowered(found.squeeze(1))

    def _moved(
        self, rows: Tensor, within: Feasible, u: Tensor, sigma: Tensor
    ) -> Tensor:
        """Return proposals [C, m], not yet in the set."""
        m = u.shape[1]
        size, sigma = within.size.unsqueeze(1), sigma.unsqueeze(1)
        normal = self._drawn(rows, m, u)
        if within.ball.p != math.inf:
            typical = m**0.5 if within.ball.p == 2 else m
            return u + normal * sigma * size / typical
        side = torch.where(normal > 0, size, -size)
        # |z| of a normal number is below the quantile of σ with probability σ
        share = sigma.clamp(1 / m, 1.0)
        jumps = torch.erf(normal.abs() / math.sqrt(2)) <= share
        return torch.where(jumps, side, u)

    def _drawn(self, rows: Tensor, m: int, like: Tensor) -> Tensor:
        """Return normal numbers [C, m], the same for an input whatever the batch."""
        owners, counts = torch.unique_consecutive(rows, return_counts=True)
        pairs = zip(owners.tolist(), counts.tolist(), strict=True)
        parts = [
            self._generators[row].standard_normal((count, m)) for row, count in pairs
        ]
        return torch.from_numpy(np.concatenate(parts)).to(like)
