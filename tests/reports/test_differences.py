"""Intervals of paired differences: how often they hold, and what they are made of."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from audit.ground import means
from audit.reports import compare
from audit.reports.changes import Change, change_of, most_moved
from audit.reports.differences import (
    difference_interval,
    differences,
    relative_interval,
)

LAWS = {
    "gamma": lambda rng, n: rng.gamma(2, 1, n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "negative": lambda rng, n: -rng.gamma(2, 1, n),
}
MEANS = {"gamma": 2.0, "lognormal": np.exp(0.5), "negative": -2.0}


def pairs(law, seed, n):
    """Return old values and new ones that are 1.1 times as large on average."""
    rng = np.random.default_rng(seed)
    old = LAWS[law](rng, n)
    return old, old * 1.1 * rng.gamma(4, 0.25, n)


def from_the_ground(values):
    return means.mean_interval([means.Stratum.of(np.sort(values))])


@pytest.mark.sweep(2)
@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize("law", LAWS)
def test_each_end_misses_in_about_a_fortieth_of_samples(law, n):
    """At most as often as 1 of 1,000 binomial counts with 3 of 100 does."""
    weights, missed = np.ones(n), np.zeros(4, int)
    truth = 0.1 * MEANS[law], 0.1 * np.sign(MEANS[law])
    for seed in range(400):
        old, new = pairs(law, seed, n)
        found = difference_interval(new - old, weights)
        share = relative_interval(old, new, weights)
        for place, (ends, true) in enumerate(zip((found, share), truth, strict=True)):
            if ends is not None:
                missed[2 * place] += ends[0] > true
                missed[2 * place + 1] += ends[1] < true
    assert missed.max() <= stats.binom.ppf(0.999, 400, 0.03)


@pytest.mark.parametrize("law", LAWS)
def test_differences_have_the_interval_of_a_mean(law):
    old, new = pairs(law, 1, 200)
    found = difference_interval(new - old, np.ones(200))
    assert found == pytest.approx(from_the_ground(new - old), rel=1e-12)


def test_differences_of_one_sign_may_yet_have_a_mean_of_the_other():
    """Of sensitivities none is negative; of differences it is only not seen."""
    apart = np.random.default_rng(502).gamma(0.2, 1, 32)
    assert apart.min() > 0
    low, _ = from_the_ground(apart)
    assert low < 0
    assert difference_interval(apart, np.ones(32))[0] == pytest.approx(low, rel=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_at_an_end_of_the_share_what_is_left_may_just_be_zero(law):
    old, new = pairs(law, 2, 250)
    low, high = relative_interval(old, new, np.ones(250))
    assert low < (new.sum() - old.sum()) / abs(old.sum()) < high
    for share, side in ((low, 0), (high, 1)):
        left = new - old - share * np.sign(MEANS[law]) * old
        assert from_the_ground(left)[side] == pytest.approx(0, abs=1e-8)


def test_of_old_values_that_are_all_the_same_it_is_the_difference_s():
    new = pairs("gamma", 3, 100)[1]
    share = relative_interval(np.full(100, 4.0), new, np.ones(100))
    assert np.array(share) * 4 == pytest.approx(from_the_ground(new - 4.0), rel=1e-8)


def test_strata_have_their_own_spread():
    """What stands for one input and what stands for forty are parted."""
    rng = np.random.default_rng(4)
    apart = np.concatenate([rng.gamma(2, 1, 50) + 5, rng.gamma(2, 1, 40)])
    weights = np.repeat([1.0, 40.0], [50, 40])
    low, high = difference_interval(apart, weights)
    middle = weights @ apart / weights.sum()
    assert low < middle < high
    alone = from_the_ground(apart[50:])  # of 1,600 inputs of 1,650
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.1)
    assert difference_interval(apart[:70], weights[:70]) is None  # 20 of them


def test_what_changed_nowhere_or_by_one_share_is_sure():
    old, ones = pairs("lognormal", 5, 90)[0], np.ones(90)
    assert difference_interval(np.zeros(3), np.ones(3)) == (0.0, 0.0)
    low, high = relative_interval(old, 1.12 * old, ones)
    assert (low, high) == pytest.approx((0.12, 0.12), rel=1e-12)


def test_one_infinite_difference_makes_the_mean_infinite():
    apart = np.array([1.0, np.inf, 2.0])
    assert difference_interval(apart, np.ones(3)) == (np.inf, np.inf)
    assert difference_interval(-apart, np.ones(3)) == (-np.inf, -np.inf)
    both = np.array([np.inf, -np.inf, 2.0])
    assert difference_interval(both, np.ones(3)) is None


def test_there_is_none_of_few_pairs_long_tails_and_an_old_mean_that_may_be_zero():
    old, new = pairs("gamma", 6, 31)
    assert difference_interval(new - old, np.ones(31)) is None
    assert relative_interval(old, new, np.ones(31)) is None
    long = np.random.default_rng(7).pareto(0.8, 400)
    assert difference_interval(long, np.ones(400)) is None
    rng = np.random.default_rng(8)
    about_zero, other = rng.normal(size=(2, 100))
    assert abs(about_zero.mean()) < 0.1
    assert relative_interval(about_zero, other, np.ones(100)) is None
    assert relative_interval(np.zeros(100), other, np.ones(100)) is None


def test_inputs_that_moved_most_are_those_of_the_largest_factors_up_or_down():
    """By 8, 1/2, 1/10, 1 and 3; one that was zero has no factor."""
    before = np.array([1.0, 100.0, 10.0, 1.0, 0.0, 5.0])
    after = np.array([8.0, 50.0, 1.0, 1.0, 3.0, 15.0])
    found = most_moved(np.arange(10, 16), before, after)
    assert [(one.index, one.old, one.new) for one in found] == [
        (12, 10.0, 1.0),
        (10, 1.0, 8.0),
        (15, 5.0, 15.0),
        (11, 100.0, 50.0),
    ]


@pytest.mark.parametrize(
    ("ends", "share", "sign"),
    [
        ((0.0, 1.0), None, "~"),
        ((1e-300, 1.0), None, "+"),
        ((-1.0, 0.0), None, "~"),
        ((-1.0, -1e-300), (0.1, 0.2), "-"),
        ((-1.0, 1.0), (0.1, 0.2), "~"),
        ((-np.inf, np.inf), (0.1, 0.2), "+"),
        ((-np.inf, np.inf), (-0.2, -0.1), "-"),
        ((-np.inf, np.inf), None, "~"),
    ],
)
def test_a_change_has_a_sign_where_its_interval_excludes_zero(ends, share, sign):
    """That of its share of the old mean, where it has none itself."""
    found = Change("kl", "trace", "nats", 9, 1.0, 1.0, 0.0, *ends, share)
    assert found.sign == sign


@pytest.mark.parametrize(("seeds", "draws"), [((0, 0), (64, 64)), ((0, 1), (64, 64))])
@pytest.mark.parametrize("more", [0, 64])
def test_reports_share_their_noise_by_seed_and_draws(seeds, draws, more, monkeypatch):
    def report(seed, count, estimator="monte_carlo"):
        one = SimpleNamespace(estimator=estimator, draws=count)
        return SimpleNamespace(ranked=["kl"], divergences={"kl": one}, seed=seed)

    monkeypatch.setattr(compare, "value_of", lambda one, _: one.seed)
    old, new = report(seeds[0], draws[0]), report(seeds[1], draws[1] + more)
    (said,) = compare._randomness(old, new)
    shared = seeds[0] == seeds[1] and not more
    assert ("most of the noise cancels" in said) is shared
    assert ("other random numbers" in said) is not shared
    assert ("bias changes with the draws" in said) is bool(more)
    exact = report(0, None, "exact")
    assert compare._randomness(exact, new) == compare._randomness(new, exact) == []


@pytest.mark.parametrize("off", [3e-16, 1e-15])
def test_what_differs_by_rounding_alone_has_not_changed(off):
    """One of four values is a rounding off: no change, and nothing that moved."""
    before = np.array([1.3, 0.7, 2.1, np.inf])
    after = before * np.array([1, 1 + off, 1, 1])
    assert not differences(before, after).any()
    assert most_moved(np.arange(4), before, after) == []
    assert relative_interval(before[:3], after[:3], np.ones(3)) == (0.0, 0.0)
    changed = change_of(("kl", "critical_radius"), "", before, after)
    assert (changed.difference, changed.sign) == (0.0, "~")


def test_what_is_small_and_more_than_rounding_has_changed():
    before = np.array([1.3, 0.7, 2.1])
    after = before * (1 + np.array([0, 1e-11, 0]))
    np.testing.assert_allclose(
        differences(before, after), [0, 0.7e-11, 0], rtol=1e-4, atol=0
    )
    assert differences(np.array([0.0, np.inf]), np.array([1e-300, 1.0])).tolist() == [
        1e-300,
        -np.inf,
    ]
