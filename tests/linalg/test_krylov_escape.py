"""What can have escaped a search, beside how often it does."""

import numpy as np
import pytest
import torch

from audit.linalg.krylov.escape import Escape, lift

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
    shown = escape.stepped(torch.tensor([1.0]), torch.tensor([0.0]), going)
    assert shown.chance == 1
    same = escape.stepped(torch.tensor([0.3]), torch.tensor([0.2]), ~going)
    assert same.total == escape.total


def coupled(seed, settled):
    """Return K, a basis whose first columns are its eigenvectors, and the rest's T.

    One eigenvector of a large eigenvalue lies partly in the basis, and is not shown.
    """
    random = np.random.default_rng(seed)
    vectors = np.linalg.qr(random.normal(size=(20, 20)))[0]
    values = np.sort(random.uniform(0, 1, 20))[::-1]
    values[: settled + 1] += 0.5
    k = vectors * values @ vectors.T
    inside = vectors[:, settled + 1 :] @ random.normal(size=(20 - settled - 1, 4))
    inside += random.uniform(0, 2) * vectors[:, settled : settled + 1]
    q = np.linalg.qr(np.hstack([vectors[:, :settled], inside]))[0]
    return k, q


@pytest.mark.parametrize("settled", [0, 3])
def test_what_is_beside_a_space_has_an_eigenvalue_as_large_less_the_lift(settled):
    """By dense eigenvalues: of K, and of its part beside the space."""
    lower = told = 0
    for seed in range(300):
        k, q = coupled(seed, settled)
        theta, y = np.linalg.eigh(q[:, settled:].T @ k @ q[:, settled:])
        ritz = q[:, settled:] @ y
        left = np.linalg.norm(k @ ritz - ritz * theta, axis=0)
        missed = np.linalg.eigvalsh(k)[::-1][settled]
        if theta.max() > missed - 1e-6:
            continue
        beside = np.eye(20) - q @ q.T
        largest = np.linalg.eigvalsh(beside @ k @ beside)[-1]
        x = theta.max() + np.random.default_rng(seed).uniform() * (missed - theta.max())
        first = theta.max()
        row = (torch.from_numpy(one[None].copy()) for one in (theta[::-1], left[::-1]))
        values, lengths = row
        least = x - float(lift(torch.tensor([x]).double(), values, lengths / first))
        assert largest >= least - 1e-12
        lower += largest < x
        told += least > 0
    assert lower > 10
    assert told > 100


def test_pairs_that_have_settled_lift_nothing_and_others_without_end():
    values = torch.tensor([[3.0, 2.0, 1.0]])
    x = torch.tensor([2.0])
    none, some, there = (
        lift(x, values, torch.tensor([[0.0, one, other]]))
        for one, other in ((0.0, 0.0), (0.0, 0.1), (0.1, 0.0))
    )
    assert none == 0
    np.testing.assert_allclose(some, 0.3**2, rtol=1e-6)
    assert there == torch.inf
