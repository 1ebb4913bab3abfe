"""The leading direction of a square alone, beside LAPACK's and closed forms."""

import numpy as np
import pytest
import torch

from audit.linalg import exact
from audit.linalg.exact import leading_direction

RNG = np.random.default_rng(5)


def turned(values):
    """Return Q diag(values) Qᵀ and the first column of a random rotation Q."""
    p = len(values)
    q, _ = np.linalg.qr(RNG.standard_normal((p, p)))
    square = (q * np.asarray(values)) @ q.T
    return (square + square.T) / 2, q[:, 0]


def found(square, start=None):
    squares = torch.from_numpy(np.ascontiguousarray(square))[None]
    given = torch.zeros(1, len(square), dtype=torch.float64)
    if start is not None:
        given[0] = torch.from_numpy(start)
    return leading_direction(squares, given)[0].numpy()


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
@pytest.mark.parametrize("gap", [0.5, 1e-3, 1e-6])
@pytest.mark.parametrize("p", [2, 7, 32])
def test_it_is_the_first_column_of_the_rotation(p, gap, scale):
    values = np.r_[1.0, (1 - gap) * np.sort(RNG.uniform(0, 1, p - 1))[::-1]]
    values[1] = 1 - gap
    square, v = turned(values)
    own = found(scale * square)
    assert abs(np.linalg.norm(own) - 1) < 1e-14
    assert 1 - abs(own @ v) < 1e-12
    apart = np.linalg.norm(own - np.sign(own @ v) * v)
    assert apart < 100 * p * 2.0**-52 / gap


def test_a_start_at_right_angles_finds_it_too():
    square, v = turned([3.0, 2.0, 1.0, 0.5])
    start = RNG.standard_normal(4)
    start -= (start @ v) * v
    assert abs(found(square, start) @ v) > 1 - 1e-12


def test_of_two_equal_eigenvalues_it_is_a_vector_of_their_plane():
    square, _ = turned([2.0, 2.0, 1.0, 0.0])
    own = found(square)
    assert np.linalg.norm(square @ own - 2 * own) < 1e-13


def test_a_shift_that_is_an_eigenvalue_is_no_matter(monkeypatch):
    monkeypatch.setattr(exact, "_APART", 0.0)
    own = found(np.diag([1.0, 4.0, 2.0]))
    assert np.abs(own).tolist() == [0.0, 1.0, 0.0]


def test_neighbours_that_are_not_finite_or_zero_have_no_direction():
    square, v = turned([3.0, 2.0, 1.0])
    broken, endless = np.full((3, 3), np.nan), np.full((3, 3), np.inf)
    whole = np.stack([square, broken, np.zeros((3, 3)), endless, square])
    own = leading_direction(
        torch.from_numpy(whole), torch.zeros(5, 3, dtype=torch.float64)
    )
    assert (own[1:4] == 0).all()
    for row in (0, 4):
        assert abs(own[row].numpy() @ v) > 1 - 1e-12


def test_one_feature_is_its_own_direction():
    assert abs(found(np.array([[2.5]]))[0]) == 1.0
