"""Leading eigenpairs and traces from products, against numpy's dense ones."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from audit.ground.errors import ConfigError
from audit.linalg import krylov
from audit.linalg.decompose import decompose
from audit.linalg.krylov import SETTLED, decompose_krylov
from audit.linalg.matrix_free import MatrixFree
from audit.linalg.narrow import regrouped
from audit.linalg.operators import Diagonal, Product, rows_of
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix

EXACT = 2.0**-52
SHAPES = [(40, 300), (300, 40), (300, 500), (500, 300), (1, 400), (400, 1), (5, 4)]
N, TOP = 3, 3


def keyed(n, seed=0):
    """Return normal numbers that depend on the matrix's place alone."""

    def draw(size, columns, stream):
        rows = [
            np.random.default_rng([seed, i, stream]).standard_normal((columns, size))
            for i in range(n)
        ]
        return torch.from_numpy(np.stack(rows)).mT.contiguous()

    return draw


def with_values(singular, rows, columns, seed=1):
    """Return matrices [N, rows, columns] with these singular values."""
    random, m = np.random.default_rng(seed), min(rows, columns)
    assert len(singular) == m
    left, right = (
        np.linalg.qr(random.normal(size=(N, side, m)))[0] for side in (rows, columns)
    )
    return left * singular @ right.transpose(0, 2, 1)


SPECTRA = {
    "geometric": lambda m: 0.8 ** np.arange(m),
    "power": lambda m: 1 / (1 + np.arange(m)),
    "threefold": lambda m: np.where(np.arange(m) < 3, 2.0, 1 / (1 + np.arange(m))),
    "all equal": lambda m: np.ones(m),
    "rank one": lambda m: np.where(np.arange(m) < 1, 3.0, 0.0),
    "rank two": lambda m: np.where(np.arange(m) < 2, 3.0 - np.arange(m), 0.0),
    "huge": lambda m: 1e60 * 0.7 ** np.arange(m),
    "tiny": lambda m: 1e-60 * 0.7 ** np.arange(m),
}


def found_in(a, top=TOP, seed=0):
    matrix = Matrix(torch.from_numpy(a))
    return decompose_krylov(matrix, top, keyed(len(a), seed), EXACT)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_leading_eigenvalues_are_the_squares_of_the_singular_values(shape, spectrum):
    singular = SPECTRA[spectrum](min(shape))
    found = found_in(with_values(singular, *shape))
    count = found.eigenvalues.shape[1]
    assert count == min(3, *shape)
    expected = np.broadcast_to(singular[:count] ** 2, (N, count))
    np.testing.assert_allclose(
        found.eigenvalues, expected, rtol=1e-6, atol=1e-12 * singular[0] ** 2
    )
    np.testing.assert_array_equal(found.top.value, found.eigenvalues[:, 0])


@pytest.mark.sweep(2)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_residual_bounds_what_an_eigenpair_is_off_by(shape, spectrum):
    a = with_values(SPECTRA[spectrum](min(shape)), *shape)
    found = found_in(a)
    v = found.directions.numpy()
    values = found.eigenvalues.numpy()[:, : v.shape[2]]
    g = a.transpose(0, 2, 1) @ a
    off = np.linalg.norm(g @ v - v * values[:, None], axis=1) / values[:, :1]
    share = np.sqrt(values[:, :1] / np.where(values > 0, values, np.inf))
    bound = found.residual.numpy()[:, None] * share + 1e-10
    assert (off <= np.maximum(bound, 1e-10)).all()
    assert (found.residual <= SETTLED).all()
    lengths = np.linalg.norm(v, axis=1)
    np.testing.assert_allclose(lengths, values > 0, atol=1e-12)


def test_directions_are_those_of_the_dense_matrix():
    a = with_values(SPECTRA["power"](300), 300, 500)
    found = found_in(a)
    _, _, vectors = np.linalg.svd(a, full_matrices=False)
    along = np.abs(np.einsum("nkd,ndk->nk", vectors[:, :TOP], found.directions.numpy()))
    np.testing.assert_allclose(along, 1, atol=1e-7)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("shape", [(300, 500), (500, 300)])
