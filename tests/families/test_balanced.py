"""Divergences that the nodes of one law alone do not see: those of both do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audit.families import implicit_means
from audit.families.balanced import Side, balanced
from audit.families.givers import Nodes
from audit.families.implicit import ImplicitFamily
from audit.families.implicit_values import implicit_reference
from audit.geometry.divergences import build_divergence
from audit.nodes.noise import Noise
from audit.nodes.space import real_space

MEAN, SD = 6.0, 0.5
APART = torch.tensor([[[MEAN, math.log(SD)], [0.1, 0.0]]], dtype=torch.float64)


class Following:
    """Equal steps over eight deviations of a normal law, weighted by its density."""

    name, fixed, follows, weighted = "grid", True, True, True

    def nodes(self, phi, noise):
        z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
        weights = torch.exp(-0.5 * z**2)
        theta = phi[:, 0] + torch.exp(phi[:, 1]) * z[:, None]
        weights = (weights / weights.sum())[:, None].expand(-1, len(phi))
        return Nodes(theta.unsqueeze(-1), weights)


FOLLOWING = Following()


def normal(theta, phi):
    e = (theta[:, 0] - phi[:, 0]) * torch.exp(-phi[:, 1])
    return -0.5 * e * e - phi[:, 1] - 0.5 * math.log(2 * math.pi)


def unnormalised(theta, phi):
    """Up to a number that moves with φ."""
    return normal(theta, phi) + 3 * phi[:, 0] - 1.5 * phi[:, 1]


def found(density, name, source=FOLLOWING):
    family = ImplicitFamily(2, real_space(1), density, None, None, source)
    phi, noise = torch.zeros(1, 2, dtype=torch.float64), Noise(0, np.arange(1), 8)
    laws = implicit_reference(build_divergence(name), family, phi, noise)
    return laws(torch.arange(1), APART)[0][0].tolist()


@pytest.mark.parametrize("density", [normal, unnormalised])
def test_a_law_beyond_the_nodes_is_at_a_finite_distance(density):
    """KL(N(0, 1) ‖ N(m, s²)) = ln s + (1 + m²) / 2s² − ½."""
    far = math.log(SD) + (1 + MEAN**2) / (2 * SD**2) - 0.5
    assert found(density, "kl") == [
        pytest.approx(far, rel=1e-9),
        pytest.approx(0.005, rel=1e-9),
    ]


def test_what_diverges_is_still_infinite():
    """∫ q²/q' of normal laws is finite only for s² > ½, wherever q' lies."""
    assert math.isinf(found(normal, "chi_squared")[0])


class Ended(Following):
    """The same, and a node without weight where no law has a density."""

    def nodes(self, phi, noise):
        known = super().nodes(phi, noise)
        beyond = torch.full_like(known.targets[:1], 200.0)
        theta = torch.cat([known.targets, beyond])
        return Nodes(theta, torch.nn.functional.pad(known.weights, (0, 0, 0, 1)))


def bounded(theta, phi):
    return torch.where(theta[:, 0] < 100, normal(theta, phi), -torch.inf)


def test_a_node_without_weight_adds_nothing_whatever_is_there():
    plain, ended = found(normal, "kl"), found(bounded, "kl", Ended())
    assert ended == pytest.approx(plain, rel=1e-12)
    values = torch.tensor([[2.0], [torch.inf]])
    nodes = Nodes(torch.zeros(2, 1, 1), torch.tensor([[1.0], [0.0]]))
    value, error = implicit_means.mean(values, nodes)
    assert (value.tolist(), error.tolist()) == ([2.0], [0.0])


@pytest.mark.parametrize("together", [1, 3 * 4001 * 2, 2**20])
def test_many_moved_laws_in_any_number_of_calls(monkeypatch, together):
    """KL(N(m, s²) ‖ N(m', s'²)) of rows that repeat, each with seven moved laws."""
    monkeypatch.setattr(implicit_means, "_TOGETHER", together)
    generator = torch.Generator().manual_seed(0)
    phi = 0.3 * torch.randn(3, 2, generator=generator, dtype=torch.float64)
    rows = torch.tensor([2, 0, 2])
    others = phi[rows].unsqueeze(1) + 0.2 * torch.randn(
        3, 7, 2, generator=generator, dtype=torch.float64
    )
    family = ImplicitFamily(2, real_space(1), normal, None, None, Following())
    laws = implicit_reference(
        build_divergence("kl"), family, phi, Noise(0, np.arange(3), 8)
    )
    values, errors = laws(rows, others)
    mean, log_sd = phi[rows].unsqueeze(1).unbind(-1)
    apart, grown = others[..., 0] - mean, others[..., 1] - log_sd
    ratio = (log_sd.exp().square() + apart**2) / (2 * others[..., 1].exp().square())
    exact = grown + ratio - 0.5  # but for what lies beyond eight deviations
    assert torch.allclose(values, exact, rtol=1e-5, atol=0)
    assert not errors.any()


def open_end(tail, value, rest, extra=0.0):
    """Return a balanced mean over two nodes: a tail's mass and value, and the rest's.

    Half of the mean is of either side, and the law's density is that of the other.
    """
    weights = torch.tensor([[tail], [1 - tail], [0.0]], dtype=torch.float64)
    nodes = Nodes(torch.zeros(3, 1, 1, dtype=torch.float64), weights)
    values = torch.tensor([[value], [rest], [extra]], dtype=torch.float64)
    side = Side(torch.zeros(3, 1, dtype=torch.float64), nodes)
    return float(balanced(lambda log_ratio: 2 * values, side, side))


@pytest.mark.parametrize(
    ("tail", "value", "rest", "infinite"),
    [
        (5e-7, 100.0, 0.0, False),  # as large as a hundred, and all there is
        (5e-7, 100.1, 0.0, True),
        (5e-7, -100.1, 0.0, True),
        (1.01e-6, 1e3, 0.0, False),  # more than a millionth of the mass
        (0.99e-6, 1e3, 0.0, True),
        (5e-7, 200.0, 0.0048, True),  # 1e-4 of 2 (0.0048 + 1e-4): more than 1 %
        (5e-7, 200.0, 0.0050, False),
        (5e-7, 200.0, -0.0050, False),
    ],
)
def test_an_integrand_is_infinite_that_grows_where_hardly_anything_is_left(
    tail, value, rest, infinite
):
    found = open_end(tail, value, rest)
    exact = 2 * (tail * value + (1 - tail) * rest)
    assert found == (math.inf if infinite else pytest.approx(exact, rel=1e-12))
    assert open_end(tail, value, rest, math.inf) == found


@pytest.mark.parametrize(
    ("tail", "value", "rest", "infinite"),
    [
        (1.01e-6, 1e3, 0.0, False),
        (0.99e-6, 1e3, 0.0, True),
        (5e-7, 2e4, 0.98, True),  # 0.01 of 0.98 + 0.01
        (5e-7, 2e4, 1.0, False),
        (5e-7, -2e4, 0.98, True),
        (5e-7, 2e4, -1.0, False),
    ],
)
def test_a_mean_is_infinite_of_which_the_last_millionth_has_a_hundredth(
    tail, value, rest, infinite
):
    weights = torch.tensor([[tail], [1 - tail], [0.0]], dtype=torch.float64)
    samples = torch.tensor([[value], [rest], [math.inf]], dtype=torch.float64)
    nodes = Nodes(torch.zeros(3, 1, 1, dtype=torch.float64), weights)
    found, error = implicit_means.mean(samples, nodes)
    exact = tail * value + (1 - tail) * rest
    assert float(found) == (math.inf if infinite else pytest.approx(exact, rel=1e-12))
    assert float(error) == 0


def test_a_hundredth_of_an_integral_is_not_more_than_a_hundredth():
    """In powers of two, so that shares are exact: 1 of 100, of one side or of two."""
    weights = torch.tensor([[2.0**-21], [1.0]], dtype=torch.float64)
    nodes = Nodes(torch.zeros(2, 1, 1, dtype=torch.float64), weights)
    side = Side(torch.zeros(2, 1, dtype=torch.float64), nodes)
    for rest, more in ((1.0, math.inf), (0.0, 0.0)):
        samples = torch.tensor([[2.0**21], [99.0 - rest]], dtype=torch.float64)
        known = more or 100.0
        assert float(implicit_means.mean(samples, nodes)[0]) == known
        samples[1] = 49.0 - rest
        values = 2 * samples
        assert float(balanced(lambda ratio, v=values: v, side, side)) == known
