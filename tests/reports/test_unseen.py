"""Intervals of percentiles whose tail the drawn inputs have hardly seen."""

from statistics import NormalDist

import numpy as np
import pytest

from audit.reports.sampling import estimate
from audit.reports.unseen import reaching
from audit.reports.values import Values
from audit.verify.sample import draw_sample

SAMPLES = 150


def missed(total, relation, p, sign):
    """Return how often the true percentile lies beyond the outer end, of how many.

    Values are e^(± z) with z normal, and z is that far related to what ranks inputs.
    """
    rng, name = np.random.default_rng(11), f"p{round(100 * p):02d}"
    truth = np.exp(NormalDist().inv_cdf(p))
    given = beyond = 0
    for seed in range(SAMPLES):
        rank, own = rng.standard_normal((2, total))
        values = np.exp(sign * (relation * rank + np.sqrt(1 - relation**2) * own))
        sample = draw_sample(np.exp(rank), 64, seed)
        looked = np.full(total, np.nan)
        looked[sample.places] = values[sample.places]
        interval = estimate(Values.of(looked), sample).intervals[name]
        if interval is not None:
            given += 1
            beyond += truth > interval[1] if sign > 0 else truth < interval[0]
    return beyond, given


@pytest.mark.parametrize(
    ("total", "relation", "p", "sign"),
    [
        (500, 0.7, 0.99, 1),
        (150, 0.5, 0.05, -1),
        pytest.param(500, 0.7, 0.01, -1, marks=pytest.mark.slow),
        pytest.param(500, 0.9, 0.99, 1, marks=pytest.mark.slow),
        pytest.param(500, 0.9, 0.95, 1, marks=pytest.mark.slow),
        pytest.param(150, 0.5, 0.95, 1, marks=pytest.mark.slow),
    ],
)
def test_the_outer_end_holds_whatever_the_order_is_worth(total, relation, p, sign):
    """Resamples alone missed 17 to 30 of 100; radii have their tail below."""
    beyond, given = missed(total, relation, p, sign)
    assert given > 10
    assert beyond <= 0.025 * given + 3 * np.sqrt(0.025 * given)


def test_a_good_order_keeps_its_interval():
    beyond, given = missed(150, 0.97, 0.95, 1)
    assert given > 0.95 * SAMPLES
    assert beyond <= 0.025 * given + 3 * np.sqrt(0.025 * given)


def test_a_median_a_whole_sample_and_a_plain_one_stay_as_they_are():
    values, near = np.arange(1.0, 65.0), (3.0, 5.0)
    some = np.where(values > 32, 1.0, 10.0)
    assert reaching(near, values, some, 0.5) == near
    assert reaching(near, values, np.ones(64), 0.95) == near
    assert reaching(near, values, np.full(64, 4.0), 0.95) == near


def test_few_draws_and_infinite_ones_tell_nothing():
    values = np.arange(1.0, 65.0)
    few = np.where(values > 60, 1.0, 50.0)
    few[:52] = 1.0
    assert reaching((3.0, 5.0), values, few, 0.95) is None
    lost = np.r_[np.arange(1.0, 33.0), np.full(32, np.inf)]
    weights = np.r_[np.ones(32), np.full(32, 10.0)]
    assert reaching((3.0, np.inf), lost, weights, 0.95) == (3.0, np.inf)
