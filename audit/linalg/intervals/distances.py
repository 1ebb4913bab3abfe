"""The interval of a distance between distributions.

The distance sup |F_n − F| between the empirical distribution of n numbers and their own
is at most √(ln(2/0.05) / 2n) in 95 % of cases (Dvoretzky, Kiefer & Wolfowitz, with
Massart's constant), so the Kolmogorov distance of their law from any other is within
that of the distance measured (triangle inequality): an interval that always holds.

Source: Massart, Annals of Probability 18 (1990).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEVEL = 0.95


def uniform_distance(values: Tensor) -> tuple[float, tuple[float, float]]:
    """Return the Kolmogorov distance of numbers [n] in [0, 1] to the uniform law.

    Returns:
        sup |F_n(u) − u|, and the 95 % interval of sup |F(u) − u|.
    """
    n = len(values)
    ordered = values.double().sort().values
    ranks = torch.arange(1, n + 1, device=ordered.device).double()
    above = (ranks / n - ordered).max()
    below = (ordered - (ranks - 1) / n).max()
    distance = float(torch.maximum(above, below))
    reach = math.sqrt(math.log(2 / (1 - LEVEL)) / (2 * n))
    return distance, (max(0.0, distance - reach), min(1.0, distance + reach))
