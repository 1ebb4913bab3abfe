"""Densities on a plane by few of their nodes, held against the KL of normal laws."""

import math

import numpy as np
import pytest
import torch

from audit.families.implicit import ImplicitFamily
from audit.geometry.divergences import kl
from audit.models.implicit.sources import FromGrid
from audit.nodes.noise import Noise
from audit.nodes.space import real_space

PLANE = real_space(2)
HERE = torch.tensor([[0.3, -0.2, 0.0], [1.0, 2.0, 0.5]], dtype=torch.float64)
ROWS = torch.arange(2)


def log_q(theta, phi):
    """log of N((a, b), diag(1, e^{2c})), φ = (a, b, c), with a slope between both."""
    z = theta - phi[:, :2]
    z = torch.stack([z[:, 0], (z[:, 1] - 0.8 * z[:, 0]) * torch.exp(-phi[:, 2])], 1)
    return -z.square().sum(1) / 2 - phi[:, 2] - math.log(2 * math.pi)


def other_by(constant):
    return lambda theta, phi: log_q(theta, phi) + constant + phi[:, 0]


def true_kl(phi, other):
    """½ (tr S + |m|² − 2 − log det S) in the moved law's own coordinates."""
    move, ratio = other[..., :2] - phi[..., :2], torch.exp(phi - other)[..., 2]
    across = (move[..., 1] - 0.8 * move[..., 0]) * torch.exp(-other[..., 2])
    inside = move[..., 0] ** 2 + across**2 + ratio**2 - 1
    return inside / 2 - ratio.log()


def family_of(function, unnormalised=False):
    source = FromGrid(function, PLANE)
    return ImplicitFamily(
        3, PLANE, function, None, None, source, unnormalised=unnormalised
    )


def laws_at(function=log_q, unnormalised=False):
    noise = Noise(0, np.array([4, 9]), 16)
    return family_of(function, unnormalised).reference(kl(), HERE, noise)


def moved(count, size=0.5):
    step = np.random.default_rng(1).standard_normal((2, count, 3))
    return HERE.unsqueeze(1) + size * torch.from_numpy(step)


def test_values_by_new_nodes_each_have_no_bias_and_the_error_that_is_told():
    laws, one = laws_at().lighter(64, True), moved(1)
    values, errors = laws(ROWS, one.expand(-1, 600, -1))
    off = values.mean(dim=1) - true_kl(HERE, one[:, 0])
    spread = values.std(dim=1)
    assert bool((off.abs() < 5 * spread / 600**0.5).all())
    told = errors.square().mean(dim=1).sqrt()
    assert bool(((told > 0.95 * spread) & (told < 1.6 * spread)).all())


def test_the_same_nodes_for_all_are_near_and_smooth():
    laws, others = laws_at().lighter(1024, False), moved(50)
    values, errors = laws(ROWS, others)
    true = true_kl(HERE.unsqueeze(1), others)
    assert bool(((values - true).abs() < 6 * errors).all())
    assert float((values / true - 1).abs().median()) < 0.03
    again, _ = laws(ROWS, others + 1e-6)
    assert bool(((again - values).abs() < 1e-3 * errors).all())


def test_nodes_of_an_input_do_not_depend_on_its_neighbours():
    others = moved(5)
    both, _ = laws_at().lighter(64, True)(ROWS, others)
    laws = family_of(log_q).reference(kl(), HERE[1:], Noise(0, np.array([9]), 16))
    alone, _ = laws.lighter(64, True)(ROWS[:1], others[1:])
    np.testing.assert_allclose(both[1:], alone, rtol=1e-9)


def test_laws_known_up_to_a_number_are_compared_as_they_are():
    laws, others = laws_at(other_by(3.0), True).lighter(1024, False), moved(20)
    values, errors = laws(ROWS, others)
    off = (values - true_kl(HERE.unsqueeze(1), others)).abs()
    assert bool((off < 6 * errors + 0.02 * values).all())


@pytest.mark.parametrize("distance", [8.0, 30.0])
def test_a_law_that_no_node_sees_costs_its_logarithm(distance):
    laws = laws_at().lighter(256, False)
    other = HERE + torch.tensor([0.0, distance, 0.0], dtype=torch.float64)
    values, _ = laws(ROWS, other.unsqueeze(1))
    true = true_kl(HERE, other)
    np.testing.assert_allclose(values[:, 0], true, rtol=0.02)


def test_a_moved_law_is_drawn_where_its_own_one_lives():
    """Means and masses of both, of which only the first is searched for."""
    family, index = family_of(log_q), np.array([4, 4])
    pair = torch.stack([HERE[0], HERE[0] + 0.4])
    searched = []
    counted = family.source.nodes
    object.__setattr__(
        family.source,
        "log_density",
        lambda theta, phi: searched.append(len(theta)) or log_q(theta, phi),
    )
    counted(pair[:1], Noise(0, index[:1], 16))
    first = sum(searched)
    found = family.drawn(pair, Noise(0, index, 16))
    assert sum(searched) - first < first
    means = (found.weights.unsqueeze(2) * found.targets).sum(0)
    np.testing.assert_allclose(means, pair[:, :2], atol=1e-4)
    np.testing.assert_allclose(found.weights.sum(0), 1, rtol=1e-9)


def test_log_q_comes_with_the_nodes_of_a_plane_also_beside_those_of_a_moved_law():
    family = family_of(log_q)
    both = torch.cat([HERE[:1], HERE[:1] + 0.1])
    drawn = family.drawn(both, Noise(0, np.array([4, 4]), 16))
    there = drawn.weights > 0
    known = family.log_prob(drawn.targets, both)
    np.testing.assert_allclose(drawn.log_density[there], known[there], atol=1e-12)
