"""Transposed convolutions of rows side by side, against autograd's in double."""

from itertools import product

import pytest
import torch
from torch.nn import functional

from audit.importer.ops.windows import windows
from audit.importer.sweep import thin
from audit.importer.sweep.strips import strips_of
from audit.importer.sweep.thin import Thin

ROWS = 12
CASES = [
    (kernel, strides, dilations, pads, sizes)
    for kernel, strides, dilations, pads, sizes in product(
        [(3, 3), (2, 5), (5, 4)],
        [(2, 2), (1, 3), (3, 2)],
        [(1, 1), (2, 1), (1, 2)],
        [(0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 3), (0, 2, 1, 1)],
        [(11, 25), (12, 32)],
    )
]


def made(kernel, strides, dilations, pads, sizes, generator):
    """Return a weight, its windows, cotangents, and autograd's in double."""
    weight = torch.randn(6, 5, *kernel, generator=generator)
    where = windows(sizes, kernel, list(strides), list(dilations), list(pads), "")
    g = torch.randn(2, ROWS, 6, *where.counts(sizes), generator=generator)
    top, left, bottom, right = pads
    x = torch.zeros(2 * ROWS, 5, *sizes, dtype=torch.float64, requires_grad=True)
    padded = functional.pad(x, (left, right, top, bottom))
    y = functional.conv2d(padded, weight.double(), None, strides, 0, dilations)
    (exact,) = torch.autograd.grad((y * g.double().flatten(0, 1)).sum(), x)
    return weight, where, g, exact.reshape(2, ROWS, 5, *sizes)


def test_rows_side_by_side_do_not_reach_into_each_other():
    generator = torch.Generator().manual_seed(5)
    tried = 0
    for case in CASES:
        weight, where, g, exact = made(*case, generator)
        strips = strips_of(weight, where, case[-1])
        if strips is None:
            continue
        tried += 1
        found = strips.pulled(g)
        scale = exact.abs().max()
        assert (found - exact).abs().max() <= 2e-6 * scale, case
        g[:, 3] = torch.nan
        others = strips.pulled(g)[:, [row for row in range(ROWS) if row != 3]]
        assert bool(others.isfinite().all()), case
    assert tried > len(CASES) // 2


@pytest.mark.parametrize("rows", [1, 5, 6, 341, 342])
def test_a_wide_image_is_worth_it_between_some_sizes(rows):
    weight, where, *_ = made(*CASES[0], torch.Generator().manual_seed(5))
    strips = strips_of(weight, where, CASES[0][-1])
    width = where.counts(CASES[0][-1])[1]
    assert strips.worth(rows) == (64 <= rows * width <= 4096)


@pytest.mark.parametrize(
    ("kernel", "strides", "channels", "dtype"),
    [
        ((3, 3), (1, 1), 5, torch.float32),  # no stride
        ((2, 2), (3, 3), 5, torch.float32),  # windows do not meet
        ((3, 3), (2, 2), 64, torch.float32),
        ((3, 3), (2, 2), 5, torch.float64),
    ],
)
def test_it_is_left_where_it_does_not_pay(kernel, strides, channels, dtype):
    weight = torch.zeros(6, channels, *kernel, dtype=dtype)
    where = windows((24, 24), kernel, list(strides), None, [0, 0, 0, 0], "")
    assert strips_of(weight, where, (24, 24)) is None


def test_taps_read_images_with_gaps_between_them():
    generator = torch.Generator().manual_seed(6)
    weight = torch.randn(6, 1, 3, 3, generator=generator).double()
    where = windows((8, 12), (3, 3), [2, 2], None, [1, 1, 1, 1], "")
    memory = torch.randn(4 * (5 * 7 + 2) * 6, generator=generator).double()
    wide = memory.view(4, 5 * 7 + 2, 6)[:, :35].unflatten(1, (5, 7))
    g = wide[:, :, 1:7].permute(1, 3, 0, 2)  # [5, 6, 4, 6]
    before = memory.clone()
    thinned = Thin(weight, where, (8, 12))
    expected = thinned.pulled(g[None].contiguous())
    found = thinned.pulled(g[None])
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(memory, before, rtol=0, atol=0)


@pytest.mark.parametrize("large", [1, 2**30])
def test_several_inputs_may_lie_with_gaps_between_them(large, monkeypatch):
    monkeypatch.setattr(thin, "_LARGE", large)
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(6, 1, 3, 3, generator=generator).double()
    where = windows((8, 12), (3, 3), [2, 2], None, [1, 1, 1, 1], "")
    wide = torch.randn(3, 4, 5 * 9, 6, generator=generator).double()
    g = wide.unflatten(2, (5, 9))[:, :, :, 1:7].permute(0, 2, 4, 1, 3)
    thinned = Thin(weight, where, (8, 12))
    found = thinned.pulled(g)
    for one, rows in zip(g, found, strict=True):
        expected = thinned.pulled(one[None].contiguous())
        torch.testing.assert_close(rows[None], expected, rtol=1e-13, atol=1e-13)
