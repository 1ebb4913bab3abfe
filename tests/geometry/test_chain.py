"""tr(F JJᵀ) ≤ von Neumann ≤ ‖F‖‖JJᵀ‖ ≤ ‖F‖‖J‖², on dense matrices by numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.geometry.chain import factor
from audit.linalg.averaged import Sampled
from audit.linalg.decompose import decompose
from audit.linalg.operators import CoordinateBlocks, Diagonal, Product
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix

sizes = st.integers(1, 5)
OUTER = {
    "matrix": lambda rng, n, r, p: Matrix(torch.from_numpy(rng.normal(size=(n, r, p)))),
    "diagonal": lambda rng, n, r, p: Diagonal(
        torch.from_numpy(rng.normal(size=(n, p)))
    ),
    "blocks": lambda rng, n, r, p: CoordinateBlocks(
        torch.from_numpy(rng.normal(size=(n, p, r, 1)))
    ),
    "sampled": lambda rng, n, r, p: Sampled(
        torch.from_numpy(rng.normal(size=(n, r + 4, p)))
    ),
}


def measured(root):
    spectrum = decompose(QuadraticForm(1.0, root), 1)
    factors = factor(root, spectrum.trace.value)
    return {name: value.numpy() for name, value in factors.items()}, spectrum


def descending(matrix):
    return np.linalg.eigvalsh(matrix)[:, ::-1]


@pytest.mark.parametrize("kind", sorted(OUTER))
@given(n=st.integers(1, 3), r=sizes, p=sizes, d=sizes, seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_every_link_of_the_chain_holds(kind, n, r, p, d, seed):
    rng = np.random.default_rng(seed)
    outer = OUTER[kind](rng, n, r, p)
    inner = Matrix(torch.from_numpy(rng.normal(size=(n, p, d))))
    found, spectrum = measured(Product(outer, inner))
    trace, slack = spectrum.trace.value.numpy(), 1 + 1e-9
    product = found["model_norm"] * found["map_norm"]
    assert (trace <= found["von_neumann"] * slack).all()
    assert (found["von_neumann"] <= product * slack).all()
    assert (product <= found["model_norm"] * found["jacobian_norm"] * slack).all()
    assert (found["alignment"] > -1e-12).all()
    assert (found["alignment"] < slack).all()


@pytest.mark.parametrize("kind", sorted(OUTER))
@given(r=sizes, p=sizes, d=sizes, seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_every_factor_is_that_of_the_dense_matrices(kind, r, p, d, seed):
    rng = np.random.default_rng(seed)
    outer = OUTER[kind](rng, 2, r, p)
    j = rng.normal(size=(2, p, d))
    found, _ = measured(Product(outer, Matrix(torch.from_numpy(j))))
    b = outer.dense().numpy()
    f, jjt = b.transpose(0, 2, 1) @ b, j @ j.transpose(0, 2, 1)
    jacobian_norm = np.square(j).sum(axis=(1, 2))
    bound = (descending(f) * descending(jjt)).sum(axis=1)
    expected = {
        "model_norm": np.linalg.norm(f, axis=(1, 2)),
        "map_norm": np.linalg.norm(jjt, axis=(1, 2)),
        "jacobian_norm": jacobian_norm,
        "map_effective_rank": jacobian_norm**2 / np.square(jjt).sum(axis=(1, 2)),
        "von_neumann": bound,
        "alignment": np.trace(f @ jjt, axis1=1, axis2=2) / bound,
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-8, err_msg=name)


def test_a_map_along_the_familys_own_axes_is_fully_aligned():
    outer = Diagonal(torch.tensor([[3.0, 2.0, 1.0]]).double())
    strong_first = Matrix(torch.diag(torch.tensor([5.0, 2.0, 1.0])).double()[None])
    strong_last = Matrix(torch.diag(torch.tensor([1.0, 2.0, 5.0])).double()[None])
    best, _ = measured(Product(outer, strong_first))
    worst, _ = measured(Product(outer, strong_last))
    assert best["alignment"].item() == pytest.approx(1.0, rel=1e-12)
    expected = (9 * 1 + 4 * 4 + 1 * 25) / (9 * 25 + 4 * 4 + 1 * 1)
    assert worst["alignment"].item() == pytest.approx(expected, rel=1e-12)


def test_the_factors_depend_on_how_phi_is_written_and_the_trace_does_not():
    j = np.random.default_rng(0).normal(size=(1, 2, 4))
    change = np.array([[2.0, 0.0], [0.3, 0.5]])
    b = np.random.default_rng(1).normal(size=(1, 3, 2))
    plain = Product(Matrix(torch.from_numpy(b)), Matrix(torch.from_numpy(j)))
    b_new, j_new = b @ np.linalg.inv(change), change @ j
    written = Product(Matrix(torch.from_numpy(b_new)), Matrix(torch.from_numpy(j_new)))
    (one, first), (other, second) = measured(plain), measured(written)
    assert second.trace.value.item() == pytest.approx(first.trace.value.item())
    assert abs(one["model_norm"] / other["model_norm"] - 1).item() > 0.1
    assert abs(one["jacobian_norm"] / other["jacobian_norm"] - 1).item() > 0.1


def test_a_family_without_second_moments_is_infinite_in_its_own_row_only():
    b = np.random.default_rng(2).normal(size=(2, 2, 2))
    b[1, 0, 0] = np.inf
    j = Matrix(torch.from_numpy(np.random.default_rng(3).normal(size=(2, 2, 3))))
    found, _ = measured(Product(Matrix(torch.from_numpy(b)), j))
    for name in ("model_norm", "von_neumann"):
        assert np.isinf(found[name]).tolist() == [False, True]
    assert np.isfinite(found["jacobian_norm"]).all()


def test_the_l1_and_l2_views_of_a_random_directional_derivative():
    j = np.random.default_rng(4).normal(size=(1, 3, 5))
    found, _ = measured(
        Product(Diagonal(torch.ones(1, 3).double()), Matrix(torch.from_numpy(j)))
    )
    v = np.random.default_rng(5).standard_normal((200_000, 5))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    covariance = np.cov(v @ j[0].T, rowvar=False)
    spread = np.linalg.eigvalsh(covariance)
    assert 5 * spread.sum() == pytest.approx(found["jacobian_norm"].item(), rel=0.01)
    length = np.linalg.norm(spread)
    assert 5 * length == pytest.approx(found["map_norm"].item(), rel=0.01)
