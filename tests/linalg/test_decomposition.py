"""Decompositions against numpy's eigh of the dense d×d matrix, and sampled ones."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from audit.linalg.averaged import Sampled
from audit.linalg.decompose import decompose
from audit.linalg.exact import decompose_exact, gram_eigenvalues
from audit.linalg.intervals.means import mean_interval
from audit.linalg.operators import CoordinateBlocks, Diagonal, Product
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.sampled import (
    compact_root,
    decompose_sampled,
    mean_of,
    mean_over_units,
    sum_of_squares,
)
from audit.linalg.stored import Matrix

sizes = st.integers(1, 7)
given_sizes = given(n=st.integers(1, 3), r=sizes, d=sizes, seed=st.integers(0, 999))
quick = settings(max_examples=40, deadline=None)
FLAT, DRAWS = 100, 20


def random_root(n, r, d, seed):
    return np.random.default_rng(seed).normal(size=(n, r, d))


def of(array, top):
    return decompose(QuadraticForm(1.0, Matrix(torch.from_numpy(array))), top)


def dense_eigh(a):
    values, vectors = np.linalg.eigh(a.transpose(0, 2, 1) @ a)
    return values[:, ::-1], vectors[:, :, ::-1]


@quick
@given_sizes
def test_eigenvalues_and_trace_are_those_of_the_dense_matrix(n, r, d, seed):
    a, m = random_root(n, r, d, seed), min(r, d)
    spectrum, (values, _) = of(a, m), dense_eigh(a)
    assert spectrum.eigenvalues.shape == (n, m)
    np.testing.assert_allclose(
        spectrum.eigenvalues, values[:, :m], rtol=1e-9, atol=1e-11 * values.max()
    )
    np.testing.assert_allclose(spectrum.trace.value, values.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(spectrum.top.value, values[:, 0], rtol=1e-12)
    assert spectrum.trace.standard_error is None
    assert spectrum.top.interval is None


@quick
@given_sizes
def test_directions_are_unit_eigenvectors_with_their_largest_entry_positive(
    n, r, d, seed
):
    a, m = random_root(n, r, d, seed), min(r, d)
    spectrum, g = of(a, m), a.transpose(0, 2, 1) @ a
    v, values = spectrum.directions.numpy(), spectrum.eigenvalues.numpy()
    scale = np.abs(g).max()
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(g @ v, v * values[:, None, :], atol=1e-7 * scale)
    peaks = np.take_along_axis(v, np.abs(v).argmax(axis=1)[:, None], axis=1)
    assert (peaks > 0).all()


@pytest.mark.parametrize(("r", "d"), [(3, 8), (8, 3)], ids=["wide", "tall"])
def test_the_leading_directions_span_what_numpy_finds(r, d):
    a = random_root(4, r, d, 5)
    found, (_, expected) = of(a, 2).directions.numpy(), dense_eigh(a)
    for ours, theirs in zip(found, expected, strict=True):
        assert subspace_angles(ours, theirs[:, :2]).max() < 1e-7


@pytest.mark.parametrize("r", [3, 9], ids=["wide", "tall"])
def test_equal_eigenvalues_have_no_gap_and_orthonormal_directions(r):
    u, _, vt = np.linalg.svd(random_root(1, r, 6, 0)[0], full_matrices=False)
    spectrum = of(2.0 * (u[:, :3] @ vt[:3])[None], 3)
    np.testing.assert_allclose(spectrum.eigenvalues[0, :3], 4.0, rtol=1e-12)
    assert spectrum.rank.tolist() == [3]
    assert spectrum.gap.item() < 1e-12
    assert spectrum.effective_rank.item() == pytest.approx(3.0, rel=1e-12)
    v = spectrum.directions[0].numpy()
    np.testing.assert_allclose(v.T @ v, np.eye(3), atol=1e-10)


@pytest.mark.parametrize(("r", "d"), [(2, 5), (5, 2), (1, 1)])
def test_a_zero_matrix_has_zeros_and_no_directions(r, d):
    spectrum = of(np.zeros((2, r, d)), 1)
    assert not spectrum.eigenvalues.any()
    assert not spectrum.directions.any()
    assert spectrum.trace.value.tolist() == [0.0, 0.0]
    assert spectrum.rank.tolist() == [0, 0]
    assert spectrum.at_rest.all()
    assert spectrum.gap.tolist() == spectrum.effective_rank.tolist() == [0.0, 0.0]


def test_one_row_is_its_own_direction_with_the_whole_gap():
    a = np.array([[[3.0, -4.0]]])
    spectrum = of(a, 1)
    assert spectrum.top.value.item() == pytest.approx(25.0, rel=1e-15)
    np.testing.assert_allclose(spectrum.directions[0, :, 0], [-0.6, 0.8], rtol=1e-15)
    assert spectrum.gap.tolist() == [1.0]


def test_eigenvalues_below_rounding_are_zero_and_their_directions_too():
    a = np.diag([1.0, 1e-3, 1e-9])[None]
    spectrum = of(a, 3)
    np.testing.assert_allclose(spectrum.eigenvalues[0], [1.0, 1e-6, 0.0], rtol=1e-9)
    assert spectrum.rank.tolist() == [2]
    assert not spectrum.directions[0, :, 2].any()


@pytest.mark.parametrize(("r", "d"), [(2, 5), (5, 2)], ids=["wide", "tall"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_leaves_its_neighbours_alone(r, d, bad):
    a = random_root(3, r, d, 1)
    clean = of(a, 2)
    a[1, 0, 0] = bad
    spectrum = of(a, 2)
    for found, expected in [
        (spectrum.eigenvalues, clean.eigenvalues),
        (spectrum.directions, clean.directions),
        (spectrum.trace.value, clean.trace.value),
        (spectrum.top.value, clean.top.value),
        (spectrum.gap, clean.gap),
        (spectrum.rank, clean.rank),
    ]:
        assert torch.equal(found[[0, 2]], expected[[0, 2]])
    expected = torch.tensor(bad)  # an overflow is infinite, no number is none
    assert torch.equal(spectrum.eigenvalues[1, 0].float(), expected) or np.isnan(bad)
    assert spectrum.eigenvalues[1, 1:].isnan().all()
    assert spectrum.infinite[1].item() == np.isinf(bad)
    assert spectrum.trace.value[1].isnan().item() == np.isnan(bad)
    assert spectrum.top.value[1].isnan().item() == np.isnan(bad)
    assert spectrum.rank[1].isnan()
    assert not spectrum.directions[1].any()


@given(n=st.integers(1, 3), p=st.integers(1, 4), d=sizes, seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_product_is_decomposed_as_its_dense_matrix(n, p, d, seed):
    rng = np.random.default_rng(seed)
    blocks, inner = rng.normal(size=(n, 2, p, p)), rng.normal(size=(n, 2 * p, d))
    outer = CoordinateBlocks(torch.from_numpy(blocks))
    root = Product(outer, Matrix(torch.from_numpy(inner)))
    spectrum = decompose_exact(root, 1)
    values, _ = dense_eigh(outer.dense().numpy() @ inner)
    np.testing.assert_allclose(spectrum.top.value, values[:, 0], rtol=1e-10)
    np.testing.assert_allclose(spectrum.trace.value, values.sum(axis=1), rtol=1e-10)


@given(s=st.integers(1, 12), p=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_compact_root_has_the_same_square_in_few_rows(s, p, seed):
    b = np.random.default_rng(seed).normal(size=(2, s, p))
    root = compact_root(torch.from_numpy(b))
    assert root.shape[1] == min(s, p)
    found = (root.entries.mT @ root.entries).numpy()
    np.testing.assert_allclose(found, b.transpose(0, 2, 1) @ b, atol=1e-10)


def test_draws_that_are_not_finite_leave_their_neighbours_alone():
    draws = random_root(3, 16, 4, 4) / 4
    inner = Matrix(torch.from_numpy(random_root(3, 4, 5, 5)))
    clean = decompose_sampled(Sampled(torch.from_numpy(draws)), inner, 1)
    draws[1, 3, 0] = np.nan
    spectrum = decompose_sampled(Sampled(torch.from_numpy(draws)), inner, 1)
    for field in ("trace", "top"):
        found, expected = getattr(spectrum, field), getattr(clean, field)
        assert torch.equal(found.value[[0, 2]], expected.value[[0, 2]])
        assert found.value[1].isnan()


def test_a_product_that_cancels_is_never_negative():
    rng = np.random.default_rng(8)
    n, p = 200, 4
    weights = rng.dirichlet(np.ones(p), n)
    projector = np.eye(p) - weights[:, None, :]
    outer = torch.from_numpy(np.sqrt(weights)[:, :, None] * projector)
    equal_rows = np.repeat(rng.normal(size=(n, 1, 6)), p, axis=1)
    inner = Matrix(torch.from_numpy(1e3 * equal_rows))
    for root in (Matrix(outer), Sampled(outer)):
        spectrum = decompose(QuadraticForm(1.0, Product(root, inner)), 1)
        for values in (spectrum.trace.value, spectrum.eigenvalues, spectrum.top.value):
            assert (values >= 0).all()
            assert (values < 1e-6).all()


def flat_draws(rng, repeats, draws=DRAWS, p=FLAT):
    scores = rng.standard_normal((repeats, draws, p))
    return Sampled(torch.from_numpy(scores / math.sqrt(draws)))


def identity(repeats, p=FLAT):
    return Diagonal(torch.ones(repeats, p, dtype=torch.float64))


def within_four_errors(samples, truth):
    error = samples.std(ddof=1) / math.sqrt(len(samples))
    return abs(samples.mean() - truth) < 4 * error


@pytest.mark.parametrize("draws", [4, 7, 100])
def test_the_sampled_trace_is_unbiased_and_its_interval_covers(draws):
    rng = np.random.default_rng(0)
    weights = np.linspace(0.5, 2.0, 6)
    inner = Diagonal(torch.from_numpy(np.tile(weights, (2000, 1))))
    spectrum = decompose_sampled(flat_draws(rng, 2000, draws, 6), inner, 1)
    values, errors = spectrum.trace.value.numpy(), spectrum.trace.standard_error.numpy()
    truth, variance = (weights**2).sum(), 2 * (weights**4).sum() / draws
    assert within_four_errors(values, truth)
    assert within_four_errors(errors**2, variance)
    lower, upper = (end.numpy() for end in spectrum.trace.interval)
    covered = ((lower <= truth) & (truth <= upper)).mean()
    assert 0.9 < covered < 0.98
    assert draws < 100 or covered > 0.93
    assert spectrum.units == draws


def test_the_naive_eigenvalue_is_ten_times_too_large_and_the_bracket_holds_it():
    rng = np.random.default_rng(1)
    spectrum = decompose_sampled(flat_draws(rng, 200), identity(200), 1)
    lower, upper = (side.numpy() for side in spectrum.top.interval)
    naive = spectrum.eigenvalues[:, 0].numpy()
    factor = (1 + math.sqrt(FLAT / DRAWS)) ** 2
    assert naive.mean() == pytest.approx(factor, rel=0.08)
    assert 9 < naive.mean() < 10.6
    assert (upper > naive).all()
    assert (lower < spectrum.top.value.numpy()).all()
    assert within_four_errors(spectrum.top.value.numpy(), 1.0)
    held = (lower <= 1.0) & (upper >= 1.0)
    assert held.mean() > 0.94
    assert (spectrum.stability.numpy() > 45).mean() > 0.9  # nothing to be found


@pytest.mark.parametrize("top", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("draws", [20, 320])
def test_the_bracket_holds_the_largest_eigenvalue_of_any_spectrum(top, draws):
    rng = np.random.default_rng(4)
    scale = torch.ones(400, 30, dtype=torch.float64)
    scale[:, 0] = math.sqrt(top)
    found = decompose_sampled(flat_draws(rng, 400, draws, 30), Diagonal(scale), 1)
    lower, upper = (side.numpy() for side in found.top.interval)
    assert ((lower <= top) & (upper >= top)).mean() > 0.94


def test_units_of_dependent_draws_are_kept_together():
    """Pairs of equal draws: half as many of them are known, and the error says so."""
    rng = np.random.default_rng(5)
    single = flat_draws(rng, 800, 60, 4).entries
    doubled = single.repeat_interleave(2, dim=1) / math.sqrt(2)
    inner = identity(800, 4)
    pairs = decompose_sampled(Sampled(doubled, unit=2), inner, 1)
    alone = decompose_sampled(Sampled(single), inner, 1)
    for name in ("value", "standard_error"):
        ours, theirs = getattr(pairs.trace, name), getattr(alone.trace, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
        ours, theirs = getattr(pairs.top, name), getattr(alone.top, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_a_mean_over_units_has_the_error_of_their_spread():
    rows = np.random.default_rng(6).exponential(size=(3, 24))
    found = mean_over_units(torch.from_numpy(rows), 4)
    units = rows.reshape(3, 6, 4).sum(axis=2)
    np.testing.assert_allclose(found.value, units.sum(axis=1), rtol=1e-12)
    error = math.sqrt(6) * units.std(axis=1, ddof=1)
    np.testing.assert_allclose(found.standard_error, error, rtol=1e-12)
    assert found.interval is None


def test_a_sum_of_squares_has_an_interval_about_the_same_sum():
    rows = np.random.default_rng(6).exponential(size=(3, 24))
    plain = mean_over_units(torch.from_numpy(rows), 4)
    found = sum_of_squares(torch.from_numpy(rows), 4)
    np.testing.assert_allclose(found.value, plain.value, rtol=1e-12)
    np.testing.assert_allclose(found.standard_error, plain.standard_error, rtol=1e-12)
    wanted = mean_interval(torch.from_numpy(6 * rows.reshape(3, 6, 4).sum(axis=2)))
    lower, upper = found.interval
    np.testing.assert_allclose(lower, wanted.lower.clamp_min(0), rtol=1e-12)
    np.testing.assert_allclose(upper, wanted.upper, rtol=1e-12)


@pytest.mark.parametrize("draws", [400, 25, 9])
def test_the_cross_fitted_eigenvalue_is_a_rayleigh_quotient_without_bias(draws):
    rng = np.random.default_rng(2)
    spectrum = decompose_sampled(flat_draws(rng, 1500, draws, 3), identity(1500, 3), 1)
    assert within_four_errors(spectrum.top.value.numpy(), 1.0)


def test_the_cross_fitted_eigenvalue_finds_a_dominant_direction():
    rng = np.random.default_rng(3)
    root = torch.tensor([3.0, 1.0, 1.0, 0.5]).double()
    inner = Diagonal(root.expand(300, -1))
    spectrum = decompose_sampled(flat_draws(rng, 300, 512, 4), inner, 1)
    values, errors = spectrum.top.value.numpy(), spectrum.top.standard_error.numpy()
    assert values.mean() == pytest.approx(9.0, rel=0.01)
    assert (np.abs(values - 9.0) < 4 * errors).all()
    assert spectrum.top.interval[1].mean() > values.mean()
    assert spectrum.stability.mean() < 3
    np.testing.assert_allclose(spectrum.directions[:, 0, 0], 1.0, atol=0.02)


def test_only_a_root_made_of_draws_is_decomposed_with_errors():
    draws, inner = torch.from_numpy(random_root(1, 8, 2, 0)), identity(1, 2)
    drawn = decompose(QuadraticForm(1.0, Product(Sampled(draws), inner)), 1)
    stored = decompose(QuadraticForm(1.0, Product(Matrix(draws), inner)), 1)
    assert drawn.top.interval is not None
    assert drawn.trace.standard_error is not None
    assert stored.top.interval is None
    np.testing.assert_allclose(drawn.trace.value, stored.trace.value, rtol=1e-12)


LIMIT = 2.0**-20  # of a singular value over the largest, in a root of four columns


@pytest.mark.parametrize(
    ("singular", "rank"),
    [(LIMIT, 1), (LIMIT * (1 - 1e-3), 1), (LIMIT * (1 + 1e-3), 2), (1.3 * LIMIT, 2)],
)
def test_zero_is_what_lies_at_the_limit_of_rounding_and_below_it(singular, rank):
    """σ ≤ 2.65 ε √m σ_max is rounding: here ε 2.65 √4 is a power of two, exactly."""
    rounding = LIMIT / 2 / 2.65
    assert 2.65 * rounding == LIMIT / 2
    a = torch.diag_embed(torch.tensor([[1.0, singular, 0.0, 0.0]]).double())
    for scale in (1.0, 2.0**-30, 2.0**30):
        assert decompose_exact(Matrix(scale * a), 2, rounding).rank.tolist() == [rank]


@pytest.mark.parametrize(
    ("rounding", "again"), [(2.0**-52, 1), (9e-9, 1), (1e-8, 0), (1.2e-8, 0), (1e-7, 0)]
)
def test_only_a_root_known_to_more_than_eight_digits_is_decomposed_again(
    rounding, again, monkeypatch
):
    """Squares keep half of float64's sixteen digits; an SVD costs more."""
    calls = []
    svd = torch.linalg.svd
    monkeypatch.setattr(
        torch.linalg, "svd", lambda *args, **kw: calls.append(1) or svd(*args, **kw)
    )
    a = torch.diag_embed(torch.tensor([[1.0, 1e-4, 1e-5]]).double())
    found = decompose_exact(Matrix(a), 3, rounding)
    assert len(calls) == again
    np.testing.assert_allclose(found.eigenvalues[0], [1.0, 1e-8, 1e-10], rtol=1e-5)


