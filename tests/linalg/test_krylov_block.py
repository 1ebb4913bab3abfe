"""Blocks of five vectors, against scipy's dense eigenvalues."""

import numpy as np
import pytest
import scipy.linalg
import torch

from audit.linalg import krylov
from audit.linalg.krylov import SETTLED, decompose_krylov
from audit.linalg.krylov.space import Side, Space, orthonormal
from audit.linalg.stored import Matrix
from tests.linalg.test_krylov import EXACT, keyed, with_values

BLOCK, N, TOP = 5, 3, 4
SPECTRA = {
    "clusters": lambda m: (
        np.repeat([3.0, 2.0, 1.0, 0.1], -(-m // 4))[:m]
        * (1 + 1e-3 * np.sin(np.arange(m)))
    ),
    "repeated": lambda m: np.where(np.arange(m) < 7, 2.0, 1 / (1 + np.arange(m))),
    "two pairs": lambda m: 2.0 ** -(np.arange(m) // 2),
    "rank three": lambda m: np.where(np.arange(m) < 3, 3.0 - np.arange(m), 0.0),
    "wide range": lambda m: np.geomspace(1, 1e-12, m),
    "hardly falling": lambda m: np.linspace(1, 0.9, m),
}


@pytest.fixture(autouse=True)
def _blocks_of_five(monkeypatch):
    monkeypatch.setattr(krylov, "BLOCK", BLOCK)


def found_in(a):
    return decompose_krylov(Matrix(torch.from_numpy(a)), TOP, keyed(len(a)), EXACT)


@pytest.mark.parametrize("shape", [(160, 240), (240, 160), (30, 200), (7, 50), (3, 40)])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_leading_eigenvalues_are_those_of_the_dense_matrix(shape, spectrum):
    singular = np.sort(SPECTRA[spectrum](min(shape)))[::-1]
    a = with_values(singular, *shape)
    found = found_in(a)
    count = found.eigenvalues.shape[1]
    largest = singular[0] ** 2
    for row in range(N):
        exact = scipy.linalg.eigvalsh(a[row] @ a[row].T)[::-1][:count]
        np.testing.assert_allclose(
            found.eigenvalues[row], exact, rtol=1e-6, atol=1e-12 * largest
        )
    assert (found.residual <= SETTLED).all()
    apart = (found.trace.value - (singular**2).sum()).abs()
    assert (apart <= 4.5 * found.trace.standard_error + 1e-10 * largest).all()


@pytest.mark.parametrize("spectrum", ["two pairs", "wide range", "rank three"])
def test_directions_span_the_eigenspace_of_the_dense_matrix(spectrum):
    """Of the two leading values, behind which there is a gap."""
    a = with_values(SPECTRA[spectrum](160), 160, 240)
    found = found_in(a)
    for row in range(N):
        _, vectors = scipy.linalg.eigh(a[row].T @ a[row])
        along = vectors[:, -2:].T @ found.directions[row, :, :2].numpy()
        np.testing.assert_allclose(scipy.linalg.svdvals(along), 1, atol=1e-6)


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_space_of_blocks_is_that_of_powers(spectrum):
    """After j steps Q spans B, K B, …, K^{j-1} B, and T and what is left are K's."""
    a = with_values(SPECTRA[spectrum](60), 60, 90)
    k, side = a @ a.transpose(0, 2, 1), Side(Matrix(torch.from_numpy(a)))
    start = torch.from_numpy(np.random.default_rng(2).normal(size=(N, 60, BLOCK)))
    space = Space.empty(N, 60, start)
    block = orthonormal(start, torch.ones(N).double(), space.q)
    powers = [start.numpy()]
    for _ in range(3):
        space.widen(side, block)
        values, _ = space.pairs()
        block = orthonormal(space.left, values[:, 0], space.q)
        powers.append(k @ powers[-1])
    q, t = space.q.numpy(), space.t.numpy()
    for row in range(N):
        own = q[row][:, (q[row] != 0).any(axis=0)]
        np.testing.assert_allclose(own.T @ own, np.eye(own.shape[1]), atol=1e-12)
        np.testing.assert_allclose(q[row].T @ k[row] @ q[row], t[row], atol=1e-12)
        left = k[row] @ q[row] - q[row] @ t[row]
        np.testing.assert_allclose(left[:, :-BLOCK], 0, atol=1e-10)
        np.testing.assert_allclose(left[:, -BLOCK:], space.left[row], atol=1e-11)
        for power in powers[:-1]:
            beside = power[row] - own @ (own.T @ power[row])
            assert np.abs(beside).max() <= 1e-9 * np.abs(power[row]).max()


def test_an_orthonormal_basis_is_of_what_is_there():
    """Columns that depend on each other, or on the space, become zeros."""
    random = np.random.default_rng(3)
    before = np.linalg.qr(random.normal(size=(40, 6)))[0]
    beside = random.normal(size=(40, 3))
    beside -= before @ (before.T @ beside)
    w = beside @ random.normal(size=(3, BLOCK))  # rank three
    given = (torch.from_numpy(one[None]) for one in (w, before))
    columns, space = given
    found = orthonormal(columns, torch.ones(1).double(), space)[0].numpy()
    there = found[:, (found != 0).any(axis=0)]
    assert there.shape[1] == 3
    np.testing.assert_allclose(there.T @ there, np.eye(3), atol=1e-13)
    np.testing.assert_allclose(before.T @ there, 0, atol=1e-13)
    np.testing.assert_allclose(there @ (there.T @ w), w, atol=1e-11)


def test_an_input_has_the_same_bits_whatever_its_neighbours_need():
    slow = with_values(SPECTRA["hardly falling"](160), 160, 200)
    fast = with_values(SPECTRA["two pairs"](160), 160, 200, seed=7)
    fast[1:] = slow[1:]
    alone, among = found_in(np.concatenate([fast[:1]] * N)), found_in(fast)
    for name in ("eigenvalues", "directions", "residual"):
        one, other = getattr(alone, name)[0], getattr(among, name)[0]
        torch.testing.assert_close(one, other, rtol=0, atol=0)
