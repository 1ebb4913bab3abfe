"""Products by oneDNN or the BLAS, and their derivatives, against double precision."""

import pytest
import torch
from torch.func import jacrev, jvp, vmap

from audit.importer import products
from audit.importer.products import (
    LEAST,
    linear,
    plain_times,
    plain_times_into,
    seldom_alike,
    times,
)

SIZES = [(1, 1, 1), (3, 5, 7), (64, 64, 256), (257, 128, 65)]
LARGE = (257, 128, 65)


def operands(m, k, n, dtype=torch.float32):
    torch.manual_seed(m)
    x, w = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
    return x, w, torch.randn(n, dtype=dtype)


def exact(x, w, b):
    return x @ w.mT + b


def close(found, right, terms):
    """Hold to the rounding of a sum of that many products of normal numbers."""
    assert found.shape == right.shape
    bound = 8 * terms * torch.finfo(found.dtype).eps
    assert ((found.double() - right).abs() <= bound * (1 + right.abs())).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("m", "k", "n"), SIZES)
def test_products_are_right_on_both_sides_of_the_threshold(m, k, n, dtype):
    x, w, b = operands(m, k, n, dtype)
    x = torch.stack([x, -x])
    right = exact(x.double(), w.double(), b.double())
    close(linear(x, w, b), right, k)
    close(linear(x, w), right - b.double(), k)
    close(times(x, w.T.contiguous()), right - b.double(), k)
    close(plain_times(x, w.T.contiguous()), right - b.double(), k)
    assert torch.equal(plain_times(x, w.T), times(x, w.T))
    assert linear(x, w, b).dtype == dtype


def test_the_sizes_lie_on_both_sides():
    most = [2 * m * k * n >= LEAST for m, k, n in SIZES]
    assert True in most
    assert False in most


def test_a_row_is_the_same_bytes_in_every_place_of_a_block():
    x, w, b = operands(1280, 64, 64)
    assert torch.equal(linear(x.flip(0), w, b).flip(0), linear(x, w, b))


def test_the_derivatives_of_both_modes():
    x, w, b = operands(*LARGE)
    tangents = tuple(torch.randn_like(one) for one in (x, w, b))
    double = tuple(one.double() for one in (x, w, b))
    _, found = jvp(linear, (x, w, b), tangents)
    _, right = jvp(exact, double, tuple(one.double() for one in tangents))
    close(found, right, 256)
    g = torch.randn(LARGE[0], LARGE[2])
    for one in (x, w, b):
        one.requires_grad_()
    found = torch.autograd.grad(linear(x, w, b), (x, w, b), g)
    right = (g.double() @ double[1], g.double().T @ double[0], g.double().sum(0))
    for one, other in zip(found, right, strict=True):
        close(one, other, 257)


def test_twice():
    x, w, b = operands(*LARGE)
    x.requires_grad_()

    def energy(f, x, w, b):
        return (
            f(torch.tanh(f(x, w, b)), w.T, 0 * b.new_zeros(w.shape[1])).square().sum()
        )

    (first,) = torch.autograd.grad(energy(linear, x, w, b), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    y, double = x.detach().double().requires_grad_(), (w.double(), b.double())
    (right,) = torch.autograd.grad(energy(exact, y, *double), y, create_graph=True)
    (right_second,) = torch.autograd.grad(right.square().sum(), y)
    assert (first - right).norm() <= 1e-5 * right.norm()
    assert (second - right_second).norm() <= 1e-5 * right_second.norm()


@pytest.mark.parametrize(
    "mapped", [(0, None, None), (1, None, None), (0, 0, 0), (None, 0, None)]
)
def test_mapped_over_rows_and_over_weights(mapped):
    x, w, b = operands(*LARGE)
    many = [
        one if at is None else torch.stack([one, 2 * one, -one], at)
        for one, at in zip((x, w, b), mapped, strict=True)
    ]
    found = vmap(linear, mapped)(*many)
    right = vmap(exact, mapped)(*(one.double() for one in many))
    close(found, right, 256)


def test_the_jacobian_of_one_row_after_another():
    x, w, b = operands(*LARGE)
    found = vmap(jacrev(lambda row: linear(row.expand(160, -1), w, b).sum(0)))(x[:4])
    right = (160 * w.double()).expand(4, -1, -1)
    close(found, right, 256)


def test_it_is_the_product_of_onednn_that_is_tested():
    if products._LINEAR is None:
        pytest.skip("this build of torch has no oneDNN")
    x, w, b = operands(*LARGE)
    assert products._by_onednn(x, w, b)
    assert not products._by_onednn(x.double(), w.double(), b.double())


def test_no_kernel_is_made_for_rows_that_are_seldom_alike(monkeypatch):
    """Their products, and derivatives taken within, are those of the plain BLAS."""
    x, w, b = operands(*LARGE)
    x.requires_grad_()
    monkeypatch.setattr(products, "_LINEAR", None)
    plain = torch.nn.functional.linear(x, w, b)
    (slope,) = torch.autograd.grad(plain.square().sum(), x)
    monkeypatch.setattr(products, "_LINEAR", "nothing that can be called")
    with seldom_alike():
        assert not products._by_onednn(x, w, b)
        found = linear(x, w, b)
        (gradient,) = torch.autograd.grad(found.square().sum(), x)
        wide = torch.empty(1 << 10, 1 << 9)
        assert products._by_onednn(wide, wide[: 1 << 9], None)
    assert torch.equal(found, plain)
    assert torch.equal(gradient, slope)
    assert products._by_onednn(x, w, b)


def test_a_tangent_passes_without_a_graph():
    """Forward mode goes on inside `no_grad`, so a bare kernel would lose it."""
    x, t = torch.randn(2, 4096, 64).unbind()
    w = torch.randn(64, 64)
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, t)
        moved = torch.autograd.forward_ad.unpack_dual(linear(dual, w)).tangent
    torch.testing.assert_close(moved, t @ w.t(), rtol=1e-4, atol=1e-4)


def test_rows_of_a_sweep_are_multiplied_as_by_the_matrix_itself():
    g, w = torch.randn(2, 4096, 64), torch.randn(64, 32)
    assert torch.equal(plain_times(g, w, w.t().contiguous()), times(g, w))
    few = torch.randn(3, 64)
    assert torch.equal(plain_times(few, w, w.t().contiguous()), few @ w)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("n", [1, 3, 16, 17])
@pytest.mark.parametrize("m", [0, 1, 2000])
def test_products_with_few_columns_are_written_where_they_are_asked_for(m, n, dtype):
    whole = torch.randn(m, 256).to(dtype)
    x, w = whole[:, 64:], torch.randn(192, n).to(dtype)  # rows apart in memory
    out = torch.full((2, m, n), torch.nan, dtype=dtype)
    plain_times_into(out[1], x, w)
    close(out[1], x.double() @ w.double(), 192)
    assert out[0].isnan().all()


@pytest.mark.parametrize("n", [1, 3, 8, 16])
def test_a_row_of_few_columns_is_the_same_bytes_in_every_place(n):
    x, w = torch.randn(1283, 192), torch.randn(192, n)
    whole, turned, some = (torch.empty(m, n) for m in (1283, 1283, 7))
    plain_times_into(whole, x, w)
    plain_times_into(turned, x.flip(0), w)
    plain_times_into(some, x[500:507], w)
    assert torch.equal(turned.flip(0), whole)
    assert torch.equal(some, whole[500:507])
