"""What can have escaped a search, beside how often it does."""

import numpy as np
import pytest
import torch

from audit.linalg.krylov_missed import Escape

SIDE, STEPS, SEARCHES = 60, 6, 4000


def searched(values, vectors, x, steps=STEPS):
    """Make Lanczos steps on diag(values) from vectors [n, s]; return what is known."""
    w = torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    k = torch.from_numpy(values)
    escape = Escape.of(torch.full((len(w),), x), torch.full((len(w),), float(len(k))))
    basis = []
    for _ in range(steps):
        basis.append(w)
        left = k * w
        along = (w * left).sum(dim=1)
        for _ in range(2):
            for one in basis:
                left = left - one * (one * left).sum(dim=1, keepdim=True)
        beside = left.norm(dim=1)
        escape = escape.stepped(along, beside, torch.ones(len(w), dtype=torch.bool))
        w = left / beside.unsqueeze(1)
    return escape


def drawn(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, SIDE))


@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_the_share_of_an_eigenvector_is_within_its_bound(decay):
    """Any vector: 1 / Σ p_i(μ)² bounds its mass at an eigenvalue above all Ritz values.

    The eigenvector has so little that no Ritz value shows it.
    """
    values = 1 / np.arange(1, SIDE + 1) ** decay
    values[0] = mu = 1.2
    vectors = drawn(200)
    vectors[:, 0] *= np.geomspace(1e-8, 1, 200)
    share = vectors[:, 0] ** 2 / (vectors**2).sum(axis=1)
    found = searched(values, vectors, mu)
    bound = 1 / found.total.numpy()
    above = found.above.numpy()
    assert above.sum() > 50
    assert (share[above] <= bound[above] * (1 + 1e-5)).all()


def test_random_vectors_have_so_little_as_rarely_as_is_said():
    """P(⟨w, q⟩² ≤ t) ≤ √(2 s t / π), and not much less for small t."""
    vectors = drawn(200_000, seed=3)
    share = np.sort(vectors[:, 0] ** 2 / (vectors**2).sum(axis=1))
    for t in (1e-6, 1e-5, 1e-4):
        often = np.searchsorted(share, t) / len(share)
        said = Escape.of(torch.ones(1), torch.tensor([float(SIDE)]))
        said = float(Escape(**{**vars(said), "total": torch.tensor([1 / t])}).chance)
        assert 0.7 * said - 3e-4 <= often <= said + 3e-4


def test_nothing_is_said_of_what_a_ritz_value_shows():
    values = 1 / np.arange(1, SIDE + 1)
    found = searched(values, drawn(50), 0.5)
    assert not found.above.any()
    assert (found.chance == 1).all()


def test_more_steps_leave_less_and_a_larger_distance_too():
    values = 1 / np.arange(2, SIDE + 2)
    few, many = (searched(values, drawn(50), 0.8, n).chance for n in (3, 5))
    near = searched(values, drawn(50), 0.6, 3).chance
    assert (many < few).all()
    assert (few < near).all()


def test_a_search_that_saw_all_leaves_nothing():
    escape = Escape.of(torch.ones(1), torch.tensor([9.0]))
    going = torch.ones(1, dtype=torch.bool)
    found = escape.stepped(torch.tensor([0.3]), torch.tensor([0.0]), going)
    assert found.chance == 0
    same = escape.stepped(torch.tensor([0.3]), torch.tensor([0.2]), ~going)
    assert same.total == escape.total
