"""Statistics from a checked sample: they are those of all inputs, and say how sure."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.ground.means import Stratum, bulk, mean_interval
from audit.reports.quantities import PERCENTILES
from audit.reports.resampling import ends, redrawn
from audit.reports.sampling import LEAST, Sample, estimate, stratified_interval
from audit.reports.statistics import summarise
from audit.reports.values import Values
from audit.reports.weighted import weighted_quantiles
from audit.verify import draw_sample

LEVELS = list(PERCENTILES.values())
columns = arrays(float, st.integers(1, 40), elements=st.floats(-1e6, 1e6))


@settings(max_examples=60, deadline=None)
@given(columns)
def test_equal_weights_give_ordinary_quantiles(column):
    found = weighted_quantiles(np.sort(column), np.full((1, len(column)), 3.0), LEVELS)
    np.testing.assert_allclose(found[0], np.quantile(column, LEVELS), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(columns, st.data())
def test_what_has_no_weight_takes_no_part(column, data):
    weights = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(column), max_size=len(column)))
    ).astype(float)
    if not weights.any():
        return
    ordered = np.argsort(column)
    found = weighted_quantiles(column[ordered], weights[ordered][None], LEVELS)
    kept = np.quantile(column[weights > 0], LEVELS)
    np.testing.assert_allclose(found[0], kept, atol=1e-6)


def test_a_whole_sample_is_summarised_as_any_column():
    column = Values.of(np.random.default_rng(0).lognormal(size=50))
    whole = Sample(np.arange(50), np.ones(50), np.zeros(50, int))
    assert estimate(column, whole) == summarise(column)


def drawn(rng, n=1000, count=64):
    """Draw a population, the sample that a scan would check, and its column."""
    predicted = rng.lognormal(size=n)
    exact = predicted * np.exp(0.3 * rng.normal(size=n))
    sample = draw_sample(predicted, count, int(rng.integers(2**31)))
    numbers = np.full(n, np.nan)
    numbers[sample.places] = exact[sample.places]
    why = {"not checked": np.ones(n, bool)}
    return exact, sample, Values.of(numbers, None, why)


def test_the_mean_of_a_sample_is_that_of_all_inputs_without_bias():
    rng = np.random.default_rng(1)
    apart, plain = [], []
    for _ in range(300):
        exact, sample, column = drawn(rng)
        apart.append(estimate(column, sample).values["mean"] - exact.mean())
        plain.append(column.numbers[sample.places].mean() - exact.mean())
    error = np.std(apart) / np.sqrt(len(apart))
    assert abs(np.mean(apart)) < 4 * error
    assert np.mean(plain) > 20 * error  # a mean over the worst is not that of all


POPULATIONS = {
    "lognormal": (lambda rng, n: rng.lognormal(size=n), 0.3, math.exp(0.545)),
    "exponential": (lambda rng, n: rng.exponential(size=n), 0.1, math.exp(0.005)),
    "pareto": (lambda rng, n: 1 + rng.pareto(3, n), 0.3, 1.5 * math.exp(0.045)),
    "narrow": (lambda rng, n: rng.lognormal(sigma=0.5, size=n), 0.5, math.exp(0.25)),
    "unforeseen": (lambda rng, n: rng.random(n), 1.0, math.exp(0.5) / 2),
}


@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("law", POPULATIONS)
def test_the_interval_of_a_sampled_mean_holds_that_of_all_inputs_and_the_law_s(law, n):
    """What is predicted, and exact values around it; both means are to be held."""
    draw, noise, truth = POPULATIONS[law]
    rng, missed, samples = np.random.default_rng(n), np.zeros((2, 2)), 400
    for _ in range(samples):
        predicted = draw(rng, n)
        exact = predicted * np.exp(noise * rng.normal(size=n))
        sample = draw_sample(predicted, 64, int(rng.integers(2**31)))
        order = np.argsort(exact[sample.places])
        places = sample.take(order)
        found = stratified_interval(exact[places.places], places)
        for row, mean in enumerate((truth, exact.mean())):
            low, high = found or (-math.inf, math.inf)
            missed[row] += (high < mean, low > mean)
    assert (missed / samples).max() <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / samples)


def test_the_interval_of_a_sampled_mean_adds_what_is_between_the_strata():
    """Two phases: Σ W² s²/n and Σ W b²/N, the cumulants alike, in 30 inputs each."""
    worst, rest = np.linspace(3, 4, 40), np.linspace(0, 1, 40) ** 2
    values, weights = np.r_[rest, worst], np.repeat([9.0, 1.0], 40)
    sample = Sample(np.arange(80), weights, np.repeat([1, 0], 40))
    low, high = stratified_interval(values, sample)
    groups, shares, total = (rest, worst), (0.9, 0.1), 400
    mean = sum(w * v.mean() for v, w in zip(groups, shares, strict=True))
    errors = [w**2 * v.var(ddof=1) / 40 for v, w in zip(groups, shares, strict=True)]
    between = sum(
        w * (v.mean() - mean) ** 2 for v, w in zip(groups, shares, strict=True)
    )
    error = math.sqrt(sum(errors) + between / total)
    assert low < mean - 1.5 * error < mean + 1.5 * error < high
    alone = math.sqrt(sum(errors))
    assert error > 1.3 * alone
    fence = bulk(
        weighted_quantiles(values / 2, weights[None], [0.0, 0.25, 0.75, 1.0])[0]
    )
    apart = [Stratum.of(v / 2, fence, w) for v, w in zip(groups, shares, strict=True)]
    wanted = mean_interval(apart, inputs=400)
    assert (low, high) == pytest.approx((2 * wanted[0], 2 * wanted[1]))
    narrower = mean_interval(apart)
    assert narrower[1] - narrower[0] < 0.8 * (wanted[1] - wanted[0])


@pytest.mark.parametrize(("fewer", "known"), [(0, True), (1, False)])
def test_a_sampled_mean_needs_24_values_of_each_stratum(fewer, known):
    assert LEAST == 24
    values, weights = np.linspace(1, 2, 48 - fewer), np.repeat([2.0, 1.0], [24, 24])
    strata = np.repeat([1, 0], 24)
    sample = Sample(np.arange(48), weights, strata).take(np.arange(fewer, 48))
    assert (stratified_interval(values, sample) is not None) is known


def test_a_percentile_that_the_sample_does_not_resolve_has_no_interval():
    rng = np.random.default_rng(3)
    _, sample, column = drawn(rng, n=10_000)
    found = estimate(column, sample)
    assert found.intervals["p50"] is not None
    assert found.intervals["p01"] is None  # one input stands for 300, 100 are beyond


def test_infinite_values_of_a_sample_stand_for_others_too():
    sample = Sample(np.array([0, 1, 2, 3]), np.full(4, 25.0), np.ones(4, int))
    numbers = np.array([1.0, 2.0, np.inf, np.nan] + [np.nan] * 96)
    found = estimate(Values.of(numbers), sample)
    assert (found.n, found.n_infinite, found.n_not_measured) == (3, 1, 97)
    assert found.values["mean"] == np.inf
    assert found.values["max"] == np.inf
    assert found.values["p50"] == 2.0


@pytest.mark.parametrize("count", [1, 2, 7, 64, 200])
@pytest.mark.parametrize("n", [1, 5, 64, 1000])
def test_the_weights_of_a_sample_add_up_to_all_inputs(n, count):
    sensitivity = np.random.default_rng(n).lognormal(size=n)
    sample = draw_sample(sensitivity, count, 0)
    assert sample.weights.sum() == pytest.approx(n)
    assert len(sample.places) == min(n, count) == len(set(sample.places))
    worst = set(np.argsort(-sensitivity)[: count // 2]) if count < n else set()
    assert worst <= set(sample.places)
    assert (sample.weights[sample.strata == 0] == 1).all()


def test_infinite_and_resting_inputs_are_not_among_the_worst():
    sensitivity = np.array([np.inf] * 80 + [0.0] * 10 + [1.0, 2.0, 3.0] + [0.5] * 7)
    sample = draw_sample(sensitivity, 6, 0)
    assert {90, 91, 92} <= set(sample.places[sample.strata == 0])
    assert sample.weights.sum() == pytest.approx(100)


def test_unequal_weights_place_values_at_the_middle_of_what_they_stand_for():
    """t_i = (C_i − w_i/2 − w_1/2) / (C_k − w_k/2 − w_1/2), linear in between."""
    rng = np.random.default_rng(4)
    values, weights = np.sort(rng.normal(size=9)), rng.uniform(0.2, 5, size=9)
    above = [sum(weights[:i]) + weights[i] / 2 - weights[0] / 2 for i in range(9)]
    wanted = np.interp(LEVELS, np.array(above) / above[-1], values)
    found = weighted_quantiles(values, weights[None], LEVELS)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-12)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [3.0, 1.0, 2.0]])
def test_a_level_that_falls_on_a_value_is_that_value_whatever_comes_next(weights):
    """Levels 0 and 1 are the ends; a finite value before ∞ stays what it is."""
    values, weights = np.array([1.0, 2.0, np.inf]), np.array(weights)
    middle = (weights[0] + weights[1]) / 2
    level = middle / (middle + (weights[1] + weights[2]) / 2)
    found = weighted_quantiles(values, weights[None], [0.0, level, 1.0])
    assert found[0].tolist() == [1.0, 2.0, np.inf]
    found = weighted_quantiles(np.array([1.0, 2.0, 4.0]), weights[None], [0.0, 1.0])
    assert found[0].tolist() == [1.0, 4.0]


def sample_of(values, weights):
    """Return a column and a sample of one stratum that knows these values of it."""
    k, n = len(values), round(sum(weights))
    numbers = np.full(n, np.nan)
    numbers[:k] = values
    sample = Sample(np.arange(k), np.array(weights, float), np.ones(k, int))
    return Values.of(numbers, None, {"not checked": np.ones(n, bool)}), sample


def test_two_inputs_of_a_stratum_tell_neither_mean_nor_median():
    """Drawn twice, both are the smaller, or the larger, once in four.

    Between two values lies the median once in two, and no interval says so.
    """
    found = estimate(*sample_of([1.0, 3.0], [3.0, 3.0])).intervals
    assert found["mean"] is None
    assert found["p50"] is None


@pytest.mark.parametrize("p", [0.01, 0.05, 0.5])
def test_a_percentile_needs_as_many_draws_as_hardly_miss_its_tail(p):
    """All of n draws miss a tail of the share p with the probability (1 − p)ⁿ."""
    least = int(np.ceil(np.log(0.025) / np.log(1 - p)))
    names = {0.01: ("p01", "p99"), 0.05: ("p05", "p95"), 0.5: ("p50",)}[p]
    for count in (least, least - 1):
        found = estimate(*sample_of(np.arange(count), [3.0] * count)).intervals
        for name in names:
            assert (found[name] is not None) is (count == least)


@pytest.mark.parametrize("count", [2, 5, 6])
def test_values_of_one_each_among_others_that_have_none_are_a_sample_themselves(count):
    """All of them lie on one side of a median with the probability 2⁻ⁿ."""
    numbers = np.full(10, np.nan)
    numbers[:count] = np.arange(count)
    weights = np.r_[np.ones(count), np.full(2, (10 - count) / 2)]
    strata = np.r_[np.zeros(count, int), 1, 1]
    sample = Sample(np.arange(count + 2), weights, strata)
    found = estimate(Values.of(numbers, None, {"-": np.ones(10, bool)}), sample)
    assert (found.intervals["p50"] is not None) is (0.5**count <= 0.025)
    assert found.intervals["p95"] is None


def test_a_tail_of_the_worst_alone_is_seen_however_few_the_others_are():
    """32 of 500 are the worst, all of which are known, and 25 lie beyond p95."""
    values = np.arange(500.0)
    places = np.r_[0:468:15, 468:500]
    weights = np.r_[np.full(32, 468 / 32), np.ones(32)]
    numbers = np.full(500, np.nan)
    numbers[places] = values[places]
    sample = Sample(places, weights, np.r_[np.ones(32, int), np.zeros(32, int)])
    found = estimate(Values.of(numbers, None, {"-": np.ones(500, bool)}), sample)
    low, high = found.intervals["p95"]
    assert low <= np.quantile(values, 0.95) <= high
    assert found.intervals["p05"] is None


@pytest.mark.parametrize("n", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_an_interval_of_a_percentile_that_is_claimed_covers_it(n):
    rng = np.random.default_rng(6)
    claimed = covered = 0
    for _ in range(100):
        exact, sample, column = drawn(rng, n=n)
        for name, p in PERCENTILES.items():
            found = estimate(column, sample).intervals[name]
            if found is not None:
                claimed += 1
                covered += found[0] <= np.quantile(exact, p) <= found[1]
    assert claimed >= 100
    assert covered / claimed >= 0.93


@pytest.mark.parametrize("heavy", [0, 5, 11])
def test_what_stands_for_more_than_half_leaves_the_median_open_wherever_it_lies(heavy):
    values, weights = np.arange(12.0), np.full(12, 2.0)
    weights[heavy] = 24
    assert estimate(*sample_of(values, weights)).intervals["p50"] is None
    weights[heavy] = 22  # exactly half
    assert estimate(*sample_of(values, weights)).intervals["p50"] is not None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_value_that_stands_for_all_is_every_quantile(place):
    """The others have the weight zero and take no part, whatever they are."""
    values = np.array([-np.inf, 1.5, np.inf])
    values[place] = 1.5
    values.sort()
    weights = np.zeros((1, 3))
    weights[0, list(values).index(1.5)] = 5.0
    found = weighted_quantiles(values, weights, [0.0, 0.3, 1.0])
    assert found.tolist() == [[1.5, 1.5, 1.5]]


def test_a_percentile_interval_leaves_as_many_resamples_on_either_side():
    assert ends(np.arange(201.0)[::-1]) == (5.0, 195.0)
    assert ends(np.arange(41.0)) == (1.0, 39.0)


def test_resamples_of_many_inputs_are_drawn_a_few_at_a_time():
    """16 MiB of float64 at a time at most, however many inputs were checked."""
    k = 60_000
    drawn = next(redrawn(np.full(k, 2.0), np.zeros(k, int)))
    assert drawn.nbytes <= 2**24
    assert (drawn.sum(axis=1) == 2 * k).all()


@pytest.mark.parametrize(("alone", "known"), [(True, False), (False, True)])
def test_one_input_that_stands_for_all_others_leaves_no_interval(alone, known):
    """Of 100 the 40 worst, and one for 60, whose spread is anybody's guess."""
    exact = np.linspace(1, 2, 100)
    places = np.r_[[30] if alone else np.arange(0, 60, 2), np.arange(60, 100)]
    rest = len(places) - 40
    sample = Sample(
        places, np.repeat([60 / rest, 1.0], [rest, 40]), np.repeat([1, 0], [rest, 40])
    )
    numbers = np.full(100, np.nan)
    numbers[places] = exact[places]
    why = {"not checked": np.ones(100, bool)}
    found = estimate(Values.of(numbers, None, why), sample)
    assert found.values["mean"] is not None
    assert (found.intervals["mean"] is not None) is known
    assert any(found.intervals.values()) is known


