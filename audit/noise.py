"""Randomness keyed by (seed, input index).

Which numbers an input sees must not depend on the batch it is in, the worker or the
engine. So each input has its own counter-based generator, Philox with the key (seed,
index).

Reference:
    Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC11 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """The randomness of some inputs.

    Args:
        seed: of the scan.
        index: the inputs' own indices [N].
        draws: S, how many draws each input gets.
    """

    seed: int
    index: NDArray[np.int64]
    draws: int

    def generator(self, row: int, stream: int) -> np.random.Generator:
        """Return the generator of one input; streams do not overlap."""
        key = np.array([self.seed % 2**64, self.index[row]], dtype=np.uint64)
        counter = np.array([0, 0, 0, stream], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    def uniforms(self, count: int, stream: int = 0) -> Tensor:
        """Return open-interval uniforms [S, N, count] in float64."""
        rows = [
            self.generator(row, stream).random((self.draws, count))
            for row in range(len(self.index))
        ]
        values = torch.from_numpy(np.stack(rows, axis=1))
        return values.clamp(2.0**-60, 1 - 2.0**-53)
