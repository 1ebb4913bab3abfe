"""Critical radii far beyond the sizes that were searched, held against a polar grid."""

import numpy as np
import pytest
import torch

import audit

SIZES = [0.03, 0.1, 0.3]
ANGLES = np.linspace(0, 2 * np.pi, 361)[:-1]
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
RADII = np.linspace(0.02, 12, 600)


class Net(torch.nn.Module):
    """Two features to the location and the log scale of a normal law."""

    def __init__(self, *weights):
        super().__init__()
        self.a, self.b, self.c = (
            torch.nn.Parameter(torch.tensor(each)) for each in weights
        )

    def forward(self, x):
        return torch.tanh(x @ self.a + self.b) @ self.c


def on_a_grid(weights, x):
    """Return the least of 600 radii at which KL reaches 1 in one of 360 directions."""
    a, b, c = weights
    here = np.tanh(x @ a + b) @ c
    there = np.tanh((x + RADII[:, None, None] * CIRCLE) @ a + b) @ c
    far, more = there[..., 0] - here[0], there[..., 1] - here[1]
    kl = more + (np.exp(2 * here[1]) + far**2) / (2 * np.exp(2 * there[..., 1])) - 0.5
    reached = kl.max(axis=1) >= 1
    return RADII[reached.argmax()] if reached.any() else np.inf


def scanned(seed, **settings):
    """Return the critical radii of KL at 12 inputs, and those of the grid."""
    rng = np.random.default_rng(seed)
    weights = (
        rng.normal(size=(2, 8)),
        0.5 * rng.normal(size=8),
        rng.normal(size=(8, 2)) * [0.25, 0.1],
    )
    x = rng.normal(size=(12, 2))
    report = audit.scan(
        Net(*weights),
        x,
        family="normal",
        parameters={"loc": "output[:, :1]", "scale": "exp(output[:, 1:2])"},
        verify=12,
        dtype="float64",
        **settings,
    )
    grid = np.array([on_a_grid(weights, one) for one in x])
    return report.rows["kl.critical_radius"], grid


@pytest.mark.parametrize("seed", [4, 8])
def test_small_sizes_do_not_hide_a_radius_far_beyond_them(seed):
    """Radii were up to nine times as large as the grid's, 12.0 where that has 1.28.

    Their search went from witnesses at .3 to the radius along v in one step.
    """
    found, grid = scanned(seed, divergences=["kl"], sizes=SIZES)
    step = RADII[1] - RADII[0]
    assert np.isfinite(grid).all()
    assert (found <= 1.02 * grid).all()
    # a grid of a degree and of .02 misses little of a network this smooth
    assert (found >= 0.99 * (grid - step)).all()


@pytest.mark.parametrize("seed", [pytest.param(5, marks=pytest.mark.slow), 7])
def test_another_hill_that_is_nearer_is_found(seed):
    """Of 16 starts the two best after one step were followed, one of them to its end.

    Radii were up to 1.2 times the grid's, and one was infinite where that has 6.18.
    """
    found, grid = scanned(seed, divergences=["kl"])
    seen = np.isfinite(grid)
    assert (found[seen] <= 1.02 * grid[seen]).all()
    assert (found[seen] >= 0.99 * (grid[seen] - (RADII[1] - RADII[0]))).all()


@pytest.mark.parametrize("seed", [1, 8, 9])
def test_a_second_divergence_is_searched_where_no_ray_reaches_tau(seed):
    """No ray reached it, and the radius was infinite where the grid's is 1.84.

    Later one ascent, from the best place on a ray, left it up to 2.2 times too large.
    """
    found, grid = scanned(seed, divergences=["hellinger", "kl"])
    seen = np.isfinite(grid)
    assert (found[seen] <= 1.02 * grid[seen]).all()
