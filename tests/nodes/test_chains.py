"""Markov chains against laws whose moments are known."""

import sys

import numpy as np
import pytest
import torch

from audit.ground.errors import ConfigError
from audit.nodes.chains import _mixing, nuts_draws
from audit.nodes.noise import Noise
from audit.nodes.space import parse_space, real_space

COVARIANCE = torch.tensor(
    [[1.0, 0.9, 0.3], [0.9, 2.0, 0.1], [0.3, 0.1, 0.5]], dtype=torch.float64
)
PRECISION = torch.linalg.inv(COVARIANCE)
NOTHING = torch.zeros(1, 1, dtype=torch.float64)


def noise(draws, *index, seed=3):
    return Noise(seed, np.array(index or (0,)), draws)


def normal(theta, phi):
    z = theta - phi
    return -0.5 * torch.einsum("ri,ij,rj->r", z, PRECISION, z)


def within(values, expected, deviation, ess, errors=4.0):
    """Whether a mean is as near as `ess` independent draws would bring it."""
    return abs(values.mean() - expected) < errors * deviation / ess**0.5


@pytest.fixture(
    scope="module",
    params=[(300, 120), pytest.param((600, 150), marks=pytest.mark.slow)],
    ids=["300 draws", "600 draws"],
)
def correlated(request):
    draws, warmup = request.param
    phi = torch.tensor([[5.0, -300.0, 0.1]], dtype=torch.float64)
    before = torch.random.get_rng_state()
    chains = nuts_draws(normal, phi, real_space(3), noise(draws), warmup=warmup)
    assert torch.equal(before, torch.random.get_rng_state())
    assert chains.targets.shape == (draws, 1, 3)
    return chains


def test_means_and_variances_of_a_correlated_normal(correlated):
    draws = len(correlated.targets)
    assert correlated.rhat[0] < 1.05
    assert correlated.divergences.tolist() == [0]
    ess = min(float(draws), correlated.ess[0].item())
    assert ess > 100
    z = correlated.targets[:, 0] - torch.tensor([5.0, -300.0, 0.1])
    for i in range(3):
        variance = COVARIANCE[i, i].item()
        assert within(z[:, i], 0.0, variance**0.5, ess)
        assert within(z[:, i] ** 2, variance, variance * 2**0.5, ess)
    assert within(z[:, 0] * z[:, 1], 0.9, (2.0 + 0.81) ** 0.5, ess)


@pytest.mark.slow
def test_a_positive_coordinate_and_a_choice_given_the_others():
    def law(theta, phi):
        rate = theta[:, 0]
        gamma = 2 * rate.log() - 2 * rate  # concentration 3, rate 2
        near = -0.5 * (theta[:, 2] - theta[:, 1]) ** 2
        odds = torch.where(theta[:, 1] > 0, 0.3, 0.7).log()
        return gamma + near + odds - 0.5 * theta[:, 3] ** 2

    space = parse_space("rate:positive,side:{-1,1},x:real*2")
    chains = nuts_draws(law, NOTHING, space, noise(600), warmup=150)
    theta, ess = chains.targets[:, 0], min(600.0, chains.ess[0].item())
    assert chains.rhat[0] < 1.05
    assert (theta[:, 0] > 0).all()
    assert set(theta[:, 1].tolist()) == {-1.0, 1.0}
    assert within(theta[:, 0], 1.5, 0.75**0.5, ess)
    # the kurtosis of a gamma is 3 + 6 / concentration = 5
    assert within((theta[:, 0] - 1.5) ** 2, 0.75, 0.75 * (5 - 1) ** 0.5, ess)
    assert within(theta[:, 1], -0.4, (1 - 0.16) ** 0.5, ess)
    assert within(theta[:, 2] * theta[:, 1], 1.0, 1.0, ess)


def test_chains_in_two_modes_that_do_not_mix_are_seen():
    def law(theta, phi):
        distance = [((theta - side).square()).sum(1) for side in (-10.0, 10.0)]
        return torch.logaddexp(-0.5 * distance[0], -0.5 * distance[1])

    chains = nuts_draws(law, NOTHING, real_space(3), noise(200, 1), warmup=60)
    assert chains.rhat[0] > 1.1
    assert chains.ess[0] < 40
    sides = chains.targets[:, 0, 0].sign().reshape(4, -1)  # one chain after another
    assert (sides == sides[:, :1]).all()


def test_draws_depend_on_seed_and_index_alone():
    phi = torch.zeros(2, 3, dtype=torch.float64)

    def draws(seed, *index):
        rows = phi[: len(index)]
        settings = {"warmup": 20, "chains": 2}
        found = nuts_draws(
            normal, rows, real_space(3), noise(16, *index, seed=seed), **settings
        )
        return found.targets

    both = draws(3, 4, 7)
    assert torch.equal(both[:, 1], draws(3, 7)[:, 0])
    assert not torch.equal(both[:, 0], both[:, 1])
    assert not torch.equal(draws(5, 7), draws(3, 7))


def test_a_model_in_float32_is_sampled_too():
    def law(theta, phi):
        return -0.5 * (theta.float() - 1.0).square().sum(1)

    chains = nuts_draws(law, NOTHING, real_space(3), noise(100), warmup=50)
    assert chains.targets.dtype == torch.float64
    assert chains.rhat[0] < 1.1


def test_without_pyro_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyro", None)
    with pytest.raises(ConfigError) as caught:
        nuts_draws(normal, NOTHING, real_space(3), noise(8))
    assert "3 continuous coordinates" in caught.value.given
    assert "Pyro is not installed" in caught.value.expected
    assert "pip install 'robaudit[mcmc]'" in caught.value.next_step


def test_a_discrete_target_needs_no_chain():
    with pytest.raises(ConfigError) as caught:
        nuts_draws(normal, NOTHING, parse_space("side:{-1,1}"), noise(8))
    assert "discrete coordinates only" in caught.value.given
    assert "summed over exactly" in caught.value.next_step


def test_the_bar_stays_silent(capfd):
    phi = torch.zeros(1, 3, dtype=torch.float64)
    nuts_draws(normal, phi, real_space(3), noise(16), warmup=10, chains=2)
    out = capfd.readouterr()
    assert not out.out
    assert not out.err


@pytest.mark.parametrize("chain", ["still", "alternating", "apart", "noise", "missing"])
def test_diagnostics_of_bad_chains_are_in_range(chain):
    stats = pytest.importorskip("pyro.ops.stats")
    generator = torch.Generator().manual_seed(2)
    u = torch.randn(4, 8, 2, generator=generator, dtype=torch.float64)
    if chain == "still":
        u = torch.ones_like(u)
    if chain == "alternating":
        u = 1e-3 * u + torch.tensor([1.0, -1.0]).repeat(4)[:, None]
    if chain == "apart":
        u = 1e-3 * u + torch.arange(4.0)[:, None, None]
    if chain == "missing":
        u[2, 3, 0] = torch.nan
    rhat, ess = _mixing(stats, u, 32)
    assert 1 <= ess <= 32
    assert not rhat.isnan()
    if chain in ("still", "missing"):
        assert torch.isinf(rhat)
    if chain == "apart":
        assert rhat > 1.1
