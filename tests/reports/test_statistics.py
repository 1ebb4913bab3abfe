"""Percentiles against numpy, intervals against their own promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.reports.quantities import PERCENTILES, STATISTICS
from audit.reports.statistics import (
    order_ranks,
    student_quantile,
    summarise,
)

finite = st.floats(-1e6, 1e6)
columns = arrays(float, st.integers(1, 60), elements=finite | st.just(math.nan))


@settings(max_examples=60, deadline=None)
@given(columns)
def test_statistics_are_numpys_of_the_finite_values(column):
    kept = column[np.isfinite(column)]
    found = summarise(column)
    assert found.n == len(kept)
    if not found.n:
        assert set(found.values.values()) == {None}
        return
    for name, p in PERCENTILES.items():
        assert found.values[name] == pytest.approx(np.quantile(kept, p))
    assert found.values["mean"] == pytest.approx(kept.mean())
    assert (found.values["min"], found.values["max"]) == (kept.min(), kept.max())
    assert tuple(found.values) == STATISTICS
    for interval in found.intervals.values():
        assert interval is None or interval[0] <= interval[1]


@settings(max_examples=40, deadline=None)
@given(arrays(float, st.integers(1, 60), elements=finite))
def test_a_histogram_counts_every_value(column):
    found = summarise(column).histogram
    assert sum(found.counts) == len(column)
    assert (found.low, found.high) == (column.min(), column.max())


@settings(max_examples=100, deadline=None)
@given(arrays(float, st.integers(1, 30), elements=st.floats()))
def test_no_column_gives_anything_but_finite_numbers(column):
    found = summarise(column)
    numbers = [value for value in found.values.values() if value is not None]
    for interval in found.intervals.values():
        numbers += interval or ()
    assert all(map(math.isfinite, numbers))
    if found.histogram:
        assert math.isfinite(found.histogram.low + 0 * found.histogram.high)


def test_a_histogram_is_logarithmic_when_values_span_decades():
    assert summarise(np.array([1.0, 5.0])).histogram.scale == "linear"
    assert summarise(np.array([1.0, 50.0])).histogram.scale == "log"
    assert summarise(np.array([0.0, 50.0])).histogram.scale == "linear"


@pytest.mark.parametrize(
    ("freedom", "exact"),
    [(1, 12.7062), (3, 3.18245), (5, 2.57058), (10, 2.22814), (30, 2.04227)],
)
def test_student_quantiles_agree_with_tables(freedom, exact):
    assert student_quantile(freedom) == pytest.approx(exact, rel=2e-3)


def binomial_cdf(k, n, p):
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize("p", [0.01, 0.05, 0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 6, 71, 72, 400, 900])
def test_order_statistics_cover_95_percent_and_no_closer_ones_do(n, p):
    ranks = order_ranks(n, p)
    if ranks is None:
        low_possible = binomial_cdf(0, n, p) <= 0.025
        high_possible = binomial_cdf(n - 1, n, p) >= 0.975
        assert not (low_possible and high_possible)
        return
    low, high = ranks[0] + 1, ranks[1] + 1
    assert binomial_cdf(low - 1, n, p) <= 0.025 < binomial_cdf(low, n, p)
    assert binomial_cdf(high - 1, n, p) >= 0.975 > binomial_cdf(high - 2, n, p)


def test_percentile_intervals_need_enough_inputs():
    assert summarise(np.arange(71.0)).intervals["p95"] is None
    assert summarise(np.arange(72.0)).intervals["p95"] is not None
    assert summarise(np.arange(1.0)).intervals["mean"] is None


def test_ranks_of_a_million_are_cheap_and_near_the_normal_ones():
    low, high = order_ranks(10**6, 0.95)
    half = 1.96 * math.sqrt(10**6 * 0.95 * 0.05)
    assert low == pytest.approx(950_000 - half, abs=3)
    assert high == pytest.approx(950_000 + half, abs=3)


def test_intervals_cover_as_often_as_they_promise():
    draws = np.random.default_rng(0).lognormal(size=(400, 300))
    truth = {"p50": 1.0, "p95": math.exp(1.6448536)}
    for name, value in truth.items():
        ends = np.array([summarise(row).intervals[name] for row in draws])
        share = ((ends[:, 0] <= value) & (value <= ends[:, 1])).mean()
        assert share >= 0.93


def test_the_mean_of_what_is_never_negative_has_no_negative_interval():
    low, _ = summarise(np.array([0.1, 0.2, 30.0])).intervals["mean"]
    assert low == 0.0
    low, _ = summarise(np.array([-0.1, 0.2, 30.0])).intervals["mean"]
    assert low < 0
