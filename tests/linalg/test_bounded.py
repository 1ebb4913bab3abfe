"""Infinite entries of a root: 0 · ∞ is 0, everything else times ∞ is infinite."""

import numpy as np
import pytest
import torch

from audit.families.block_diagonal import Blocks
from audit.linalg.averaged import Sampled
from audit.linalg.bounded import Bounded, bounded
from audit.linalg.decompose import decompose
from audit.linalg.exact import decompose_exact, gram_eigenvalues
from audit.linalg.operators import CoordinateBlocks, Diagonal, Product, rows_of
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix


def t(values):
    return torch.tensor(values, dtype=torch.float64)


def roots():
    """Return operators [3, 4, 4], the second with an infinite entry at [2, 2]."""
    diagonal = t([[1.0, 2, 3, 4]] * 3)
    diagonal[1, 2] = torch.inf
    blocks = torch.zeros(3, 2, 2, 2, dtype=torch.float64)
    blocks[:, :, 0, 0] = t([1.0, 2.0])
    blocks[:, :, 1, 1] = t([3.0, 4.0])
    blocks[1, 0, 1, 1] = torch.inf
    half = Diagonal(t([[1.0, 2]] * 3))
    other = t([[3.0, 4]] * 3)
    other[1, 0] = torch.inf
    return {
        "diagonal": Diagonal(diagonal),
        "dense": Matrix(torch.diag_embed(diagonal)),
        "coordinates": CoordinateBlocks(blocks),
        "side by side": Blocks([half, Diagonal(other)]),
    }


def jacobian(moved):
    """Return J [3, 4, 5]; of the second matrix row 2 is zero unless `moved`."""
    j = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 4, 5)))
    if not moved:
        j[1, 2] = 0
    return Matrix(j)


PHI = torch.ones(3, 4, dtype=torch.float64)
each_root = pytest.mark.parametrize("name", roots())


@each_root
def test_a_parameter_that_nothing_moves_has_no_part_in_the_form(name):
    j = jacobian(moved=False)
    root, beyond = bounded(roots()[name], j, PHI)
    assert beyond.tolist() == [0, 0, 0]
    form = QuadraticForm(1.0, Product(root, j), beyond)
    expected = torch.diag_embed(t([[1.0, 2, 3, 4]] * 3)) @ j.entries
    expected = expected.square().sum(dim=(1, 2))
    found = decompose(form, 1).trace.value
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert root.beyond.tolist() == [0, np.inf, 0]


@each_root
def test_a_parameter_that_moves_makes_the_form_infinite_in_its_row_only(name):
    j = jacobian(moved=True)
    root, beyond = bounded(roots()[name], j, PHI)
    assert beyond.tolist() == [0, np.inf, 0]
    infinite = beyond > 0
    form = QuadraticForm(1.0, Product(root, j), beyond)
    spectrum = decompose(form, 2)
    assert spectrum.infinite.tolist() == infinite.tolist()
    assert spectrum.eigenvalues[1, 0] == torch.inf
    assert spectrum.eigenvalues[1, 1:].isnan().all()
    assert torch.isfinite(spectrum.eigenvalues[[0, 2]]).all()
    assert not spectrum.directions[1].any()
    delta = torch.ones(3, 5, dtype=torch.float64)
    assert torch.isinf(form(delta)).tolist() == infinite.tolist()
    assert (
        torch.isinf(form.total(delta.unsqueeze(-1)).value).tolist() == infinite.tolist()
    )


@each_root
def test_a_finite_root_stays_what_it_was(name):
    whole = roots()[name].map_entries(lambda e: torch.where(e.isinf(), 1.0, e))
    root, beyond = bounded(whole, jacobian(moved=True), PHI)
    assert root is whole
    assert beyond is None


