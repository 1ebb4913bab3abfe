"""B V and BᵀU of the softmax's Fisher root, beside exact arithmetic."""

import mpmath
import pytest
import torch

from audit.families.softmax_root import SoftmaxRoot
from audit.linalg.operators import rows_of

LOGITS = {
    "even": (0.0, 0.0, 0.0, 0.0),
    "usual": (1.3, -0.2, 0.4, -2.0),
    "one is nearly certain": (0.0, -40.0, -71.0, -55.0),
    "one is certain in float64, and not the first": (-95.0, -90.0, 3.0, -120.0),
    "two share what there is": (0.0, 0.0, -80.0, -81.0),
}
ROUNDED = 150 * 2.0**-52
"""Log p, of at most 150, is rounded to 2⁻⁵³ of itself, and its sums once more."""
MORE = tuple(-90.0 - k for k in range(30))  # classes, beside those


def exactly(logits):
    """Return B in 60 digits."""
    with mpmath.workdps(60):
        powers = [mpmath.exp(mpmath.mpf(one)) for one in logits]
        p = [one / mpmath.fsum(powers) for one in powers]
        return mpmath.matrix(
            [
                [mpmath.sqrt(p[i]) * ((i == j) - p[j]) for j in range(len(p))]
                for i in range(len(p))
            ]
        )


def root_of(*logits):
    return SoftmaxRoot.of(
        torch.log_softmax(torch.tensor(logits, dtype=torch.float64), dim=-1)
    )


@pytest.mark.parametrize("logits", LOGITS.values(), ids=LOGITS)
def test_products_are_exact_row_by_row(logits):
    root, exact = root_of((*logits, *MORE)), exactly((*logits, *MORE))
    first = torch.tensor([[1.0, 0.3], [-2.0, 0.0], [0.7, 5.0], [3.0, -1.0]]).double()
    v = torch.cat([first, torch.linspace(-3, 4, 60).double().reshape(-1, 2)])
    with mpmath.workdps(60):
        for found, matrix in (
            (root.matmat(v.unsqueeze(0)), exact),
            (root.rmatmat(v.unsqueeze(0)), exact.T),
        ):
            expected = matrix * mpmath.matrix(v.tolist())
            for i in range(len(v)):
                for k in range(2):
                    value = float(found[0, i, k])
                    apart = abs(value - expected[i, k])
                    assert apart <= ROUNDED * abs(expected[i, k])


@pytest.mark.parametrize("size", [7, 31, 32, 50])
def test_products_are_those_of_the_entries(size):
    torch.manual_seed(0)
    root = root_of(*torch.randn(5, size).tolist())
    v = torch.randn(5, size, 4, dtype=torch.float64)
    dense = root.dense()
    torch.testing.assert_close(root.matmat(v), dense @ v, rtol=0, atol=1e-14)
    torch.testing.assert_close(root.rmatmat(v), dense.mT @ v, rtol=0, atol=1e-14)
    one = root.matmat(v[:1])
    torch.testing.assert_close(one, dense @ v[:1], rtol=0, atol=1e-14)


def test_some_of_the_matrices_are_roots_and_changed_ones_are_not():
    root = root_of(*((*one, *MORE) for one in LOGITS.values()))
    v = torch.ones(2, 34, 1, dtype=torch.float64).cumsum(dim=1)
    rows = torch.tensor([1, 4])
    taken = rows_of(root, rows)
    assert torch.equal(taken.matmat(v), root.matmat(v[:1].expand(5, -1, -1))[rows])
    doubled = root.map_entries(lambda entries: 2 * entries)
    torch.testing.assert_close(doubled.dense(), 2 * root.dense(), rtol=0, atol=0)
    whole = v[:1].expand(5, -1, -1)
    torch.testing.assert_close(doubled.matmat(whole), 2 * root.dense() @ whole)
