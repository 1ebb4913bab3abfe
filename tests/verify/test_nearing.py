"""Radii by a climb on a shrinking sphere, against closed forms and a polar grid."""

import math

import numpy as np
import pytest
import torch
from scans import written

from audit.verify import nearing
from audit.verify.lowering import lowered_radius
from audit.verify.witness import ascend
from verify.sited import sited

WEIGHTS = np.array([[1.0, -2.0, 0.5, 3.0], [0.3, 1.0, -1.5, 2.0]])
NORMAL = {
    "family": "normal",
    "parameters": {"loc": "output[:, :1]", "scale": "exp(output[:, 1:2])"},
}
TAU = 0.7


def unit(rng, *shape):
    """Return directions of norm one [..., m]."""
    drawn = torch.from_numpy(rng.normal(size=shape))
    return drawn / drawn.norm(dim=-1, keepdim=True)


def test_on_a_linear_map_any_start_comes_to_the_nearest_ray(tmp_path):
    """KL is |W u|²/2: the least radius is √(2 τ / λ₁), along the first eigenvector."""
    weights = torch.from_numpy(WEIGHTS)
    x = np.random.default_rng(0).normal(size=(6, 4))
    model = {
        "family": "normal",
        "parameters": {"loc": "output", "scale": "exp(0*output)"},
    }
    config = written(tmp_path, lambda x: x @ weights.T, x, model, divergences=("kl",))
    exact, _, _ = sited(config)
    top, vectors = torch.linalg.eigh(weights.T @ weights)
    along = unit(np.random.default_rng(1), 6, 2, 4)
    first = math.sqrt(2 * TAU) / (along[:, 0] @ weights.T).norm(dim=1)
    rows, z, radius = nearing.neared(exact, torch.arange(6), along, first, TAU)
    assert set(rows.tolist()) == set(range(6))
    np.testing.assert_allclose(z.norm(dim=1), 1, rtol=1e-12)
    expected = math.sqrt(2 * TAU / float(top[-1]))
    np.testing.assert_allclose(radius, 1.01 * expected, rtol=1e-3)
    np.testing.assert_allclose((z @ vectors[:, -1]).abs(), 1, rtol=1e-3)


def test_a_curved_map_takes_few_gradients_and_comes_as_near_as_a_grid(
    tmp_path, monkeypatch
):
    """Witnesses of one size begin it, of two features to location and log scale."""
    rng = np.random.default_rng(3)
    a, b, c = (
        rng.normal(size=(2, 8)),
        0.5 * rng.normal(size=8),
        rng.normal(size=(8, 2)) * [0.5, 0.2],
    )
    x = rng.normal(size=(8, 2))
    ta, tb, tc = (torch.from_numpy(one) for one in (a, b, c))

    def net(x):
        return torch.tanh(x @ ta + tb) @ tc

    exact, local, _ = sited(written(tmp_path, net, x, NORMAL, divergences=("kl",)))
    known = ascend(exact, local, torch.tensor([0.1]).double())
    angles = np.linspace(0, 2 * np.pi, 181)[:-1]
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    here = np.tanh(x @ a + b) @ c
    size = np.linspace(0.04, 6, 150)[:, None, None, None]
    there = np.tanh((x + size * circle[:, None]) @ a + b) @ c
    step, more = (there - here)[..., 0], (there - here)[..., 1]
    kl = more + (np.exp(2 * here[:, 1]) + step**2) / (2 * np.exp(2 * there[..., 1]))
    reached = (kl - 0.5 >= TAU).any(axis=1)
    grid = np.where(reached.any(axis=0), size.ravel()[reached.argmax(axis=0)], np.inf)
    counted, climb = [], nearing.climb

    def watched(slope, *rest):
        def one(rows, z):
            counted.append(len(rows))
            return slope(rows, z)

        return climb(one, *rest)

    monkeypatch.setattr(nearing, "climb", watched)
    start = torch.from_numpy(np.where(np.isfinite(grid), 1.5 * grid, np.inf))
    radius, u = lowered_radius(exact, local, TAU, start, known=known)
    there = np.isfinite(grid)
    assert there.sum() >= 4
    assert bool((radius[there].numpy() <= grid[there] + 1e-9).all())
    assert bool((radius[there].numpy() >= grid[there] * 0.99 - 0.04).all())
    value, _ = exact(torch.from_numpy(there.nonzero()[0]), u[there].unsqueeze(1))
    np.testing.assert_allclose(value[:, 0], TAU, rtol=1e-5)
    assert 0 < len(counted) <= 3 * 13


def test_of_rays_of_one_input_the_nearest_counts():
    rows = torch.tensor([2, 0, 2, 0, 2])
    radius = torch.tensor([3.0, math.nan, 1.0, 5.0, 1.0]).double()
    assert nearing.nearest_of(rows, radius, 4).tolist() == [3, 2]


@pytest.mark.parametrize("value", [math.inf, math.nan, 0.0])
def test_a_value_that_is_no_level_moves_the_radius_by_one_step_at_most(value):
    def slope(rows, u):
        return torch.full((len(rows),), value).double(), torch.zeros_like(u)

    first = torch.ones(2).double()
    near = nearing._Nearness(slope, 1.0, first, first.clone())
    near(torch.tensor([0, 1]), torch.eye(2).double())
    assert bool(((near.radius >= math.exp(-0.36)) & (near.radius <= 2.02)).all())
