"""Percentiles against numpy, intervals against their own promise."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from audit.ground.means import Stratum, Tail
from audit.ground.means import mean_interval as interval_of
from audit.reports.means import scaled_interval
from audit.reports.quantities import FEWEST_VALUES, PERCENTILES, STATISTICS
from audit.reports.statistics import order_ranks, quantiles, summarise
from audit.reports.values import Values

finite = st.floats(-1e6, 1e6)
extended = finite | st.just(math.inf) | st.just(math.nan)
columns = arrays(float, st.integers(1, 60), elements=extended)


def of(column):
    return summarise(Values.of(np.asarray(column, float)))


@settings(max_examples=60, deadline=None)
@given(arrays(float, st.integers(1, 60), elements=finite | st.just(math.nan)))
def test_statistics_of_finite_values_are_numpys(column):
    kept = column[np.isfinite(column)]
    found = of(column)
    assert (found.n, found.n_not_measured) == (len(kept), len(column) - len(kept))
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


@settings(max_examples=100, deadline=None)
@given(columns)
def test_infinity_takes_its_place_as_a_huge_number_would(column):
    huge = 1e280
    found, stood_in = of(column), of(np.where(np.isinf(column), huge, column))
    assert found.n == stood_in.n
    assert found.n_infinite == int(np.isinf(column).sum())
    for name, value in found.values.items():
        other = stood_in.values[name]
        if name == "std":  # ∞ − ∞ is none
            continue
        if value is None or math.isfinite(value):
            assert value == pytest.approx(other)
        else:
            assert other > 1e270


def test_a_value_just_below_infinity_stays_what_it_is():
    column = [1.0, 2.0, 3.0, math.inf, math.inf]
    assert of(column).values["p50"] == 3.0
    assert of(column[1:]).values["p50"] == math.inf  # half way to it is no number
    assert of([*range(19), math.inf, math.inf]).values["p95"] == math.inf
    assert of([*range(20), math.inf]).values["p95"] == 19.0


@settings(max_examples=40, deadline=None)
@given(arrays(float, st.integers(1, 60), elements=finite))
def test_a_histogram_counts_every_value(column):
    found = of(column).histogram
    assert sum(found.counts) == len(column)
    assert (found.low, found.high) == (column.min(), column.max())


@settings(max_examples=100, deadline=None)
@given(arrays(float, st.integers(1, 30), elements=st.floats()))
def test_no_column_gives_a_number_that_is_none(column):
    found = of(column)
    numbers = [value for value in found.values.values() if value is not None]
    for interval in found.intervals.values():
        numbers += interval or ()
    assert not any(map(math.isnan, numbers))
    if found.histogram:
        assert math.isfinite(found.histogram.low + 0 * found.histogram.high)


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_means_and_deviations_of_extreme_numbers_do_not_overflow(size):
    found = of(size * np.array([1.0, 1.2, 1.4]))
    assert found.values["mean"] == pytest.approx(1.2 * size)
    assert found.values["std"] == pytest.approx(0.2 * size)


def test_a_histogram_is_logarithmic_when_values_span_decades():
    assert of([1.0, 5.0]).histogram.scale == "linear"
    assert of([1.0, 50.0]).histogram.scale == "log"
    assert of([0.0, 50.0]).histogram.scale == "linear"


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
    assert of(np.arange(71.0)).intervals["p95"] is None
    assert of(np.arange(72.0)).intervals["p95"] is not None
    assert of(np.arange(1.0)).intervals["mean"] is None


def test_ranks_of_a_million_are_cheap_and_near_the_normal_ones():
    low, high = order_ranks(10**6, 0.95)
    half = 1.96 * math.sqrt(10**6 * 0.95 * 0.05)
    assert low == pytest.approx(950_000 - half, abs=3)
    assert high == pytest.approx(950_000 + half, abs=3)


def test_intervals_cover_as_often_as_they_promise():
    draws = np.random.default_rng(0).lognormal(size=(400, 300))
    truth = {"p50": 1.0, "p95": math.exp(1.6448536)}
    for name, value in truth.items():
        ends = np.array([of(row).intervals[name] for row in draws])
        share = ((ends[:, 0] <= value) & (value <= ends[:, 1])).mean()
        assert share >= 0.93


def test_the_mean_of_what_is_never_negative_has_no_negative_interval():
    nothing = Tail(0.0, 0.0, 0.0)
    far = Stratum(40, 0.1, (1.0, 0.0, 3.0), (nothing, nothing))
    for least in (0.0, 0.1):
        assert scaled_interval([far], 1.0, least)[0] == 0.0
    low, high = scaled_interval([far], 8.0, -0.1)
    assert (low, high) == tuple(8 * end for end in interval_of([far]))
    assert low < 0


def test_a_histogram_has_24_equal_bins():
    """Of 25 posts, 24 widths apart, each opens a bin and the last one closes it."""
    found = of(np.arange(25.0)).histogram
    assert found.counts == [1] * 23 + [2]
    found = of(2.0 ** np.arange(25.0)).histogram
    assert (found.scale, found.counts) == ("log", [1] * 23 + [2])


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ([-9e299, 9e299], False),  # 1.8e300 apart
        ([9e299, 9.5e299], True),  # 5e298 apart, though both are huge
        ([-9.5e299, -9e299], True),
    ],
)
def test_it_is_the_distance_of_the_ends_that_bins_may_overflow_by(column, shown):
    assert (of(column).histogram is not None) is shown


@pytest.mark.parametrize(
    ("column", "scale"),
    [
        ([10.0, 50.0], "linear"),  # 5 times, whatever the unit
        ([0.01, 0.05], "linear"),
        ([0.01, 1.0], "log"),  # 100 times
        ([100.0, 1e4], "log"),
        ([1.0, 20.0], "linear"),  # the threshold itself
        ([1.0, 20.5], "log"),
    ],
)
def test_a_histogram_is_logarithmic_beyond_a_factor_of_20_in_any_unit(column, scale):
    assert of(column).histogram.scale == scale


def test_a_level_that_falls_on_a_value_of_a_million_is_that_value():
    """k/(n − 1) · (n − 1) is k, of which float64 may be an ulp short or beyond."""
    n = 1_400_004
    wanted = np.arange(800_000, 1_300_000, 97)
    levels = wanted / (n - 1)
    assert (levels * (n - 1) != wanted).any()
    assert quantiles(np.arange(float(n)), levels) == wanted.tolist()


@pytest.mark.parametrize("p", [0.01, 0.5, 0.99])
def test_ranks_of_a_billion_take_a_few_megabytes_and_are_the_binomials(p):
    """Only ranks within some standard deviations √(n p (1 − p)) are looked at."""
    n = 10**9
    tracemalloc.start()
    low, high = order_ranks(n, p)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 24 * math.sqrt(n * p * (1 - p)) + 2**16
    law = stats.binom(n, p)
    assert low == pytest.approx(law.ppf(0.025) - 1, abs=2)
    assert high == pytest.approx(law.ppf(0.975), abs=2)


@pytest.mark.parametrize("size", [1e-250, 1.0, 1e250])
def test_the_interval_of_a_mean_is_that_of_its_values_in_any_unit(size):
    column = np.random.default_rng(4).gamma(3.0, size=400)
    low, high = interval_of([Stratum.of(np.sort(column))])
    found = of(size * column).intervals["mean"]
    assert found == pytest.approx((size * low, size * high), rel=1e-9)
    shifted = of(size * (column - 4.0)).intervals["mean"]
    assert shifted == pytest.approx((size * (low - 4), size * (high - 4)), rel=1e-9)


def test_the_interval_of_an_even_column_is_students():
    """Without skewness or tails nothing is to be corrected; Pareto adds a little."""
    column = np.linspace(-1, 1, 401)
    wanted = stats.t.interval(0.95, 400, 0.0, stats.sem(column))
    low, high = of(column).intervals["mean"]
    added = Stratum.of(column).tails[1].unseen(401)
    assert (low, high) == pytest.approx((wanted[0] - added, wanted[1] + added))
    assert 0 <= added < 0.1 * wanted[1]


def test_few_values_and_a_heavy_tail_have_no_interval_of_their_mean():
    assert of(np.arange(FEWEST_VALUES - 1.0)).intervals["mean"] is None
    assert of(np.arange(float(FEWEST_VALUES))).intervals["mean"] is not None
    heavy = stats.pareto(1.0).ppf((np.arange(500) + 0.5) / 500)
    assert of(heavy).intervals["mean"] is None


@pytest.mark.parametrize(
    ("column", "bins"),
    [
        ([0.0, 1e-300], 1),  # the threshold itself
        ([0.0, 1.2e-300], 24),
        ([1.0, 1 + 0.9e-9], 1),
        ([1.0, 1 + 1.2e-9], 24),
        ([-1e6 - 0.9e-3, -1e6], 1),
        ([-1e6 - 1.2e-3, -1e6], 24),
        ([-4.9e299, 4.9e299], 24),
    ],
)
def test_values_that_are_equal_to_nine_digits_share_one_bin(column, bins):
    found = of(column).histogram
    assert len(found.counts) == bins
    assert sum(found.counts) == 2


def test_ends_that_are_1e300_apart_have_no_bins():
    assert of([0.0, 1e300]).histogram is None
    assert of([-5.1e299, 5.1e299]).histogram is None


def test_a_mean_near_the_end_of_float64_has_no_interval_that_overflows():
    column = np.array([1.0e308, 1.79e308, 1.79e308] * 14)
    assert of(column).values["mean"] == pytest.approx(4.58e307 / 0.3)
    low, high = of(column).intervals["mean"]
    assert 1.0e308 < low < high < 1.79e308
    nothing = Tail(0.0, 0.0, 0.0)
    near = Stratum(40, 1.95, (0.1, 0.0, 0.03), (nothing, nothing))
    assert scaled_interval([near], 2.0**1022, 0.0) is not None
    assert scaled_interval([near], 2.0**1023, 0.0) is None
    assert scaled_interval([near], -(2.0**1023), 0.0) is None


@pytest.mark.parametrize(
    ("column", "mean", "std"),
    [
        ([math.inf], math.inf, None),  # one value has no deviation
        ([math.inf, 1.0], math.inf, math.inf),
        ([-math.inf, -math.inf], -math.inf, math.inf),
        ([math.inf, -math.inf], None, None),  # ∞ − ∞ is no mean
        ([3.0], 3.0, None),
    ],
)
def test_moments_that_do_not_exist_are_none(column, mean, std):
    found = of(column).values
    assert (found["mean"], found["std"]) == (mean, std)
