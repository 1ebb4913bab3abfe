"""Intervals of shares against exact binomial sums, 40 digits and closed forms."""

import mpmath
import numpy as np
import pytest
from scipy import stats

from audit.ground.shares import share_interval

SIZES = (1, 2, 5, 20, 32, 60, 100, 333)
SHARES = np.unique(np.concatenate([np.geomspace(1e-4, 0.5, 60), np.arange(0, 1, 0.01)]))


def tail(k, n, p):
    """Return P(B >= k) as the sum of its terms, to 40 digits."""
    terms = (mpmath.binomial(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))
    return mpmath.fsum(terms)


@pytest.mark.parametrize("n", SIZES)
def test_each_end_misses_in_at_most_a_fortieth_of_samples(n):
    low, high = np.array([share_interval(k, n) for k in range(n + 1)]).T
    p = np.concatenate([SHARES, 1 - SHARES, low, high])[:, None]
    law = stats.binom.pmf(np.arange(n + 1), n, p)
    assert (law * (low > p + 1e-12)).sum(axis=1).max() <= 0.025 + 1e-9
    assert (law * (high < p - 1e-12)).sum(axis=1).max() <= 0.025 + 1e-9


@pytest.mark.parametrize(
    ("k", "n"), [(1, 1), (1, 7), (6, 7), (3, 20), (32, 64), (99, 100), (250, 400)]
)
def test_the_ends_are_where_a_tail_is_a_fortieth(k, n):
    with mpmath.workdps(40):
        low, high = share_interval(k, n)
        assert float(tail(k, n, mpmath.mpf(low))) == pytest.approx(0.025, rel=1e-11)
        if k < n:
            below = 1 - tail(k + 1, n, mpmath.mpf(high))
            assert float(below) == pytest.approx(0.025, rel=1e-11)


@pytest.mark.parametrize("n", [1, 9, 250, 10**6])
def test_none_and_all_have_closed_forms(n):
    reach = -np.expm1(np.log(0.025) / n)
    assert share_interval(0, n) == (0.0, pytest.approx(reach, rel=1e-9))
    assert share_interval(n, n) == (pytest.approx(1 - reach, rel=1e-12), 1.0)


@pytest.mark.parametrize("n", SIZES)
def test_what_does_not_have_it_has_the_mirrored_interval(n):
    for k in range(n + 1):
        low, high = share_interval(k, n)
        assert (1 - high, 1 - low) == pytest.approx(share_interval(n - k, n), abs=2e-16)
        assert 0 <= low <= k / n <= high <= 1


@pytest.mark.parametrize("n", [10**4, 10**6, 10**7])
@pytest.mark.parametrize("share", [1e-4, 0.03, 0.5, 0.97])
def test_of_very_many_inputs_it_is_that_of_the_beta_laws(n, share):
    k = round(share * n)
    low, high = stats.beta.ppf([0.025, 0.975], [k, k + 1], [n - k + 1, n - k])
    assert share_interval(k, n) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_what_is_no_count_is_refused(k, n):
    with pytest.raises(ValueError, match="is no share"):
        share_interval(k, n)
