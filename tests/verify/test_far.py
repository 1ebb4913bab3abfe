"""Means over a normal attack that are infinite by what no sample of it meets."""

import math

import numpy as np
import pytest
import torch

from audit.attacks.laws import Gaussian, Moments, RandomDirection
from audit.families import build_family
from audit.geometry.divergences import DIVERGENCES, build_divergence
from audit.linalg.spectrum import Estimate
from audit.nodes.noise import Noise
from audit.verify.paired_values import Evaluated
from audit.verify.random_attacks import Beside, attack_mean

COUNT = 400
WRITTEN = (
    *sorted(set(DIVERGENCES) - {"renyi"}),
    "renyi:alpha=0.5",
    "renyi:alpha=2",
)


def realised(attack, evaluate, size, mean, **settings):
    predicted = Estimate(torch.full((COUNT,), mean, dtype=torch.float64))
    noise = Noise(4, np.arange(COUNT), 8)
    return attack_mean(
        attack, noise, size, predicted, 0.1, evaluate, Beside(**settings)
    )


def chi_squared_of_scales(rows, delta):
    """χ²(N(0, 1) ‖ N(0, e^{2s})), s = δ₁: with v = e^{2s}, v/√(2v − 1) − 1; else ∞."""
    v = torch.exp(2 * delta[..., 0])
    root = (2 * v - 1).clamp_min(1e-300).sqrt()
    values = torch.where(v > 0.5, v / root - 1, math.inf)
    form = 2 * delta[..., 0].square()
    return Evaluated(values, 0 * form, form)


@pytest.mark.parametrize("sigmas", [3.0, 3.5, 4.0, 5.0])
@pytest.mark.parametrize("size", [1, 20])
def test_a_tail_of_infinite_values_makes_the_mean_infinite(sigmas, size):
    """s < −log(2)/2 has the probability Φ(−k), 2.9e-7 at five σ: E[D] = ∞."""
    sigma = math.log(2) / 2 / sigmas
    found = realised(Gaussian(sigma), chi_squared_of_scales, size, 2 * sigma**2)
    assert torch.isinf(found.interval.value).double().mean() > 0.95
    assert torch.equal(torch.isinf(found.interval.value), found.interval.value > 1)


def test_of_a_law_with_moments_too():
    sigma = math.log(2) / 2 / 4
    attack = Moments(np.array([0.01, 0.0]), np.diag([sigma, 1.0]))
    found = realised(attack, chi_squared_of_scales, 2, 2 * sigma**2)
    assert torch.isinf(found.interval.value).double().mean() > 0.95


def test_a_bounded_law_is_not_looked_beyond():
    """Norms of at most 0.3 keep v above e^{−0.6} > 1/2: the mean is a number."""
    found = realised(RandomDirection(0.3), chi_squared_of_scales, 2, 0.03)
    assert torch.isfinite(found.interval.value).all()


def test_what_nobody_meets_is_no_infinity():
    """At thirty σ, of a probability of 5e-198, is where D is ∞."""
    sigma = math.log(2) / 60
    found = realised(Gaussian(sigma), chi_squared_of_scales, 1, 2 * sigma**2)
    assert torch.isfinite(found.interval.value).all()


def test_what_has_no_chance_counts_as_nothing():
    """Eleven σ from where D is ∞: 2e-28. One in a hundred is found all the same."""
    sigma = math.log(2) / 22
    found = realised(Gaussian(sigma), chi_squared_of_scales, 1, 2 * sigma**2)
    assert torch.isfinite(found.interval.value).double().mean() > 0.95


def test_a_number_too_large_is_no_infinity():
    """D = e^{|δ|²} − 1 overflows six times as far out; E[D] = (1 − 2σ²)^{−d/2} − 1."""
    sigma, size, overflown = 0.35, 200, []

    def evaluate(rows, delta):
        form = delta.square().sum(dim=2)
        values = torch.expm1(form)
        overflown.append(bool(torch.isinf(values).any()))
        return Evaluated(values, 0 * form, form)

    assert (1 - 2 * sigma**2) ** (-size / 2) - 1 == pytest.approx(1.604e12, rel=1e-3)
    found = realised(Gaussian(sigma), evaluate, size, size * sigma**2)
    assert any(overflown)
    assert torch.isfinite(found.interval.value).all()


def test_a_divergence_that_is_always_a_number_is_not_followed_so_far():
    asked = []

    def evaluate(rows, delta):
        asked.append(float(delta.abs().max()))
        form = delta.square().sum(dim=2)
        return Evaluated(form, 0 * form, form)

    realised(Gaussian(0.1), evaluate, 2, 0.02, finite=True)
    assert max(asked) < 0.1 * 6


@pytest.mark.parametrize("name", WRITTEN)
def test_divergences_are_finite_where_they_say_so(name):
    """Of normal laws χ² and Rényi of order 2 are ∞ at half the variance or less."""
    divergence = build_divergence(name)
    family = build_family("normal", {"loc": (), "scale": ()})
    laws = torch.tensor([[0.0, 1.0], [3.0, 9.0], [-2.0, 0.1]], dtype=torch.float64)
    here, there = laws.repeat_interleave(3, dim=0), laws.repeat(3, 1)
    found = divergence.exact(family, here, there)
    assert found is not None
    assert bool(torch.isinf(found).any()) == (name in ("chi_squared", "renyi:alpha=2"))
    assert not (divergence.finite and bool(torch.isinf(found).any()))