@pytest.mark.parametrize("spectrum", ["power", "threefold", "all equal", "geometric"])
def test_a_trace_is_within_four_standard_errors_and_not_far_too_sure(shape, spectrum):
    singular = SPECTRA[spectrum](min(shape))
    a, exact = with_values(singular, *shape), (singular**2).sum()
    scores = []
    for seed in range(12):
        trace = found_in(a, seed=seed).trace
        scores += ((trace.value - exact) / trace.standard_error).tolist()
        assert (trace.interval[0] <= trace.value).all()
        assert (trace.value <= trace.interval[1]).all()
    assert np.abs(scores).max() <= 4.5
    assert np.std(scores) <= 1.6
    assert np.std(scores) >= 0.4


@pytest.mark.parametrize("shape", [(8, 300), (300, 8), (1, 400), (5, 4)])
def test_a_space_that_is_everything_leaves_no_error(shape):
    a = with_values(SPECTRA["power"](min(shape)), *shape)
    trace = found_in(a).trace
    assert (trace.standard_error == 0).all()
    assert all((end == trace.value).all() for end in trace.interval)
    np.testing.assert_allclose(trace.value, (a**2).sum(axis=(1, 2)), rtol=1e-12)


def test_zero_matrices_are_at_rest_and_leave_their_neighbours_alone():
    a = with_values(SPECTRA["power"](60), 60, 90)
    a[1] = 0
    found = found_in(a)
    assert found.at_rest.tolist() == [False, True, False]
    assert (found.eigenvalues[1] == 0).all()
    assert (found.directions[1] == 0).all()
    assert found.gap[1] == found.effective_rank[1] == found.rank[1] == 0


def test_an_input_gets_the_same_bits_whatever_its_neighbours_need():
    slow = with_values(1 / (1 + np.arange(200)) ** 0.1, 200, 260)
    fast = with_values(SPECTRA["geometric"](200), 200, 260, seed=7)
    fast[1:] = slow[1:]
    alone = found_in(np.concatenate([fast[:1]] * 3))
    beside = found_in(fast)
    for name in ("eigenvalues", "directions", "residual"):
        torch.testing.assert_close(
            getattr(alone, name)[0], getattr(beside, name)[0], rtol=0, atol=0
        )
    for one, other in (
        (alone.trace.value, beside.trace.value),
        (alone.trace.standard_error, beside.trace.standard_error),
    ):
        assert one[0] == other[0]


@dataclass
class Parted:
    """Matrices whose Aᵀ is another matrix's."""

    right: Matrix
    wrong: Matrix
    shape: tuple = field(default=(N, 50, 80))

    def matmat(self, vectors):
        return self.right.matmat(vectors)

    def rmatmat(self, vectors):
        return self.wrong.rmatmat(vectors)


def test_products_that_part_give_no_eigenvalue():
    random = torch.Generator().manual_seed(3)
    a, b = (torch.randn(N, 50, 80, generator=random).double() for _ in range(2))
    found = decompose_krylov(Parted(Matrix(a), Matrix(a + 1e-2 * b)), TOP, keyed(N))
    assert found.top.value.isnan().all()
    assert (found.residual > SETTLED).all()
    assert found.unsettled.all()


def test_a_product_that_is_no_number_leaves_none():
    a = with_values(SPECTRA["power"](60), 60, 90)
    a[1, 0, 0] = np.nan
    found = found_in(a)
    assert found.top.value.isnan().tolist() == [False, True, False]
    assert found.trace.value.isnan().tolist() == [False, True, False]
    assert found.unknown.tolist() == [False, True, False]


def test_what_takes_all_eigenvalues_is_left_open():
    found = found_in(with_values(SPECTRA["power"](60), 60, 90))
    assert found.partial
    assert found.rank.isnan().all()
    assert found.effective_rank.isnan().all()
    np.testing.assert_allclose(found.gap, 0.75, rtol=1e-6)


def test_the_gap_is_known_where_one_direction_is_asked_for():
    found = found_in(with_values(SPECTRA["power"](60), 60, 90), top=1)
    assert found.directions.shape == (N, 90, 1)
    np.testing.assert_allclose(found.gap, 0.75, rtol=1e-6)


def free(a):
    return MatrixFree(Matrix(torch.from_numpy(a)), keyed(len(a)))


