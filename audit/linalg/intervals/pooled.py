"""Realised over predicted, pooled over inputs: noise takes no side.

Each input's ratio may be within its own error of one. But inputs are independent, and
an error has no sign: many ratios on one side are not noise. The signed logarithms
log(realised / predicted) are averaged, so that ½ and 2 cancel, and the spread between
inputs, both of what is true of each and of its noise, gives Student's interval.
Logarithms of positive estimates are nearly symmetric, and Student's t covers better
here than a correction for skewness, which a handful of inputs does not show.

E[log D̂] is log D − s²/2D² to second order, s the standard error of D̂: half the squared
relative error is added back.

Source: Lehmann, Elements of Large-Sample Theory (1999), section 2.5, for the bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.ground.student import student_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PooledRatio:
    """The geometric mean of realised over predicted.

    Args:
        n: inputs whose ratio is finite and above zero; the others are not in it.
        ratio: NaN where there is no such input.
        lower, upper: the ends of its 95 % interval; NaN for fewer than two inputs.
    """

    n: int
    ratio: float
    lower: float
    upper: float

    def apart(self, tolerance: float) -> bool:
        """Return whether the whole interval is farther from one than a tolerance."""
        return self.lower > 1 + tolerance or self.upper < 1 - tolerance


def pooled_ratio(realised: Floats, predicted: Floats, error: Floats) -> PooledRatio:
    """Return the pooled ratio of the inputs [n].

    Args:
        realised: exact degradations.
        predicted: by the local law.
        error: the standard errors of the realised ones, of what can part the two.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        logs = np.log(realised / predicted) + np.square(error / realised) / 2
    logs = logs[np.isfinite(logs)]
    n = len(logs)
    if n == 0:
        return PooledRatio(0, math.nan, math.nan, math.nan)
    middle, half = logs.mean(), math.nan
    if n > 1:
        half = student_quantile(n - 1) * logs.std(ddof=1) / math.sqrt(n)
    with np.errstate(over="ignore"):
        ratio, lower, upper = np.exp([middle, middle - half, middle + half]).tolist()
    return PooledRatio(n, ratio, lower, upper)
