"""The transpose of a convolution into few channels, against torch's own gradient."""

from itertools import product

import pytest
import torch
from torch.nn import functional

from audit.importer.ops.windows import windows
from audit.importer.sweep import thin
from audit.importer.sweep.thin import Thin

SIZES = (9, 12)  # not all strides divide both
EVEN = (8, 12)


def expected(g, weight, sizes, strides, dilations, pads):
    """Autograd of an explicitly padded convolution, in the type of its operands."""
    top, left, bottom, right = pads
    x = torch.zeros(len(g), weight.shape[1], *sizes, dtype=g.dtype, requires_grad=True)
    padded = functional.pad(x, (left, right, top, bottom))
    y = functional.conv2d(padded, weight, None, strides, 0, dilations)
    return torch.autograd.grad((y * g).sum(), x)[0]


CASES = [
    (kernel, strides, dilations, pads)
    for kernel, strides, dilations, pads in product(
        [(1, 1), (3, 3), (2, 5)],
        [(1, 1), (2, 2), (3, 1), (1, 4), (5, 7)],
        [(1, 1), (2, 1), (2, 2)],
        [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3)],
    )
]


@pytest.mark.parametrize("sizes", [SIZES, EVEN])
@pytest.mark.parametrize("channels", [1, 3])
def test_taps_add_up_to_what_autograd_gives(channels, sizes, monkeypatch):
    monkeypatch.setattr(thin, "_AT_ONCE", 2**9)  # several parts
    generator = torch.Generator().manual_seed(5)
    for kernel, strides, dilations, pads in CASES:
        weight = torch.randn(6, channels, *kernel, generator=generator).double()
        where = windows(sizes, kernel, list(strides), list(dilations), list(pads), "")
        shape = (7, 6, *where.counts(sizes))
        g = torch.randn(shape, generator=generator).double()
        (found,) = Thin(weight, where, sizes).pulled(g[None])
        exact = expected(g, weight, sizes, strides, dilations, pads)
        torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", [SIZES, EVEN])
def test_cotangents_are_not_written_into_and_nan_stays_in_its_row(sizes):
    weight = torch.randn(6, 1, 3, 3)
    where = windows(sizes, (3, 3), [2, 2], None, [1, 1, 1, 1], "")
    g = torch.randn(4, 6, *where.counts(sizes))
    g[2, 0, 1, 1] = torch.nan
    before = g.clone()
    (found,) = Thin(weight, where, sizes).pulled(g[None])
    torch.testing.assert_close(g, before, equal_nan=True, rtol=0, atol=0)
    assert found[[0, 1, 3]].isfinite().all()
    assert found[2].isnan().any()