def test_a_compact_root_is_the_draws_themselves_where_they_are_no_more_than_columns():
    for rows in (2, 4):
        b = torch.from_numpy(random_root(2, rows, 4, 0))
        assert compact_root(b).entries is b
    assert compact_root(torch.from_numpy(random_root(2, 5, 4, 0))).shape == (2, 4, 4)


@pytest.mark.parametrize(("draw", "unit"), [(1, 1), (1, 4), (3, 2)])
def test_the_error_of_a_centre_is_that_of_a_mean_over_independent_units(draw, unit):
    """m is a mean of U units' m_u; its variance is Σ_u |Jᵀ(m_u − m)|² / (U (U − 1))."""
    rng = np.random.default_rng(9)
    n, units, p, d = 3, 6, 4, 5
    scores = rng.normal(size=(n, units, unit, p)) + 0.5
    jacobian = rng.normal(size=(n, p, d))
    parts = rng.dirichlet(np.ones(draw), size=(n, units, unit))  # rows of one draw
    center = scores.mean(axis=(1, 2))
    rows = parts[..., None] * (scores - center[:, None, None])[:, :, :, None]
    entries = torch.from_numpy(rows.reshape(n, -1, p) / math.sqrt(units * unit))
    draws = Sampled(entries, center=torch.from_numpy(center), draw=draw, unit=unit)
    found = mean_of(draws, Matrix(torch.from_numpy(jacobian)))
    of_units = np.einsum("nup,npd->nud", scores.mean(axis=2), jacobian)
    variance = np.var(of_units, axis=1, ddof=1).sum(axis=1) / units
    np.testing.assert_allclose(found.standard_error, np.sqrt(variance), rtol=1e-12)
    length = np.linalg.norm(of_units.mean(axis=1), axis=1)
    np.testing.assert_allclose(found.value, length, rtol=1e-12)


