"""Ratios pooled over inputs: noise has no side."""

import math

import numpy as np
import pytest
from scipy import stats

from audit.linalg.intervals.pooled import pooled_ratio
from linalg.intervals.laws import LogLinear


def noisy(true_ratio, error, n=64, seed=0):
    """Return realised, predicted and errors of n inputs with gamma noise."""
    rng = np.random.default_rng(seed)
    predicted = np.exp(rng.normal(size=n))
    shape = 1 / error**2
    realised = true_ratio * predicted * rng.gamma(shape, 1 / shape, size=n)
    return realised, predicted, error * realised


def test_it_is_the_geometric_mean_with_students_interval():
    realised, predicted = np.array([2.0, 3.0, 10.0]), np.array([1.0, 2.0, 4.0])
    found = pooled_ratio(realised, predicted, np.zeros(3))
    logs = np.log([2.0, 1.5, 2.5])
    low, high = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
    assert found.n == 3
    assert found.ratio == pytest.approx((2 * 1.5 * 2.5) ** (1 / 3), rel=1e-12)
    assert found.lower == pytest.approx(math.exp(low), rel=1e-10)
    assert found.upper == pytest.approx(math.exp(high), rel=1e-10)


def test_ratios_that_are_each_within_their_error_are_apart_together():
    realised, predicted, error = noisy(1.5, 0.3)
    each = np.abs(realised / predicted - 1) > 3 * error / predicted
    assert each.mean() < 0.2
    found = pooled_ratio(realised, predicted, error)
    assert found.apart(0.1)
    assert found.lower <= 1.5 <= found.upper


def test_noise_on_both_sides_is_not_apart_and_has_no_bias():
    pools = [pooled_ratio(*noisy(1.0, 0.3, seed=seed)) for seed in range(300)]
    assert not any(pool.apart(0.1) for pool in pools)
    inside = np.mean([pool.lower <= 1 <= pool.upper for pool in pools])
    assert inside >= 0.92
    assert np.mean([pool.ratio for pool in pools]) == pytest.approx(1, abs=0.01)


def test_the_model_that_is_two_times_off_is_flagged_by_few_inputs():
    law = LogLinear(50, 0.2, 8)
    found = law.realised().interval
    parts = (found.value, law.predicted, found.standard_error)
    assert pooled_ratio(*(part.numpy() for part in parts)).apart(0.1)


def test_the_exact_form_is_never_flagged():
    law = LogLinear(50, 0.2, 64, bent=False)
    found = law.realised().interval
    parts = (found.value, law.predicted, found.standard_error)
    pool = pooled_ratio(*(part.numpy() for part in parts))
    assert not pool.apart(1e-9)
    assert pool.ratio == pytest.approx(1, rel=1e-12)


def test_it_may_be_too_small_as_well():
    assert pooled_ratio(*noisy(0.6, 0.2)).apart(0.1)


def test_what_has_no_logarithm_is_not_in_it():
    realised = np.array([np.inf, 0.0, np.nan, 2.0, 2.0])
    predicted = np.array([1.0, 0.0, 1.0, 1.0, 1.0])
    found = pooled_ratio(realised, predicted, np.zeros(5))
    assert (found.n, found.ratio) == (2, pytest.approx(2))


def test_one_input_has_no_interval_and_none_no_ratio():
    one = pooled_ratio(np.array([3.0]), np.array([1.0]), np.zeros(1))
    assert one.ratio == pytest.approx(3)
    assert math.isnan(one.lower)
    assert not one.apart(0.1)
    none = pooled_ratio(np.zeros(2), np.zeros(2), np.zeros(2))
    assert none.n == 0
    assert math.isnan(none.ratio)
    assert not none.apart(0.1)


def test_two_inputs_far_apart_have_an_interval_without_end():
    found = pooled_ratio(np.array([1e300, 1e-300]), np.ones(2), np.zeros(2))
    assert (found.lower, found.upper) == (0.0, math.inf)
    assert not found.apart(0.1)
