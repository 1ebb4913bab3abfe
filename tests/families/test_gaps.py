"""Quantile distances of mixtures with modes far apart: quantiles step over gaps."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from audit.families import build_family

LEVELS = (np.arange(200_000) + 0.5) / 200_000
LAWS = {  # weights, locations, scales
    "weights move": (
        ((0.3, 0.7), (-2, 2), (0.4, 0.5)),
        ((0.33, 0.67), (-2, 2), (0.4, 0.5)),
    ),
    "all moves": (
        ((0.2, 0.8), (-2.8, 1.8), (0.39, 0.13)),
        ((0.18, 0.82), (-2.9, 1.8), (0.38, 0.13)),
    ),
    "a bump within": (
        ((0.9, 0.1), (0, 0.3), (1.0, 0.02)),
        ((0.8, 0.2), (0, 0.35), (1.0, 0.02)),
    ),
    "three": (
        ((0.19, 0.01, 0.8), (-2.8, 2.2, 1.8), (0.39, 0.19, 0.13)),
        ((0.17, 0.02, 0.81), (-2.8, 2.3, 1.8), (0.39, 0.19, 0.13)),
    ),
}


def quantiles(weights, loc, scale):
    """Return the levels' quantiles, by bisection of the distribution function."""
    weights, loc, scale = map(np.asarray, (weights, loc, scale))
    low = np.full(len(LEVELS), (loc - 40 * scale).min())
    high = np.full(len(LEVELS), (loc + 40 * scale).max())
    for _ in range(60):
        middle = (low + high) / 2
        below = ndtr((middle[:, None] - loc) / scale) @ weights < LEVELS
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", LAWS)
def test_the_distance_is_the_mean_over_levels(name):
    laws = LAWS[name]
    expected = np.square(quantiles(*laws[0]) - quantiles(*laws[1])).mean()
    count = len(laws[0][0])
    shapes = {"probs": (count,), "loc": (count, 1), "scale": (count, 1)}
    family = build_family("mixture:normal", shapes)
    first, second = (
        family.pack(
            {
                "probs": torch.tensor([weights], dtype=torch.float64),
                "loc": torch.tensor([loc], dtype=torch.float64).unsqueeze(-1),
                "scale": torch.tensor([scale], dtype=torch.float64).unsqueeze(-1),
            }
        )
        for weights, loc, scale in laws
    )
    for one, other in ((first, second), (second, first)):
        found = family.transport_distance(one, other)
        assert found.item() == pytest.approx(expected, rel=1e-4)