def test_one_input_that_stands_for_itself_hides_no_spread():
    """It is the worst of 61, and the others tell the median."""
    numbers = np.r_[9.0, np.linspace(1, 2, 30), np.full(30, np.nan)]
    weights, strata = np.repeat([1.0, 2.0], [1, 30]), np.repeat([0, 1], [1, 30])
    why = {"not checked": np.ones(61, bool)}
    sample = Sample(np.arange(31), weights, strata)
    low, high = estimate(Values.of(numbers, None, why), sample).intervals["p50"]
    assert low < 1.5 < high


@pytest.mark.parametrize("weights", [[3.0] * 6, [1.0, 4.0, 2.0, 2.0, 7.0, 1.0]])
def test_mean_and_deviation_are_those_of_each_value_as_often_as_it_stands_for(weights):
    values = np.array([0.5, 1.0, 1.5, 4.0, 4.5, 30.0])
    found = estimate(*sample_of(values, weights)).values
    everybody = np.repeat(values, np.array(weights, int))
    assert found["mean"] == pytest.approx(everybody.mean(), rel=1e-13)
    assert found["std"] == pytest.approx(everybody.std(ddof=1), rel=1e-13)
    assert (found["min"], found["max"]) == (0.5, 30.0)


@pytest.mark.parametrize(("k", "count"), [(10_000, 999), (10_001, 199)])
def test_ten_thousand_inputs_are_resampled_999_times_and_more_of_them_199_times(
    k, count
):
    strata = np.zeros(k, int)
    strata[: k // 4] = 1
    drawn = list(redrawn(np.where(strata == 1, 1.0, 3.0), strata))
    assert sum(len(one) for one in drawn) == count
    total = k // 4 + 3 * (k - k // 4)
    np.testing.assert_allclose(drawn[0].sum(axis=1), total, rtol=1e-12)
    one = drawn[0][0, strata == 0]  # whole numbers of one weight
    times = one / one[one > 0].min()
    np.testing.assert_allclose(times, np.rint(times), atol=1e-9)


def test_other_inputs_have_other_numbers_of_inputs_in_each_stratum():
    """How many of N lie in one of the share π is binomial: variance N π (1 − π)."""
    strata = np.repeat([0, 1], [32, 32])
    weights = np.repeat([1.0, 8.0], [32, 32])  # of N = 288
    drawn = np.concatenate(list(redrawn(weights, strata)))
    sizes = drawn[:, strata == 0].sum(axis=1)
    spread = math.sqrt(288 * (1 / 9) * (8 / 9))
    assert sizes.mean() == pytest.approx(32, abs=4 * spread / math.sqrt(999))
    assert sizes.std() == pytest.approx(spread, rel=4 / math.sqrt(2 * 999))
    np.testing.assert_allclose(drawn.sum(axis=1), 288, rtol=1e-12)


def test_a_percentile_of_a_sample_holds_the_law_s_also_among_the_worst():
    """The p95 of 500 lies among the worst 32, which are another 32 each time.

    As many in every resample, they gave an interval that held the law's in .6.
    """
    rng, truth, claimed, held = np.random.default_rng(8), math.exp(1.6448536), 0, 0
    for _ in range(120):
        exact = rng.lognormal(size=500)
        sample = draw_sample(exact, 64, int(rng.integers(2**31)))
        numbers = np.full(500, np.nan)
        numbers[sample.places] = exact[sample.places]
        column = Values.of(numbers, None, {"not checked": np.ones(500, bool)})
        found = estimate(column, sample).intervals["p95"]
        claimed += found is not None
        held += found is not None and found[0] <= truth <= found[1]
    assert claimed == 120
    assert held >= 104  # 95 % less four standard errors


def test_a_sample_tells_no_percentile_that_all_inputs_would_not_tell():
    """The p99 of 367 inputs may be beyond all: .99³⁶⁷ > .025."""
    for n in (367, 368):
        values = np.arange(float(n))
        places = np.r_[0 : n - 32 : 10, n - 32 : n]
        few = len(places) - 32
        weights = np.r_[np.full(few, (n - 32) / few), np.ones(32)]
        numbers = np.full(n, np.nan)
        numbers[places] = values[places]
        sample = Sample(places, weights, np.repeat([1, 0], [few, 32]))
        column = Values.of(numbers, None, {"not checked": np.ones(n, bool)})
        found = estimate(column, sample).intervals["p99"]
        assert (found is not None) is (0.99**n <= 0.025)


@pytest.mark.parametrize("off", [0.9e-9, -0.9e-9])
def test_levels_closer_than_a_billionth_are_one(off):
    values, weights = np.array([1.0, 2.0, np.inf]), np.full((1, 3), 2.0)
    found = weighted_quantiles(values, weights, [0.5 + off, 0.5 + off * 4 / 3])[0]
    assert found[0] == 2.0
    assert found[1] != 2.0


@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        ([3.0], 3.0, None),  # one value has no deviation, however many it stands for
        ([1.0, np.inf, np.inf], np.inf, np.inf),
        ([-np.inf, 1.0, np.inf], None, None),
    ],
)
def test_weighted_moments_that_do_not_exist_are_none(values, mean, std):
    found = estimate(*sample_of(values, [5.0] * len(values)))
    assert (found.values["mean"], found.values["std"]) == (mean, std)
    assert found.intervals["mean"] is None


@pytest.mark.parametrize("count", [7, 8])
@pytest.mark.parametrize("few", [10, 10**6])
def test_a_sample_has_as_many_inputs_as_asked_for_and_stands_for_all(
    count, few, monkeypatch
):
    """Half are the worst; of many inputs too, whose rest is not listed."""
    monkeypatch.setattr("audit.verify.sample.FEW", few)
    sensitivity = np.random.default_rng(0).random(40)
    sample = draw_sample(sensitivity, count, 0)
    assert len(set(sample.places.tolist())) == count
    assert float(sample.weights.sum()) == pytest.approx(40)
    worst = sorted(np.argsort(-sensitivity)[: count // 2].tolist())
    assert sample.places[sample.strata == 0].tolist() == worst
