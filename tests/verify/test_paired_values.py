"""Means over values of few digits, corrected by some of float64: unbiased, or not used.

|δ|² + s |δ|⁴ has a mean in closed form, and what stands for it here is off by numbers
that are known.
"""

import dataclasses

import numpy as np
import pytest
import torch
from linalg.intervals.laws import held
from scans import sample

from audit.attacks.laws import Gaussian
from audit.linalg.intervals.means import Interval
from audit.linalg.intervals.pilots import LEVELS, PILOT
from audit.linalg.spectrum import Estimate
from audit.nodes.noise import Noise
from audit.verify.attacks import realised
from audit.verify.exact import Exact, exact_at
from audit.verify.paired_values import CLOSE, Evaluated, Walk
from audit.verify.random_attacks import Beside, attack_mean
from audit.verify.rough import rough
from verify.sited import sited

SIGMA, SCALE, COUNT = 0.3, 40.0, 300
SECOND, FOURTH = 4 * SIGMA**2, 24 * SIGMA**4  # of |δ| for four features
TRUTH = SECOND + SCALE * FOURTH


class Values:
    """|δ|² + s |δ|⁴ and what it is off by, counting how many were asked for."""

    def __init__(self, off=None):
        self.off, self.asked = off, 0

    def __call__(self, rows, delta):
        self.asked += delta.shape[0] * delta.shape[1]
        form = delta.square().sum(dim=2)
        values = form + SCALE * form.square()
        if self.off is not None:
            values = values + self.off(rows, delta, values)
        return Evaluated(values, torch.zeros_like(values), form)


def wobble(size):
    """Return errors that nothing is to be learned of, alike for both of a pair."""

    def off(rows, delta, values):
        return size * TRUTH * torch.cos(1e6 * delta.sum(dim=2))

    return off


def mean_by(rough=None, exact=None, count=COUNT):
    noise = Noise(3, np.arange(count), 8)
    predicted = Estimate(torch.full((count,), SECOND).double(), None)
    exact = exact or Values()
    given = Gaussian(SIGMA), noise, 4, predicted, 0.1, exact
    return attack_mean(*given, Beside(rough=rough, finite=True)).interval


def same(one, other, rtol):
    for name in ("value", "lower", "upper", "standard_error"):
        pair = getattr(one, name), getattr(other, name)
        torch.testing.assert_close(*pair, rtol=rtol, atol=0)


def test_what_all_values_are_off_by_is_taken_away():
    """A number of each input's own, as large as its mean."""
    quick, exact = Values(lambda rows, *_: shift[rows].unsqueeze(1)), Values()
    shift = torch.linspace(-TRUTH, TRUTH, COUNT).double()
    same(mean_by(quick, exact), mean_by(), 1e-12)
    assert quick.asked > exact.asked


@pytest.mark.parametrize("size", [1e-7, 1e-5])
def test_the_mean_of_rough_values_is_that_of_the_law(size):
    exact, quick, whole = Values(), Values(wobble(size)), Values()
    found, alone = mean_by(quick, exact), mean_by(exact=whole)
    assert quick.asked > 2 * exact.asked
    first = COUNT * 2 * (PILOT + LEVELS[0])
    assert exact.asked <= first < whole.asked
    assert held((found.lower, found.upper), TRUTH) >= 0.92
    off = (found.value / alone.value - 1).abs()
    assert 0 < off.max() < 3 * size
    assert bool((found.upper - found.lower > (alone.upper - alone.lower) * 0.999).all())


def test_the_error_of_the_correction_is_in_the_interval():
    """Of cos numbers, whose mean square is ½ and whose mean is next to nothing."""
    walk = Walk(Values(), Values(wobble(5e-5)), torch.full((COUNT,), LEVELS[-1]))
    rows, weights = torch.arange(COUNT), torch.ones(COUNT, LEVELS[0]).double()
    torch.manual_seed(0)
    half = SIGMA * torch.randn(2, COUNT, LEVELS[0], 4).double()
    first, then = torch.cat([half, -half], dim=2)
    walk(rows, first, weights, 0)
    found, exact = walk(rows, then, weights, LEVELS[0]), Values()(rows, then)
    off = found[0] - exact.paired(weights)[0]
    shift = (off - walk.rough.off(rows, then, exact.values)[:, : LEVELS[0]]).mean(dim=1)
    nothing = torch.zeros(COUNT).double()
    mean = walk.widened(Interval(shift, shift, shift, nothing))
    expected = 5e-5 * TRUTH / (2 * LEVELS[0]) ** 0.5
    assert 1.0 < mean.standard_error.mean() / expected < 1.1
    assert held((mean.lower, mean.upper), 0.0) >= 0.92


@pytest.mark.parametrize("size", [1e-2, float("nan"), float("inf")])
def test_values_that_are_off_by_more_than_rounding_are_not_used(size):
    exact, alone = Values(), Values()
    found = mean_by(Values(wobble(size)), exact)
    same(found, mean_by(exact=alone), 0)
    assert exact.asked == alone.asked


def test_what_is_no_number_in_few_digits_is_one_in_float64():
    def overflows(rows, delta, values):
        return torch.where(values > 6 * TRUTH, torch.inf, 0.0)

    quick = Values(overflows)
    found = mean_by(quick, exact := Values())
    same(found, mean_by(exact=(whole := Values())), 1e-9)
    assert exact.asked < whole.asked


def test_few_pairs_are_not_walked_twice():
    quick = Values()
    walk = Walk(Values(), quick, torch.full((COUNT,), LEVELS[0]))
    rows, drawn = torch.arange(4), torch.ones(4, 6, 4).double()
    found = walk(rows, drawn, torch.ones(4, 3).double(), 0)
    assert quick.asked == 0
    assert found.shape == (4, 4, 3)


def test_a_random_attack_on_digits_takes_few_values_of_float64(monkeypatch):
    both, local, prepared = sited(sample("digits_cnn", divergences=("kl",)), 8)
    alone = dataclasses.replace(both.site, coarse=None)
    fine = exact_at(prepared.questions.divergences[0], alone)
    attack = Gaussian(0.1)
    asked, against = [], Exact._part

    def counted(self, rows, u):
        asked.append(u.shape[0] * u.shape[1])
        return against(self, rows, u)

    monkeypatch.setattr(Exact, "_part", counted)
    expected = realised(attack, local.expected(attack), fine, local)
    whole = sum(asked)
    asked.clear()
    found = realised(attack, local.expected(attack), both, local)
    assert sum(asked) < whole / 3
    same(found.total, expected.total, 2e-5)
    assert rough(both).site.model.network.dtype == torch.float32
    assert rough(fine) is None
    assert CLOSE <= 1e-4
