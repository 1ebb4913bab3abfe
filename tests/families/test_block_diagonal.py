"""Block diagonal matrices that are kept by their blocks, against those written out."""

import numpy as np
import pytest
import torch

from audit.families.block_diagonal import Blocks, Repeats, blocks_of
from audit.linalg.operators import Diagonal
from audit.linalg.stored import Matrix

N, T = 2, 3
RNG = np.random.default_rng(0)


def numbers(*shape):
    return torch.from_numpy(RNG.normal(size=shape))


def repeated():
    """Return T blocks of 2 × 4 for each of N rows, and each matrix written out."""
    entries = numbers(N * T, 2, 4)
    whole = [torch.block_diag(*entries[i * T : (i + 1) * T]) for i in range(N)]
    return Repeats(Matrix(entries), T), torch.stack(whole)


def side_by_side():
    """Return blocks of 2 × 4, a diagonal of 3 and 5 × 1, and the matrices."""
    first, second, third = numbers(N, 2, 4), numbers(N, 3), numbers(N, 5, 1)
    whole = [
        torch.block_diag(first[i], torch.diag(second[i]), third[i]) for i in range(N)
    ]
    return Blocks([Matrix(first), Diagonal(second), Matrix(third)]), torch.stack(whole)


@pytest.mark.parametrize("make", [repeated, side_by_side])
def test_everything_is_that_of_the_matrix_written_out(make):
    found, whole = make()
    _, rows, columns = whole.shape
    assert found.shape == (N, rows, columns)
    assert torch.equal(found.dense(), whole)
    v, u = numbers(N, columns, 3), numbers(N, rows, 3)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(found.matmat(v), whole @ v, **close)
    torch.testing.assert_close(found.rmatmat(u), whole.mT @ u, **close)
    torch.testing.assert_close(found.gram(), whole @ whole.mT, **close)
    assert torch.equal(found.map_entries(lambda e: 2 * e).dense(), 2 * whole)
    picked = found.map_entries(lambda e: e[[1, 0, 1]]).dense()
    assert torch.equal(picked, whole[[1, 0, 1]])


def test_the_diagonal_of_roots_is_known_where_every_root_is():
    one = Matrix(numbers(N, 2, 2))
    assert blocks_of([one, None]) is None
    assert blocks_of([one, one]).shape == (N, 4, 4)