def test_a_root_with_a_factor_that_is_not_stored_is_decomposed_by_products():
    random = np.random.default_rng(5)
    a, scale = with_values(SPECTRA["power"](60), 60, 90), random.uniform(1, 2, (N, 60))
    root = Product(Diagonal(torch.from_numpy(scale)), free(a))
    found = decompose(QuadraticForm(0.5, root), TOP, EXACT)
    singular = np.linalg.svd(scale[:, :, None] * a, compute_uv=False)
    np.testing.assert_allclose(found.eigenvalues, singular[:, :3] ** 2, rtol=1e-6)


@dataclass(frozen=True)
class Narrow(Matrix):
    """J = L J_h, which says so."""

    lefts: tuple
    hidden: torch.Tensor

    def factors(self):
        return self.lefts, Matrix(self.hidden)


@pytest.mark.parametrize("together", [1, N])
@pytest.mark.parametrize("rows", [70, 30])
def test_a_root_of_a_narrow_network_has_no_more_rows_than_its_narrow_place(
    rows, together
):
    random = torch.Generator().manual_seed(4)
    scale, left, hidden = (
        torch.randn(N, *shape, generator=random).double()
        for shape in ((rows,), (rows, 40), (40, 90))
    )
    jacobian = MatrixFree(Narrow(left @ hidden, left.split(together), hidden), keyed(N))
    root = regrouped(Product(Diagonal(scale), jacobian))
    assert root.shape == (N, min(rows, 40), 90)
    a = scale.unsqueeze(2) * (left @ hidden)
    made = root.outer.dense() @ root.inner.operator.dense()
    torch.testing.assert_close(made.mT @ made, a.mT @ a)
    found = decompose(QuadraticForm(0.5, Product(Diagonal(scale), jacobian)), TOP)
    singular = np.linalg.svd(a.numpy(), compute_uv=False)
    np.testing.assert_allclose(found.eigenvalues, singular[:, :3] ** 2, rtol=1e-6)


def test_some_of_the_matrices_may_be_taken_again_and_again():
    a = np.random.default_rng(6).normal(size=(4, 5, 7))
    rows = torch.tensor([2, 0, 2, 2, 3])
    taken = rows_of(free(a), rows)
    v = torch.from_numpy(np.random.default_rng(7).normal(size=(5, 7, 2)))
    u = torch.from_numpy(np.random.default_rng(8).normal(size=(5, 5, 2)))
    picked = torch.from_numpy(a)[rows]
    torch.testing.assert_close(taken.matmat(v), picked @ v)
    torch.testing.assert_close(taken.rmatmat(u), picked.mT @ u)
    torch.testing.assert_close(taken.draw(3, 2, 0), keyed(4)(3, 2, 0)[rows])
    assert rows_of(free(a), rows[:0]).matmat(v[:0]).shape == (0, 5, 2)


def test_rows_that_are_zero_are_found_without_the_entries():
    a = np.random.default_rng(9).normal(size=(2, 6, 7))
    a[0, 2] = a[1, 4] = 0
    moves = free(a).moves()
    np.testing.assert_array_equal(moves, np.abs(a).max(axis=2) > 0)


def test_nobody_gets_the_entries_of_a_matrix_that_is_not_stored():
    for ask in ("dense", "gram"):
        with pytest.raises(ConfigError, match="known by its products") as caught:
            getattr(free(np.ones((1, 2, 3))), ask)()
        assert "--method dense" in str(caught.value)


def test_a_basis_that_is_shrunk_again_and_again_finds_the_same():
    a = np.random.default_rng(11).normal(size=(N, 600, 700))
    singular = np.linalg.svd(a, compute_uv=False)
    found = found_in(a)
    assert (found.residual <= SETTLED).all()
    np.testing.assert_allclose(found.eigenvalues, singular[:, :3] ** 2, rtol=1e-6)
    apart = np.abs(found.trace.value - (a**2).sum(axis=(1, 2)))
    assert (apart <= 4.5 * found.trace.standard_error).all()


def test_too_few_products_leave_the_eigenvalues_open_and_the_trace_known(monkeypatch):
    monkeypatch.setattr(krylov, "MOST", 9)
    a = np.random.default_rng(12).normal(size=(N, 300, 400))
    found = found_in(a)
    assert found.eigenvalues.isnan().all()
    assert (found.directions == 0).all()
    assert found.unsettled.all()
    assert (found.residual > SETTLED).all()
    apart = np.abs(found.trace.value - (a**2).sum(axis=(1, 2)))
    assert (apart <= 4.5 * found.trace.standard_error).all()
