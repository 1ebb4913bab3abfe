"""Which inputs are checked: the most sensitive ones, and random others.

The most sensitive inputs with a finite number are all taken, half of those that are
checked; the others stand for the rest, each for as many as were left out between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.ground.storage.mapped import let_go
from audit.reports.sampling import Sample
from audit.reports.values import FEW, WINDOW


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
    if total > FEW:
        return _of_many(sensitivity, count, seed)
    finite = np.where(np.isfinite(sensitivity), sensitivity, -np.inf)
    worst = np.argsort(-finite, kind="stable")[: count // 2]
    rng = np.random.Generator(np.random.Philox(key=seed % 2**64))
    rest = np.delete(np.arange(total), worst)
    random = rng.permutation(rest)[: count - len(worst)]
    places = np.sort(np.concatenate([worst, random]))
    strata = np.isin(places, random).astype(np.intp)
    weights = np.where(strata == 1, len(rest) / max(1, len(random)), 1.0)
    return Sample(places, weights, strata)


def _of_many(sensitivity: NDArray[np.float64], count: int, seed: int) -> Sample:
    """Return the sample of very many inputs, in the memory of a window of them."""
    total = len(sensitivity)
    worst = _worst(sensitivity, count // 2)
    rng = np.random.Generator(np.random.Philox(key=seed % 2**64))
    left = total - len(worst)
    others = rng.choice(left, size=count - len(worst), replace=False, shuffle=False)
    # the r-th of the rest lies behind as many of the worst as are at most r + their own
    random = others + np.searchsorted(worst - np.arange(len(worst)), others, "right")
    places = np.concatenate([worst, random])
    strata = np.repeat([0, 1], [len(worst), len(random)])
    order = np.argsort(places)
    weights = np.where(strata == 1, left / max(1, len(random)), 1.0)
    return Sample(places[order], weights[order], strata[order].astype(np.intp))


def _worst(sensitivity: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Return the places of the most sensitive, ascending; of equals the first."""
    values, places = np.zeros(0), np.zeros(0, np.intp)
    for first in range(0, len(sensitivity), WINDOW):
        part = np.array(sensitivity[first : first + WINDOW])
        let_go(sensitivity)
        values = np.append(values, np.where(np.isfinite(part), part, -np.inf))
        places = np.append(places, np.arange(first, first + len(part)))
        best = np.argsort(-values, kind="stable")[:count]
        values, places = values[best], places[best]
    return np.sort(places)
