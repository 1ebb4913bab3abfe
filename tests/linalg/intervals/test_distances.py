"""The Kolmogorov distance to the uniform law, and how often its interval holds."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from audit.linalg.intervals.distances import uniform_distance


@pytest.mark.parametrize("n", [1, 20, 400])
def test_the_distance_is_the_statistic_of_kolmogorov_and_smirnov(n):
    """With Massart's √(ln 40 / 2n) on each side, within [0, 1]."""
    for power in (0.5, 1.0, 3.0):
        values = np.random.default_rng(n).random(n) ** power
        exact = stats.kstest(values, "uniform").statistic
        found, (low, high) = uniform_distance(torch.from_numpy(values))
        assert found == pytest.approx(exact, rel=1e-12)
        reach = math.sqrt(math.log(40) / (2 * n))
        assert low == pytest.approx(max(0.0, exact - reach), abs=1e-12)
        assert high == pytest.approx(min(1.0, exact + reach), abs=1e-12)


def test_the_interval_holds_the_distance_of_the_law_in_nineteen_of_twenty_cases():
    """Of u² the distance to uniform is max √u − u = 1/4."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        _, (low, high) = uniform_distance(torch.from_numpy(rng.random(80) ** 2))
        held += low <= 0.25 <= high
    assert held >= 0.95 * 400
