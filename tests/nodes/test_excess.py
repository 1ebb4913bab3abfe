"""What convex functions have over their tangents, against mpmath."""

import mpmath as mp
import numpy as np
import pytest
import torch
from families.levels import nearly

from audit.nodes import excess, special

RATIOS = [1e-8, -1e-8, 1e-4, 0.09, 0.11, -0.3, -0.6, -1 + 1e-9, 3.0, 1e4]
PLACES = [1e-9, 3e-3, 0.7, 7.9, 8.1, 60.0, 1e6]


@pytest.fixture(autouse=True)
def _sixty_digits():
    with mp.workdps(60):
        yield


def number(value):
    return torch.tensor([float(value)], dtype=torch.float64)


def bregman(function, slope):
    def value(a, b):
        return function(b) - function(a) - slope(a) * (b - a)

    return value


def binet(x):
    return mp.loggamma(x) - x * mp.log(x) + x


EXCESSES = {
    "ratio_excess": bregman(lambda x: -mp.log(x), lambda x: -1 / x),
    "entropy_excess": bregman(lambda x: x * mp.log(x), lambda x: mp.log(x) + 1),
    "lgamma_excess": bregman(mp.loggamma, mp.digamma),
    "binet_excess": bregman(binet, lambda x: mp.digamma(x) - mp.log(x)),
}


@pytest.mark.parametrize("name", EXCESSES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_an_excess_is_relatively_accurate(name, place, ratio):
    ends = number(place), number(place * (1 + ratio))
    expected = EXCESSES[name](*(mp.mpf(end.item()) for end in ends))
    ours = getattr(excess, name)(*ends).item()
    assert ours == nearly(float(expected), 5e-13)


@pytest.mark.parametrize("x", [1e-12, -1e-12, 1e-5, 0.09, 0.11, -0.4, 2.0, -30.0])
def test_the_excess_of_the_exponential(x):
    expected = mp.expm1(mp.mpf(x)) - mp.mpf(x)
    assert excess.exp_excess(number(x)).item() == nearly(float(expected), 1e-14)


@pytest.mark.parametrize("s", [1e-12, -1e-12, 1e-5, 0.09, 0.11, -0.4, -0.999, 1e8])
def test_the_excess_of_log1p(s):
    expected = mp.mpf(s) - mp.log1p(mp.mpf(s))
    assert excess.log1p_excess(number(s)).item() == nearly(float(expected), 1e-14)


@pytest.mark.parametrize(
    ("name", "at", "to", "value"),
    [
        ("log_ratio", 0.0, 0.0, 0.0),
        ("log_ratio", 0.0, 1.0, np.inf),
        ("log_ratio", 1.0, 0.0, -np.inf),
        ("log_ratio", 1e-300, 1e300, 600 * np.log(10)),
        ("ratio_excess", 0.0, 0.0, 0.0),
        ("ratio_excess", 0.0, 1.0, np.inf),
        ("ratio_excess", 1.0, 0.0, np.inf),
        ("ratio_excess", 1e300, 1e-300, 600 * np.log(10) - 1),
        ("ratio_excess", 1e-300, 1e300, np.inf),
        ("entropy_excess", 0.0, 0.0, 0.0),
        ("entropy_excess", 0.0, 1.0, np.inf),
        ("entropy_excess", 2.0, 0.0, 2.0),
        ("lgamma_excess", 1.0, 1e-300, 300 * np.log(10) + 1 - np.euler_gamma - 1),
        ("binet_excess", 1e300, 1e-300, 450 * np.log(10) - np.log(2 * np.pi) / 2 - 0.5),
    ],
)
def test_an_excess_has_its_value_at_the_ends_of_the_line(name, at, to, value):
    ours = getattr(excess, name)(number(at), number(to)).item()
    assert ours == pytest.approx(value, rel=1e-13, abs=0)


def test_a_step_may_have_more_digits_than_its_ends():
    at, to = number(1.0), number(1.0)
    step = number(1e-20)
    assert excess.log_ratio(at, to, step).item() == nearly(1e-20, 1e-15)
    assert excess.ratio_excess(at, to, step).item() == nearly(0.5e-40, 1e-15)
    assert excess.lgamma_excess(at, to, step).item() == nearly(
        float(mp.psi(1, 1)) / 2 * 1e-40, 1e-13
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ratio", [1e-9, -1e-3, 0.4, 50.0])
def test_a_change_of_log_gamma(place, ratio):
    at, to = number(place), number(place * (1 + ratio))
    expected = mp.loggamma(mp.mpf(to.item())) - mp.loggamma(mp.mpf(at.item()))
    ours = special.lgamma_change(at, to, to - at).item()
    scale = abs(float(mp.digamma(place) * (to - at).item()))
    assert ours == pytest.approx(float(expected), abs=1e-14 * (scale + abs(ours)))


@pytest.mark.parametrize("x", [1e-300, 1e-3, 0.99, 1.01, 7.9, 8.1, 1e5, 1e300])
def test_trigamma_in_units_of_its_argument(x):
    y = mp.mpf(x)
    information = y * y * mp.psi(1, y) if x < 1e200 else y
    ours = special.log_trigamma(number(x)).item()
    assert ours == nearly(float(information), 1e-14)
    with mp.workdps(700):
        rest = y * y * (mp.psi(1, y) - 1 / y) if x < 1e200 else mp.mpf(0.5)
    assert special.binet_trigamma(number(x)).item() == nearly(float(rest), 1e-12)


@pytest.mark.parametrize("x", [1e-3, 7.9, 8.1, 1e5])
def test_binets_rest(x):
    expected = float(binet(mp.mpf(x)))
    assert special.binet(number(x)).item() == nearly(expected, 1e-13)


def test_the_logarithm_of_a_probability_of_zero_has_an_infinite_derivative():
    p = torch.tensor([0.0, 0.25], dtype=torch.float64, requires_grad=True)
    value = special.times(p.detach(), special.edge_log(p)).sum()
    (slope,) = torch.autograd.grad(value, p)
    assert value.item() == pytest.approx(0.25 * np.log(0.25))
    assert slope.tolist() == [np.inf, 1.0]
