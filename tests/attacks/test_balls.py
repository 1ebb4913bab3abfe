"""The worst of a ball is at one of its corners, and is found there."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from audit.attacks.balls import Ball, read_norm
from audit.attacks.worst import WorstCase
from audit.linalg.decompose import decompose
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix
from audit.measure.linear_law import LinearLaw

N, R = 4, 3
BALLS = [Ball(1.0), Ball(2.0), Ball(math.inf)]


def root(m, seed=0):
    return np.random.default_rng(seed).normal(size=(N, R, m))


def corners(p, m):
    """Return the points of a unit ball where a convex function may be largest."""
    if p == 1:
        return np.concatenate([np.eye(m), -np.eye(m)])
    return np.array(list(product((-1.0, 1.0), repeat=m)))


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: f"p={ball.p}")
def test_the_steepest_point_lies_on_the_ball_and_reaches_the_dual_norm(ball):
    g = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 7)))
    u = ball.steepest(g)
    np.testing.assert_allclose(ball.norm(u), 1.0, rtol=1e-14)
    np.testing.assert_allclose((g * u).sum(-1), ball.dual(g), rtol=1e-14)
    for other in np.random.default_rng(2).normal(size=(200, 7)):
        inside = torch.from_numpy(other) / ball.norm(torch.from_numpy(other))
        assert ((g @ inside) <= ball.dual(g) + 1e-12).all()


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: f"p={ball.p}")
def test_nothing_is_steepest_where_there_is_no_slope(ball):
    assert (ball.steepest(torch.zeros(3, 5)) == 0).all()


@pytest.mark.parametrize("p", [1.0, math.inf])
@pytest.mark.parametrize("m", [1, 5, 9])
def test_the_largest_form_is_at_a_corner(p, m):
    a = root(m)
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(a)))
    spectrum = decompose(form, min(3, m))
    found = WorstCase(0.3, Ball(p)).expected(form, spectrum).value
    at = corners(p, m) * 0.3
    wanted = 0.5 * np.square(np.einsum("nrm,km->nrk", a, at)).sum(1).max(1)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_sign_iteration_is_below_the_truth_and_no_worse_than_any_coordinate_flip():
    a = root(14, seed=3)
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(a)))
    u = Ball(math.inf).largest(form, decompose(form, 3)).numpy()
    assert set(np.unique(u)) == {-1.0, 1.0}
    truth = np.square(np.einsum("nrm,km->nrk", a, corners(math.inf, 14))).sum(1).max(1)
    found = np.square(np.einsum("nrm,nm->nr", a, u)).sum(1)
    assert (found <= truth * (1 + 1e-12)).all()
    assert (found >= 0.85 * truth).all()


def test_the_euclidean_ball_costs_the_top_eigenvalue():
    a = root(6)
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(a)))
    found = WorstCase(0.3).expected(form, decompose(form, 1)).value
    top = np.linalg.eigvalsh(a.transpose(0, 2, 1) @ a)[:, -1]
    np.testing.assert_allclose(found, 0.5 * 0.09 * top, rtol=1e-12)


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: f"p={ball.p}")
def test_a_linear_law_is_largest_where_its_signs_agree(ball):
    a = root(4, seed=5)
    law = LinearLaw(torch.from_numpy(a))
    u, slope = law.worst(ball)
    np.testing.assert_allclose(ball.norm(u), 1.0, rtol=1e-12)
    np.testing.assert_allclose(law(u.unsqueeze(-1))[:, 0], slope, rtol=1e-12)
    if ball.p == 2:
        signs = np.array(list(product((-1.0, 1.0), repeat=R)))
        wanted = np.linalg.norm(np.einsum("kr,nrm->nkm", signs, a), axis=2).max(1)
    else:
        at = corners(ball.p, 4)
        wanted = np.abs(np.einsum("nrm,km->nrk", a, at)).sum(1).max(1)
    np.testing.assert_allclose(slope, wanted, rtol=1e-12)
    attack = WorstCase(0.3, ball)
    np.testing.assert_allclose(law.expected(attack).value, 0.3 * wanted, rtol=1e-12)


def test_norms_are_read_by_their_names():
    assert [read_norm(text).p for text in ("2", "inf", "1")] == [2.0, math.inf, 1.0]


def flops(function):
    """Return the result of a function, and how many additions and products it took."""
    with FlopCounterMode(display=False) as counter:
        found = function()
    return found, counter.get_total_flops()


@pytest.mark.parametrize("m", [9, 10])
def test_up_to_ten_features_every_corner_is_tried(m):
    """Whatever the directions are that a search would start from."""
    a = np.random.default_rng(7).normal(size=(200, R, m))
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(a)))
    u = Ball(math.inf).largest(form, decompose(form, 1)).numpy()
    found = np.square(np.einsum("nrm,nm->nr", a, u)).sum(1)
    wanted = np.square(np.einsum("nrm,km->nrk", a, corners(math.inf, m))).sum(1).max(1)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("m", [11, 40])
def test_beyond_ten_features_the_cost_grows_with_them_and_not_with_the_corners(m):
    """Thirty steps at most, there and back, of each of three starts, and their form."""
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(root(m))))
    spectrum = decompose(form, 3)
    _, count = flops(lambda: Ball(math.inf).largest(form, spectrum))
    assert count <= (2 * 30 + 1) * 3 * (2 * N * R * m)


@pytest.mark.parametrize("m", [6, 10, 11, 14])
def test_a_feature_that_nothing_reads_is_pushed_up(m):
    """Of two signs that cost the same the positive one is taken, tried or searched."""
    a = root(m, seed=8)
    a[:, :, [2, m - 1]] = 0
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(a)))
    u = Ball(math.inf).largest(form, decompose(form, 3))
    assert (u[:, [2, m - 1]] == 1).all()


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: f"p={ball.p}")
@pytest.mark.parametrize("m", [4, 12])
def test_where_the_form_is_zero_no_corner_is_the_worst(ball, m):
    a = root(m)
    a[1] = 0
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(a)))
    u = ball.largest(form, decompose(form, 2))
    assert not u[1].any()
    np.testing.assert_allclose(ball.norm(u)[[0, 2, 3]], 1.0, rtol=1e-12)


@pytest.mark.parametrize("place", [0, 63, 64, 65, 128])
def test_the_longest_column_is_found_wherever_it_is_among_many(place):
    a = root(129)
    a[:, :, place] *= 100
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(a)))
    u = Ball(1.0).largest(form, decompose(form, 1))
    assert u.abs().argmax(dim=1).tolist() == [place] * N
