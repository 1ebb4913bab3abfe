"""The nearest point of a ball cut by a box, by the inequality that it alone meets."""

import math

import numpy as np
import pytest
import torch

from audit.attacks.balls import Ball
from audit.verify.feasible import Feasible

LOWER, UPPER = np.array([-0.3, -0.05, -2.0]), np.array([0.1, 0.4, 0.6])
SIZE = 0.5


def members(p, boxed, count=20_000):
    """Points of the set [count, 3]: of the box, drawn in as far as the ball asks."""
    rng = np.random.default_rng(0)
    low, high = (LOWER, UPPER) if boxed else (-SIZE, SIZE)
    points = rng.uniform(low, high, size=(count, 3))
    norms = np.linalg.norm(points, p, axis=1, keepdims=True)
    return points * np.minimum(1, SIZE / norms)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_no_point_of_the_set_is_on_the_far_side_of_the_nearest(p, boxed):
    """u is nearest to z in a convex set if (z − u)ᵀ(w − u) ≤ 0 at each of its w."""
    z = torch.from_numpy(np.random.default_rng(1).normal(size=(40, 3)))
    z[0] = 0.01  # within the set
    box = [torch.from_numpy(b).expand(40, 3) for b in (LOWER, UPPER)] if boxed else []
    found = Feasible(Ball(p), torch.full((40,), SIZE).double(), *box).nearest(z)
    u, w = found.numpy(), members(p, boxed)
    assert (np.linalg.norm(u, p, axis=1) <= SIZE + 1e-12).all()
    if boxed:
        assert ((u >= LOWER - 1e-12) & (u <= UPPER + 1e-12)).all()
    np.testing.assert_allclose(u[0], 0.01, atol=1e-15)
    ahead = (z.numpy() - u) @ w.T - ((z.numpy() - u) * u).sum(axis=1)[:, None]
    assert ahead.max() <= 1e-9


def test_a_ball_is_round_where_nothing_else_is_said():
    assert Ball().p == 2


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_step_of_an_l1_ball_has_the_gradients_direction_and_no_length_of_it(p, unit):
    """Its largest coordinate is one; in other balls it is on the sphere of size one."""
    g = unit * torch.tensor([[3.0, -4.0, 0.5], [0.0, 0.0, -2.0]], dtype=torch.float64)
    found = Feasible(Ball(p), torch.ones(2).double()).steepest(g)
    norm = math.inf if p == 1 else p
    assert torch.linalg.vector_norm(found, norm, dim=1).tolist() == pytest.approx(
        [1, 1]
    )
    if p < math.inf:
        cosine = torch.nn.functional.cosine_similarity(found, g)
        assert cosine.tolist() == pytest.approx([1, 1])
    assert ((found * g) >= 0).all()