def test_the_error_of_a_centre_is_the_length_that_sampling_alone_makes_of_it():
    scores = np.random.default_rng(10).normal(size=(4000, 16, 3))
    center = scores.mean(axis=1)
    entries = torch.from_numpy((scores - center[:, None]) / 4)
    found = mean_of(Sampled(entries, center=torch.from_numpy(center)), None)
    excess = found.value.square() - found.standard_error.square()
    assert within_four_errors(excess.numpy(), 0.0)


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_root_of_no_more_rows_than_columns_is_never_stored(rows):
    """It is known by what it does to vectors, and by its gram on the smaller side."""

    class Unstored(Matrix):
        def dense(self):
            raise AssertionError("stored")

    a = random_root(2, rows, 4, 11)
    found = decompose_exact(Unstored(torch.from_numpy(a)), 2)
    np.testing.assert_allclose(
        found.eigenvalues, dense_eigh(a)[0][:, :rows], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("share", "rank"), [(0.98, 1), (1.02, 2)])
def test_by_default_a_root_is_known_to_the_digits_of_float32(share, rank):
    limit = 2.65 * np.finfo(np.float32).eps * math.sqrt(4)
    a = torch.diag_embed(torch.tensor([[1.0, share * limit, 0.0, 0.0]]).double())
    assert decompose_exact(Matrix(a), 2).rank.tolist() == [rank]


