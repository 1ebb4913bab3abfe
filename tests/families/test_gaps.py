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


def levels_of_grids(*laws):
    """Return E(T - T')² of two mixtures from the levels of both on one grid.

    Between the levels, taken together, both quantiles are straight lines.
    """
    low = min(np.subtract(loc, 9 * np.array(scale)).min() for _, loc, scale in laws)
    high = max(np.add(loc, 9 * np.array(scale)).max() for _, loc, scale in laws)
    x = np.linspace(low, high, 400_001)
    masses = [
        ndtr((x[:, None] - loc) / scale) @ weights for weights, loc, scale in laws
    ]
    u = np.sort(np.concatenate(masses))
    quantiles = []
    for mass in masses:
        rises = np.diff(np.maximum.accumulate(mass), prepend=-1) > 0
        quantiles.append(np.interp(u, mass[rises], x[rises]))
    gap = quantiles[0] - quantiles[1]
    squares = gap[1:] ** 2 + gap[1:] * gap[:-1] + gap[:-1] ** 2
    return float(np.diff(u) @ squares / 3)


def test_a_millionth_of_the_mass_that_steps_over_a_gap_is_seen():
    """A steep bulk falls into the tail of a flat one: 3.4e-4 off before."""
    loc, scale = (-2.4116, 2.48882, 2.23647), (0.40428, 0.2919, 0.17404)
    first = (0.28653617, 0.00183785, 0.71162598), loc, scale
    second = (0.28653688, 0.00183785, 0.71162527), loc, scale
    shapes = {"probs": (3,), "loc": (3, 1), "scale": (3, 1)}
    family = build_family("mixture:normal", shapes)
    one, other = (
        family.pack(
            {
                "probs": torch.tensor([weights], dtype=torch.float64),
                "loc": torch.tensor([loc], dtype=torch.float64).unsqueeze(-1),
                "scale": torch.tensor([scale], dtype=torch.float64).unsqueeze(-1),
            }
        )
        for weights, loc, scale in (first, second)
    )
    expected = levels_of_grids(first, second)
    found = family.transport_distance(one, other).item()
    assert found == pytest.approx(expected, rel=5e-6)
