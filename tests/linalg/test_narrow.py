"""Fewer rows with the same CᵀC."""

import pytest
import torch

from audit.linalg.narrow import shortened


def tall(rows, columns, rank, scale=1.0):
    """Matrices of some rank, with a column of zeros."""
    random = torch.Generator().manual_seed(rows)
    left, right = (
        torch.randn(2, *shape, generator=random, dtype=torch.float64)
        for shape in ((rows, rank), (rank, columns))
    )
    right[:, :, 3] = 0
    return scale * (left @ right)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e200])
@pytest.mark.parametrize(("rows", "rank"), [(12, 4), (30, 9), (400, 9), (400, 2)])
def test_the_rows_that_are_left_have_the_same_square(rows, rank, scale, single):
    """Also where columns are zero or belong together, and where squares overflow."""
    c = tall(rows, 10, rank, scale)
    found = shortened(c, single) / scale
    assert found.shape == (2, 10, 10)
    assert found.isfinite().all()
    plain = c / scale
    torch.testing.assert_close(
        found.mT @ found, plain.mT @ plain, rtol=1e-13, atol=1e-13 * rows * rank
    )


def test_small_singular_values_are_kept_where_entries_are_of_double_precision():
    """A square would hold those below 2⁻²⁶ of the largest as rounding."""
    random = torch.Generator().manual_seed(2)
    left, _ = torch.linalg.qr(torch.randn(500, 3, generator=random).double())
    right, _ = torch.linalg.qr(torch.randn(3, 3, generator=random).double())
    values = torch.tensor([1.0, 1e-5, 1e-11], dtype=torch.float64)
    c = (left * values) @ right
    found = torch.linalg.svdvals(shortened(c[None], single=False)[0])
    torch.testing.assert_close(found, values, rtol=1e-4, atol=0.0)


def test_matrices_that_are_not_tall_stay():
    c = tall(8, 10, 4)
    assert shortened(c, single=True) is c
