"""Intervals of skewed means: every correction by itself, and how often they hold."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from audit.linalg.intervals.means import LEAST, Interval, mean_interval
from audit.linalg.sampled import decompose_sampled
from linalg.intervals.laws import SAMPLED, Law, held

SAMPLE = [0.3, 1.9, 0.1, 0.7, 6.2, 0.4, 2.8, 0.2, 1.1, 0.9, 3.3, 0.5]


def corrected(sample, level=0.975, least=1):
    """Return the interval's ends by solving Hall's cubic for each, in 30 digits."""
    with mpmath.workdps(30):
        x = [mpmath.mpf(v) for v in sample]
        n = len(x)
        mean = sum(x) / n
        second, third, fourth = (sum((v - mean) ** k for v in x) / n for k in (2, 3, 4))
        skewness = third / second**1.5 * mpmath.sqrt(n * (n - 1)) / (n - 2)
        c = skewness * (1 + mpmath.mpf(85) / 10 / n) / mpmath.sqrt(n)
        freedom = min(2 * n / (max(fourth / second**2, least) - 1), n - 1)
        t = mpmath.mpf(stats.t.ppf(level, float(freedom)))
        c = max(min(c, mpmath.mpf(11) / 10 / t), -mpmath.mpf(11) / 10 / t)

        def transformed(y):
            return y + c * y**2 / 3 + c**2 * y**3 / 27 + c / 6

        error = mpmath.sqrt(second / (n - 1))
        ends = []
        for side in (t, -t):
            root = mpmath.findroot(
                lambda y, side=side: transformed(y) - side, (-60, 60), solver="anderson"
            )
            ends.append(float(mean - error * root))
        return ends


@pytest.mark.parametrize("level", [0.975, 0.995])
@pytest.mark.parametrize(
    "sample",
    [
        SAMPLE,  # c t is cut off
        SAMPLE * 8,  # it is not
        [-v for v in SAMPLE * 8],
        list(np.linspace(0, 1, 40) ** 2),  # n − 1 degrees of freedom
    ],
    ids=["few", "many", "mirrored", "flat"],
)
def test_the_ends_solve_halls_cubic_with_hazens_skewness(sample, level):
    found = mean_interval(torch.from_numpy(np.array([sample])), level)
    wanted = corrected(sample, level)
    assert found.lower.item() == pytest.approx(wanted[0], rel=1e-8)
    assert found.upper.item() == pytest.approx(wanted[1], rel=1e-8)
    assert found.value.item() == pytest.approx(np.mean(sample), rel=1e-12)
    assert found.standard_error.item() == pytest.approx(stats.sem(sample), rel=1e-12)


@pytest.mark.parametrize("least", [3.0, 15.0])
@pytest.mark.parametrize("sample", [SAMPLE * 3, list(range(30)), [*range(30), 500]])
def test_tails_that_few_numbers_do_not_show_may_be_known(sample, least):
    found = mean_interval(torch.tensor(sample).double(), kurtosis=least)
    ends = (found.lower.item(), found.upper.item())
    assert ends == pytest.approx(corrected(sample, least=least), rel=1e-4)


def test_a_sample_without_skewness_or_tails_has_students_interval():
    sample = np.linspace(-1, 1, 31)
    found = mean_interval(torch.from_numpy(sample))
    low, high = stats.t.interval(0.95, 30, sample.mean(), stats.sem(sample))
    assert found.lower.item() == pytest.approx(low, rel=1e-10)
    assert found.upper.item() == pytest.approx(high, rel=1e-10)


def test_intervals_of_a_batch_are_those_of_each_row_and_follow_units():
    rows = torch.from_numpy(np.random.default_rng(0).exponential(size=(4, 3, 25)))
    whole = mean_interval(rows)
    for size in (1e-200, 1.0, 1e200):
        one = mean_interval(size * rows[2, 1])
        for name in ("value", "lower", "upper", "standard_error"):
            wanted = size * getattr(whole, name)[2, 1].item()
            assert getattr(one, name).item() == pytest.approx(wanted, rel=1e-12), name


def test_equal_samples_have_no_width_and_one_alone_no_interval():
    same = mean_interval(torch.full((2, 9), 3.5).double())
    assert same.lower.tolist() == same.upper.tolist() == [3.5, 3.5]
    assert same.standard_error.tolist() == [0.0, 0.0]
    alone = mean_interval(torch.ones(2, 1).double())
    assert alone.value.tolist() == [1.0, 1.0]
    for part in (alone.lower, alone.upper, alone.standard_error):
        assert part.isnan().all()


def test_a_sample_that_is_not_finite_leaves_its_neighbours_alone():
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 20)))
    clean = mean_interval(rows)
    rows[1, 4] = torch.inf
    found = mean_interval(rows)
    assert found.lower[[0, 2]].equal(clean.lower[[0, 2]])
    assert math.isinf(found.value[1])
    assert found.lower[1].isnan()
    assert found.upper[1].isnan()


def test_an_interval_is_widened_by_an_independent_error_on_both_sides():
    one = Interval(*(torch.tensor([v]).double() for v in (5.0, 4.0, 7.0, 0.8)))
    wide = one.widened(torch.tensor([0.6]).double())
    reach = 0.6 * stats.norm.ppf(0.975)
    assert wide.lower.item() == pytest.approx(5 - math.hypot(1, reach))
    assert wide.upper.item() == pytest.approx(5 + math.hypot(2, reach))
    assert wide.standard_error.item() == pytest.approx(1.0)


SKEWED = {
    "normal": (lambda rng, size: 3 + rng.standard_normal(size), 3.0),
    "uniform": (lambda rng, size: rng.random(size), 0.5),
    "square": (lambda rng, size: rng.standard_normal(size) ** 2, 1.0),
    "exponential": (lambda rng, size: rng.exponential(size=size), 1.0),
    "log-normal": (lambda rng, size: np.exp(rng.normal(size=size)), math.exp(0.5)),
    "heavy": (lambda rng, size: np.exp(1.3 * rng.normal(size=size)), math.exp(0.845)),
}


@pytest.mark.parametrize("n", [LEAST, 64, 256])
@pytest.mark.parametrize("law", SKEWED)
def test_the_interval_holds_the_mean_as_often_as_it_says(law, n):
    draw, truth = SKEWED[law]
    found = mean_interval(torch.from_numpy(draw(np.random.default_rng(7), (4000, n))))
    share = held((found.lower, found.upper), truth)
    assert 0.935 <= share <= 0.985
    missed = float((found.upper < truth).double().mean())
    assert missed <= 0.055


@pytest.mark.parametrize("draws", [20, 64])
@pytest.mark.parametrize(("kind", "divergence"), SAMPLED)
def test_few_draws_of_a_flow_have_intervals_that_hold(kind, divergence, draws):
    """The whole table is printed by tests/benchmarks/bench_coverage.py."""
    law = Law(kind, 2)
    found = decompose_sampled(law.root(divergence, draws, "random", 600), None, 1)
    tensor = law.tensor(divergence)
    assert held(found.trace.interval, tensor.trace()) >= 0.92
    assert held(found.top.interval, torch.linalg.eigvalsh(tensor)[-1]) >= 0.94
    assert found.units == draws
