"""Products of the sweep, against the same in double precision."""

import pytest
import torch

from audit.importer.sweep.multiply import LEAST, linear, times

SIZES = [(1, 1, 1), (3, 5, 7), (64, 64, 256), (257, 128, 65)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("m", "k", "n"), SIZES)
def test_products_are_right_on_both_sides_of_the_threshold(m, k, n, dtype):
    torch.manual_seed(m)
    x, w = torch.randn(2, m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
    b = torch.randn(n, dtype=dtype)
    exact = x.double() @ w.double().T
    scale = x.double().abs() @ w.double().abs().T + 1
    bound = 4 * k**0.5 * torch.finfo(dtype).eps
    for found, right in (
        (linear(x, w), exact),
        (linear(x, w, b), exact + b.double()),
        (times(x, w.T.contiguous()), exact),
    ):
        assert found.shape == (2, m, n)
        assert found.dtype == dtype
        assert ((found.double() - right).abs() / scale).max() <= bound


def test_the_sizes_lie_on_both_sides():
    most = [2 * m * k * n >= LEAST for m, k, n in SIZES]
    assert True in most
    assert False in most


def test_a_row_is_the_same_bytes_in_every_place_of_a_block():
    torch.manual_seed(0)
    x, w = torch.randn(1280, 64), torch.randn(64, 64)
    turned = linear(x.flip(0), w).flip(0)
    assert torch.equal(turned, linear(x, w))
