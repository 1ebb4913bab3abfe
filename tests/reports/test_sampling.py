"""Statistics from a checked sample: they are those of all inputs, and say how sure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.reports.quantities import PERCENTILES
from audit.reports.sampling import Sample, estimate, weighted_quantiles
from audit.reports.statistics import summarise
from audit.reports.values import Values
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


def test_the_bootstrap_within_strata_covers_the_mean():
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(150):
        exact, sample, column = drawn(rng)
        low, high = estimate(column, sample).intervals["mean"]
        inside.append(low <= exact.mean() <= high)
    assert np.mean(inside) >= 0.88


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