@each_root
@pytest.mark.parametrize("moved", [True, False])
def test_what_nothing_resolves_is_not_known_unless_nothing_moves_it(name, moved):
    unresolved = roots()[name].map_entries(lambda e: e.masked_fill(e.isinf(), np.nan))
    j = jacobian(moved)
    root, beyond = bounded(unresolved, j, PHI)
    form = QuadraticForm(1.0, Product(root, j), beyond)
    spectrum = decompose(form, 1)
    assert spectrum.unknown.tolist() == [False, moved, False]
    assert not spectrum.infinite.any()
    assert spectrum.top.value.isnan().tolist() == [False, moved, False]


def test_what_is_infinite_is_so_whatever_else_is_unknown():
    entries = torch.diag_embed(t([[1.0, np.nan, np.inf, 4]]))
    j = Matrix(jacobian(moved=True).entries[:1])
    root, beyond = bounded(Matrix(entries), j, PHI[:1])
    assert beyond.tolist() == [np.inf]
    assert root.beyond.tolist() == [np.inf]


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_average_over_draws_stays_one(bad):
    draws = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 40, 4)))
    draws[1, 7, 2] = bad
    sampled = Sampled(draws, center=draws.mean(dim=1))
    j = jacobian(moved=True)
    root, beyond = bounded(sampled, j, PHI)
    assert isinstance(root, Sampled)
    np.testing.assert_array_equal(beyond, [0, bad, 0])
    spectrum = decompose(QuadraticForm(1.0, Product(root, j), beyond), 2)
    np.testing.assert_array_equal(torch.isfinite(spectrum.trace.value), beyond == 0)
    for end in spectrum.top.interval:
        np.testing.assert_array_equal(end[1], bad)
    taken = rows_of(root, torch.tensor([1]))
    np.testing.assert_array_equal(taken.beyond, [bad])
    assert torch.isfinite(taken.center).all()


@each_root
def test_the_norm_of_an_infinite_root_is_infinite(name):
    root, _ = bounded(roots()[name], jacobian(moved=False), PHI)
    values = gram_eigenvalues(root)
    assert torch.isinf(values[:, 0]).tolist() == [False, True, False]


@each_root
def test_rows_of_an_operator_are_its_matrices(name):
    root, _ = bounded(roots()[name], jacobian(moved=False), PHI)
    chosen = torch.tensor([2, 0])
    product = Product(root, jacobian(moved=False))
    for operator in (root, product):
        taken = rows_of(operator, chosen)
        assert torch.equal(taken.dense(), operator.dense()[chosen])
    assert isinstance(rows_of(root, chosen), Bounded)
    assert rows_of(root, torch.tensor([1])).beyond.tolist() == [np.inf]


@pytest.mark.parametrize("spread", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize(("r", "d"), [(3, 7), (7, 3)])
def test_small_singular_values_survive_in_double_precision(spread, r, d):
    rng = np.random.default_rng(1)
    u, _ = np.linalg.qr(rng.normal(size=(r, 3)))
    v, _ = np.linalg.qr(rng.normal(size=(d, 3)))
    singular = np.array([1.0, 3 * spread, spread])
    root = Matrix(torch.from_numpy((u * singular) @ v.T)[None])
    eps = torch.finfo(torch.float64).eps
    spectrum = decompose_exact(root, 3, rounding=eps)
    found = spectrum.eigenvalues[0, :3].sqrt()
    np.testing.assert_allclose(found, singular, rtol=1e-15 / spread + 1e-9)
    assert spectrum.rank.tolist() == [3]
    for k in range(3):
        along = abs(float(spectrum.directions[0, :, k].numpy() @ v[:, k]))
        assert along == pytest.approx(1.0, abs=1e-3)


def test_single_precision_calls_them_zero():
    a = torch.diag_embed(t([[1.0, 1e-5, 1e-9]]))
    assert decompose_exact(Matrix(a), 3).rank.tolist() == [2]
    assert decompose_exact(Matrix(a), 3, rounding=2.0**-52).rank.tolist() == [3]