@pytest.mark.parametrize("unit", [2.0**-40, 1.0, 2.0**40])
def test_small_singular_values_are_resolved_in_any_unit(unit):
    rng = np.random.default_rng(12)
    u, v = (np.linalg.qr(rng.normal(size=(k, 3)))[0] for k in (3, 6))
    singular = unit * np.array([1.0, 3e-9, 1e-9])
    root = Matrix(torch.from_numpy((u * singular) @ v.T)[None])
    found = decompose_exact(root, 3, rounding=2.0**-52).eigenvalues[0].sqrt()
    np.testing.assert_allclose(found, singular, rtol=1e-5)


def test_eigenvalues_alone_are_those_of_the_dense_gram():
    rng = np.random.default_rng(13)
    blocks, entries = rng.normal(size=(3, 2, 4, 2)), rng.normal(size=(3, 5))
    a = random_root(3, 4, 6, 14)
    broken = a.copy()
    broken[1, 2, 0] = np.inf
    cases = {
        "matrix": (Matrix(torch.from_numpy(a)), a),
        "diagonal": (Diagonal(torch.from_numpy(entries)), None),
        "blocks": (CoordinateBlocks(torch.from_numpy(blocks)), None),
    }
    for name, (root, dense) in cases.items():
        dense = root.dense().numpy() if dense is None else dense
        wanted = np.linalg.eigvalsh(dense @ dense.transpose(0, 2, 1))[:, ::-1]
        found = gram_eigenvalues(root)
        np.testing.assert_allclose(found, wanted, atol=1e-12, err_msg=name)
    found = gram_eigenvalues(Matrix(torch.from_numpy(broken)))
    whole = gram_eigenvalues(Matrix(torch.from_numpy(a)))
    assert torch.equal(found[[0, 2]], whole[[0, 2]])
    assert found[1, 0] == torch.inf
    assert found[1, 1:].isnan().all()


@pytest.mark.parametrize(
    ("side", "r", "d", "by_rows"),
    [
        ("smaller", 2, 5, True),
        ("smaller", 5, 2, False),
        ("smaller", 3, 3, True),
        ("rows", 5, 2, True),
        ("rows", 2, 5, True),
        ("features", 2, 5, False),
        ("features", 5, 2, False),
    ],
)
def test_the_side_that_is_asked_for_is_decomposed(side, r, d, by_rows):
    """A Aᵀ is asked of the root itself; AᵀA is made here. The numbers are the same."""
    asked = []

    class Counted(Matrix):
        def gram(self):
            asked.append(1)
            return super().gram()

    array = random_root(3, r, d, seed=4)
    root = Counted(torch.as_tensor(array, dtype=torch.float64))
    found = decompose_exact(root, 1, side=side)
    assert bool(asked) == by_rows
    singular = np.linalg.svd(np.asarray(array), compute_uv=False)
    np.testing.assert_allclose(found.eigenvalues, singular**2, rtol=1e-6, atol=1e-9)
