"""Unit columns: the first of the largest entries is positive."""

import numpy as np
import pytest
import torch

from audit.linalg.exact import decompose_exact, unit_columns
from audit.linalg.stored import Matrix

KNOWN = torch.ones(1, 1, dtype=torch.bool)


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float64).reshape(1, -1, 1)


def signed(numbers):
    return unit_columns(column(*numbers), KNOWN)[0, :, 0].tolist()


def test_the_largest_entry_is_positive():
    for given, expected in (
        ([3, 4], [0.6, 0.8]),
        ([3, -4], [-0.6, 0.8]),
        ([-3, -4], [0.6, 0.8]),
    ):
        np.testing.assert_allclose(signed(given), expected, rtol=1e-15)


def test_of_two_that_are_as_large_the_first_is():
    for first in (1.0, -1.0):
        found = signed([0.5, first, -first])
        np.testing.assert_allclose(found, [first / 3, 2 / 3, -2 / 3], rtol=1e-15)


def test_a_tie_beside_others_is_a_row_of_its_own():
    tied, plain = column(-1, 1), column(1, -2)
    found = unit_columns(torch.cat([tied, plain]), KNOWN.expand(2, 1))
    expected = torch.tensor([[1, -1], [-1, 2]]).double()
    expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found[:, :, 0], expected, rtol=1e-15, atol=0)


def test_what_means_nothing_is_zero():
    nan = torch.nan
    columns = torch.cat([column(nan, 1), column(0, 0), column(3, 4)])
    means = torch.tensor([[False], [True], [True]])
    found = unit_columns(columns, means)[:, :, 0].numpy()
    np.testing.assert_allclose(found, [[0, 0], [0, 0], [0.6, 0.8]], rtol=1e-15)


@pytest.mark.parametrize("rows", [3, 5, 8])
@pytest.mark.parametrize("side", ["smaller", "rows", "features"])
def test_the_side_that_is_asked_for_is_decomposed_else_the_smaller_one(rows, side):
    """A Aᵀ of no more rows than columns; both sides have the same eigenvalues."""
    entries = np.random.default_rng(0).normal(size=(2, rows, 5))
    taken = []

    class Asked(Matrix):
        def gram(self):
            taken.append("rows")
            return super().gram()

    found = decompose_exact(Asked(torch.from_numpy(entries)), 2, 1e-7, side)
    assert taken == ["rows"] * (side == "rows" or (side == "smaller" and rows <= 5))
    exact = np.linalg.svd(entries, compute_uv=False) ** 2
    np.testing.assert_allclose(found.eigenvalues, exact, rtol=1e-9)
