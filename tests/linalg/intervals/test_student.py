"""Student's quantile against closed forms, 40 digits, scipy and a printed table."""

import math
from statistics import NormalDist

import mpmath
import numpy as np
import pytest
from scipy import stats

from audit.ground import student
from audit.ground.student import (
    interpolated_quantiles,
    student_quantile,
    student_quantiles,
)

# Abramowitz & Stegun, table 26.10: P(|T| > t) = 0.05, and 0.01.
PRINTED = {
    1: (12.706, 63.657),
    2: (4.303, 9.925),
    3: (3.182, 5.841),
    4: (2.776, 4.604),
    5: (2.571, 4.032),
    7: (2.365, 3.499),
    10: (2.228, 3.169),
    20: (2.086, 2.845),
    30: (2.042, 2.750),
    60: (2.000, 2.660),
    120: (1.980, 2.617),
    math.inf: (1.960, 2.576),
}
LEVELS = (0.5001, 0.6, 0.75, 0.9, 0.975, 0.999, 1 - 1e-7)


def exact(freedom, p):
    """Return the quantile to 40 digits."""
    with mpmath.workdps(40):
        v, tail = mpmath.mpf(freedom), 1 - mpmath.mpf(p)

        def above(t):
            x = v / (v + t * t)
            return mpmath.betainc(v / 2, 0.5, 0, x, regularized=True) / 2 - tail

        return float(mpmath.findroot(above, stats.t.ppf(p, freedom)))


@pytest.mark.parametrize("freedom", PRINTED)
def test_it_is_the_number_of_the_printed_table(freedom):
    found = [round(student_quantile(freedom, p), 3) for p in (0.975, 0.995)]
    assert found == list(PRINTED[freedom])


@pytest.mark.parametrize("p", LEVELS)
def test_one_and_two_degrees_of_freedom_have_closed_forms(p):
    first = math.tan(math.pi * (p - 0.5))
    second = (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    assert student_quantile(1, p) == pytest.approx(first, rel=1e-13 / (1 - p))
    assert student_quantile(2, p) == pytest.approx(second, rel=1e-13 / (1 - p))


def test_one_degree_of_freedom_to_the_last_digit_but_two():
    """Stirling's series is at its worst here: every term of it counts."""
    cotangent = 1 / math.tan(math.pi * 0.025)
    assert student_quantile(1) == pytest.approx(cotangent, rel=6e-14)


@pytest.mark.parametrize("p", LEVELS)
@pytest.mark.parametrize("freedom", [1.3, 3, 4.75, 11.5, 63, 400.2, 9999])
def test_any_freedom_and_any_level(freedom, p):
    wanted = stats.t.ppf(p, freedom)
    assert student_quantile(freedom, p) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("freedom", [1, 2.5, 7, 30.1, 255, 9_999, 10_001, 1e6])
def test_forty_digits(freedom):
    assert student_quantile(freedom) == pytest.approx(exact(freedom, 0.975), rel=1e-12)


@pytest.mark.parametrize("p", [0.9, 0.975, 0.9999])
def test_the_expansion_is_off_by_its_fourth_term(p):
    """The term that is left out is known: a changed one would show beside it."""
    z, v = NormalDist().inv_cdf(p), 200.0
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    apart = exact(v, p) - float(student._expansion(z, np.array([v]))[0])
    assert apart == pytest.approx(fourth / v**4, rel=0.05)


def test_the_lower_half_mirrors_the_upper_one():
    v = np.array([1.0, 3.5, 80.0, 2e4])
    np.testing.assert_array_equal(student_quantiles(v, 0.1), -student_quantiles(v, 0.9))
    assert not student_quantiles(v, 0.5).any()


def test_many_freedoms_are_as_each_alone_and_nan_stays_nan():
    v = np.array([1.0, np.nan, 17.25, np.inf, 300.0])
    found = student_quantiles(v)
    assert np.isnan(found[1])
    for i in (0, 2, 3, 4):
        assert found[i] == pytest.approx(student_quantile(v[i]), rel=1e-14)


@pytest.mark.parametrize(("freedom", "p"), [(0.9, 0.975), (5, 0.0), (5, 1.0)])
def test_what_has_no_quantile_is_refused(freedom, p):
    with pytest.raises(ValueError, match="no quantile"):
        student_quantile(freedom, p)


@pytest.mark.parametrize("p", [0.9, 0.975, 0.995, 0.9999])
def test_the_interpolated_quantiles_are_those_of_forty_digits(p):
    freedom = np.array([1.0, 1.0003, 1.3, 2.7, 9.1, 31.0, 127.0, 1e3, 1e6])
    found = interpolated_quantiles(freedom, p)
    np.testing.assert_allclose(found, [exact(v, p) for v in freedom], rtol=2e-12)
    alone = [interpolated_quantiles(v, p) for v in np.split(freedom, len(freedom))]
    np.testing.assert_array_equal(np.concatenate(alone), found)
    limits = interpolated_quantiles(np.array([math.inf, math.nan]), p)
    assert limits[0] == pytest.approx(NormalDist().inv_cdf(p), rel=2e-12)
    assert math.isnan(limits[1])
