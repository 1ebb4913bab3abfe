"""Which inputs are checked: the most sensitive ones, and random others.

The most sensitive inputs with a finite number are all taken, half of those that are
checked; the others stand for the rest, each for as many as were left out between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.reports.sampling import Sample

CHECKED = 64


def draw_sample(sensitivity: NDArray[np.float64], count: int, seed: int) -> Sample:
    """Return which of N inputs are checked, and what each stands for.

    Args:
        sensitivity: of each input [N]; infinite ones are not among the worst, since
            nothing is predicted for them.
        count: how many are checked; all if there are no more.
        seed: of the random ones.
    """
    total = len(sensitivity)
    if count >= total:
        everything = np.arange(total)
        return Sample(everything, np.ones(total), np.zeros(total, np.intp))
    finite = np.where(np.isfinite(sensitivity), sensitivity, -np.inf)
    worst = np.argsort(-finite, kind="stable")[: count // 2]
    rng = np.random.Generator(np.random.Philox(key=seed % 2**64))
    rest = np.setdiff1d(np.arange(total), worst)
    random = rng.permutation(rest)[: count - len(worst)]
    places = np.sort(np.concatenate([worst, random]))
    strata = np.isin(places, random).astype(np.intp)
    weights = np.where(strata == 1, len(rest) / max(1, len(random)), 1.0)
    return Sample(places, weights, strata)
