"""Median deviations against scipy's, whatever fits in memory."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from audit.ground.errors import ConfigError
from audit.inputs import deviations, open_inputs


def opened(tmp_path, x):
    np.savez(tmp_path / "d.npz", x=x)
    return open_inputs(str(tmp_path / "d.npz"), {"x": None})


@pytest.mark.parametrize("memory", [2**27, 8 * 5000 * 2, 1])
def test_they_are_those_of_scipy(tmp_path, monkeypatch, memory):
    monkeypatch.setattr(deviations, "MEMORY", memory)
    x = np.random.default_rng(0).standard_t(3, size=(5000, 2, 3)) * [1, 5, 0.01]
    x[17, 1, 2] = np.nan
    x[:, 0, 0] = 4.0
    found = opened(tmp_path, x).median_deviations("x")
    kept = np.delete(x, 17, axis=0)
    exact = median_abs_deviation(kept, axis=0, scale="normal")
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    assert found[0, 0] == 0


def test_one_finite_row_has_none(tmp_path):
    x = np.array([[1.0, 2.0], [np.inf, 1.0]])
    with pytest.raises(ConfigError, match="--units mad was given with 1 finite rows"):
        opened(tmp_path, x).median_deviations("x")
