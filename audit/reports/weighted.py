"""Quantiles of values that stand for different numbers of inputs."""

from __future__ import annotations

import numpy as np

from audit.reports.statistics import between
from audit.reports.values import Floats

_ROUNDING = 1e-9  # of a level: closer ones are one


def weighted_quantiles(values: Floats, weights: Floats, levels: list[float]) -> Floats:
    """Return quantiles [R, L] of ascending values [k], each row with its own weights.

    Value i lies at the level t_i = (C_i − w_i/2 − w_1/2) / (C_k − w_k/2 − w_1/2), C_i
    the weights up to it: i/(k − 1) where all weights are one. Between two values the
    quantile is linear. Values of weight zero take no part.

    Args:
        values: [k], without NaN.
        weights: [R, k], not all zero.
        levels: in [0, 1].
    """
    middle = np.cumsum(weights, axis=1) - weights / 2
    rows, present = np.arange(len(weights)), weights > 0
    so_far = np.maximum.accumulate(np.where(present, np.arange(values.size), 0), axis=1)
    start = middle[rows, present.argmax(axis=1)]
    span = middle[rows, so_far[:, -1]] - start
    found = np.empty((len(weights), len(levels)))
    for place, level in enumerate(levels):
        target, slack = start + level * span, _ROUNDING * span
        reached = present & (middle >= (target - slack)[:, None])
        above = reached.argmax(axis=1)
        hit = middle[rows, above] <= target + slack
        below = np.where(hit, above, so_far[rows, above - 1])
        width = np.where(hit, 1.0, middle[rows, above] - middle[rows, below])
        share = np.where(hit, 0.0, (target - middle[rows, below]) / width)
        found[:, place] = between(values[below], values[above], share)
    return found
