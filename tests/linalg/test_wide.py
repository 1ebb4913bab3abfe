"""Entries of float32: every product is that of the same numbers in float64."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from audit.linalg import wide
from audit.linalg.averaged import Sampled
from audit.linalg.operators import rows_of
from audit.linalg.sampled import decompose_sampled
from audit.linalg.stored import Matrix, Scaled

N, R, D = 7, 5, 9


@pytest.fixture(params=[1, 60, 2**17], ids=["one", "some", "all"])
def part(request, monkeypatch):
    """Copy one matrix at a time, or a few, or all."""
    monkeypatch.setattr(wide, "_NUMBERS", request.param)


def numbers(*shape):
    """Return numbers of float32, some of them large, and themselves in float64."""
    rng = np.random.default_rng(0)
    found = (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)).astype(
        "f"
    )
    return torch.from_numpy(found), found.astype(np.float64)


@pytest.mark.usefixtures("part")
def test_products_are_those_of_the_same_numbers_in_float64():
    entries, exact = numbers(N, R, D)
    v, u = (np.random.default_rng(1).standard_normal((N, k, 2)) for k in (D, R))
    matrix = Matrix(entries)
    for found, wanted in (
        (matrix.matmat(torch.from_numpy(v)), exact @ v),
        (matrix.rmatmat(torch.from_numpy(u)), exact.transpose(0, 2, 1) @ u),
        (matrix.gram(), exact @ exact.transpose(0, 2, 1)),
        (matrix.dense(), exact),
    ):
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-9)


@pytest.mark.usefixtures("part")
def test_vectors_may_be_the_same_for_all():
    entries, exact = numbers(N, R, D)
    v = np.random.default_rng(1).standard_normal((1, D, 1))
    found = Matrix(entries).matmat(torch.from_numpy(v))
    np.testing.assert_allclose(found, exact @ v, rtol=1e-13, atol=1e-9)


@pytest.mark.usefixtures("part")
@pytest.mark.parametrize("unit", [1, 3])
def test_a_spectrum_of_draws_is_that_of_their_square(unit):
    units, p = 8, 4
    entries, exact = numbers(N, units * unit, p)
    found = decompose_sampled(Sampled(entries, unit=unit), None, 2)
    square = exact.transpose(0, 2, 1) @ exact
    wanted = np.linalg.eigvalsh(square)[:, ::-1]
    largest = wanted[:, :1]
    np.testing.assert_allclose(
        found.eigenvalues / largest, wanted / largest, atol=1e-12
    )
    np.testing.assert_allclose(found.trace.value, wanted.sum(axis=1), rtol=1e-12)
    v = found.directions.numpy()
    moved = square @ v[:, :, :1] - largest[:, :, None] * v[:, :, :1]
    assert np.abs(moved / largest[:, :, None]).max() < 1e-12


@pytest.mark.parametrize("units", [24, 25])
def test_the_worst_case_of_one_half_is_measured_on_the_other(units):
    entries, exact = numbers(N, units, 3)
    found = decompose_sampled(Sampled(entries), None, 1)
    halves = [exact[:, 0::2], exact[:, 1::2]]
    worst = [np.linalg.svd(half)[2][:, 0] for half in halves]
    quotients = [
        ((half @ v[:, :, None])[:, :, 0] ** 2).mean(axis=1) * units
        for half, v in zip(halves, worst[::-1], strict=True)
    ]
    share = [half.shape[1] / units for half in halves]
    wanted = sum(s * q for s, q in zip(share, quotients, strict=True))
    np.testing.assert_allclose(found.top.value, wanted, rtol=1e-10)
    cosine = np.abs((worst[0] * worst[1]).sum(axis=1)).clip(max=1)
    np.testing.assert_allclose(np.cos(np.deg2rad(found.stability)), cosine, atol=1e-10)


@pytest.mark.parametrize("p", [1, 8, 9, 16, 17, 64, 65, 128, 129])
@pytest.mark.parametrize("rows", [0, 1, 40, 4001])
def test_squares_are_exact_sums_of_products(p, rows):
    """Small whole numbers, whose sums of products float64 has exactly."""
    whole = np.random.default_rng(p).integers(-99, 99, (3, 2 * rows, p))
    given = torch.from_numpy(whole.astype(np.float64))[:, ::2]
    found = wide.columns_gram(given)
    assert found.dtype == torch.float64
    kept = whole[:, ::2]
    assert (found.numpy() == np.einsum("nri,nrj->nij", kept, kept)).all()


def test_squares_that_are_differentiated_keep_their_graph():
    rows = torch.arange(6.0, dtype=torch.float64).reshape(1, 3, 2).requires_grad_()
    (slope,) = torch.autograd.grad(wide.columns_gram(rows).sum(), rows)
    assert torch.equal(slope, 2 * rows.sum(dim=2, keepdim=True).expand(1, 3, 2))


@pytest.mark.usefixtures("part")
@pytest.mark.parametrize("p", [2, 40])
def test_draws_are_measured_with_all_of_their_rows(p):
    """Two rows a draw, three draws a unit; tall, or with more columns than rows."""
    entries, exact = numbers(N, 24, p)
    drawn = Sampled(entries, draw=2, unit=3)
    assert drawn.is_tall == (p == 2)
    wanted = (exact**2).sum(axis=2).reshape(N, 12, 2).sum(axis=2)
    np.testing.assert_allclose(drawn.draw_squares, wanted, rtol=1e-13)


def test_what_is_not_finite_in_float32_stays_so():
    entries, _ = numbers(N, R, D)
    entries[2, 1, 3], entries[4, 0, 0] = torch.inf, torch.nan
    finite = torch.isfinite(Matrix(entries).gram().diagonal(dim1=1, dim2=2)).all(dim=1)
    assert finite.tolist() == [i not in (2, 4) for i in range(N)]


@pytest.mark.usefixtures("part")
def test_a_diagonal_that_float32_cannot_hold_is_multiplied_in_float64():
    entries, exact = numbers(N, R, D)
    scale = 10.0 ** np.random.default_rng(2).uniform(-60, 60, (N, R))
    whole, v = scale[:, :, None] * exact, np.ones((N, D, 1))
    matrix = Scaled(entries, torch.from_numpy(scale))
    largest = np.abs(whole).max(axis=2)
    gram = whole @ whole.transpose(0, 2, 1)
    bound = largest[:, :, None] * largest[:, None, :]
    assert (np.abs(matrix.gram().numpy() - gram) <= 1e-13 * bound).all()
    apart = np.abs(matrix.matmat(torch.from_numpy(v)).numpy() - whole @ v)
    assert (apart[:, :, 0] <= 1e-13 * largest).all()
    np.testing.assert_allclose(matrix.dense(), whole, rtol=1e-15)
    some = rows_of(matrix, torch.tensor([3, 3, 0]))
    np.testing.assert_allclose(some.dense(), whole[[3, 3, 0]], rtol=1e-15)
    assert matrix.finite().all()


@pytest.mark.usefixtures("part")
def test_the_sum_of_all_squares_is_that_of_the_weighted_rows_in_float64():
    """With weights that undo the diagonal: their product alone would overflow."""
    entries, exact = numbers(N, R, D)
    rng = np.random.default_rng(3)
    scale, weights = 10.0 ** rng.uniform(-160, 160, (N, R)), rng.uniform(1, 2, (N, R))
    entries[0, 0], exact[0, 0] = 0.0, 0.0
    scale[0, 0], weights[0, 0] = 1e200, 1e200
    weights[1:] /= scale[1:]
    scale[0, 1:] = 1.0
    rows = weights[:, :, None] * (scale[:, :, None] * exact)
    found = Scaled(entries, torch.from_numpy(scale)).total_square(
        torch.from_numpy(weights)
    )
    flat = rows.reshape(-1, D)
    bound = np.abs(flat).T @ np.abs(flat)
    assert (np.abs(found.numpy() - flat.T @ flat) <= 1e-14 * bound).all()
    plain = Matrix(entries).total_square(torch.ones(N, R, dtype=torch.float64))
    flat = exact.reshape(-1, D)
    bound = np.abs(flat).T @ np.abs(flat)
    assert (np.abs(plain.numpy() - flat.T @ flat) <= 1e-14 * bound).all()


def test_a_product_beyond_float64_is_not_finite():
    entries = torch.ones(4, 2, 3)
    entries[0, 1, 2], entries[1, 0, 1] = torch.nan, 1e30
    scale = torch.ones(4, 2, dtype=torch.float64)
    scale[1, 0], scale[2, 1] = 1e300, torch.inf
    assert Scaled(entries, scale).finite().tolist() == [False, False, False, True]


def test_a_diagonal_that_float32_has_no_number_for_keeps_its_products():
    """D A Aᵀ D, D A V and (D A)ᵀ U by exact rationals, for D from 1e-60 to 1e70."""
    entries = torch.tensor([[[0.5, -2.0, 3.0], [1.5, 0.25, -1.0]]])
    scale = torch.tensor([[1e-60, 1e70]], dtype=torch.float64)
    matrix = Scaled(entries, scale)
    whole = [
        [Fraction(s) * Fraction(a) for a in row]
        for s, row in zip(scale[0].tolist(), entries[0].tolist(), strict=True)
    ]
    pairs = [[list(zip(x, y, strict=True)) for y in whole] for x in whole]
    gram = [[float(sum(a * b for a, b in one)) for one in row] for row in pairs]
    ones = torch.ones(1, 3, 1, dtype=torch.float64)
    rows = [[float(sum(row))] for row in whole]
    columns = [[float(a + b)] for a, b in zip(*whole, strict=True)]
    for found, exact in (
        (matrix.gram(), gram),
        (matrix.matmat(ones), rows),
        (matrix.rmatmat(ones[:, :2]), columns),
    ):
        np.testing.assert_allclose(found[0].numpy(), exact, rtol=1e-15)


def test_entries_whose_sum_overflows_are_finite():
    entries = torch.full((2, 3, 4), 3e38)
    entries[1, 0, 0] = torch.nan
    assert Matrix(entries).finite().tolist() == [True, False]
    scale = torch.tensor([[1.0, 1.0, 1.0]] * 2, dtype=torch.float64)
    assert Scaled(entries, scale).finite().tolist() == [True, False]
    assert Scaled(entries[:1], 1e300 * scale[:1]).finite().tolist() == [False]


@pytest.mark.parametrize("rows", [1, 8, 9, 16, 17, 25, 64, 97, 128, 129, 150])
@pytest.mark.parametrize("columns", [255, 300, 4001])
def test_a_square_by_half_of_its_products_is_whole(rows, columns):
    entries, exact = numbers(2, rows, columns)
    found = Matrix(entries).gram().numpy()
    lengths = np.linalg.norm(exact, axis=2)
    bound = 1e-14 * lengths[:, :, None] * lengths[:, None, :]
    assert (abs(found - exact @ exact.transpose(0, 2, 1)) <= bound).all()
    scale = torch.full((2, rows), 2.0, dtype=torch.float64)
    assert (Scaled(entries, scale).gram().numpy() == 4 * found).all()
    spoiled = entries.clone()
    spoiled[0, rows - 1, 0] = torch.nan
    other = Matrix(spoiled).gram().numpy()
    assert np.isnan(other[0, -1]).all()
    assert np.isnan(other[0, :, -1]).all()
    assert (other[0, :-1, :-1] == found[0, :-1, :-1]).all()
    assert (other[1] == found[1]).all()


@pytest.mark.parametrize(
    ("columns", "units", "tall"),
    [(256, 514, True), (257, 516, False), (256, 512, False), (256, 515, True)],
)
def test_a_half_is_tall_that_has_more_rows_than_its_256_columns_at_most(
    columns, units, tall
):
    assert Sampled(torch.zeros(1, units, columns)).is_tall is tall
