"""Exact values of densities on a grid whose moved laws live elsewhere, too."""

import math

import numpy as np
import pytest
import torch

from audit.families.implicit import ImplicitFamily
from audit.geometry.divergences import kl
from audit.models.implicit.sources import FromGrid
from audit.nodes.noise import Noise
from audit.nodes.space import real_space

LINE = real_space(1)


class Counted:
    """log q of (1 − w) N(m, s²) + w N(m + 30, s²), φ = (m, s, w), and its rows."""

    def __init__(self):
        self.rows = 0

    def __call__(self, theta, phi):
        self.rows += len(theta)
        m, s, w = phi.unbind(-1)
        z, far = (theta[:, 0] - m) / s, (theta[:, 0] - m - 30) / s
        parts = [torch.log1p(-w) - z.square() / 2, w.log() - far.square() / 2]
        return torch.logaddexp(*parts) - s.log() - math.log(2 * math.pi) / 2


def laws_at(log_q, phi, unnormalised=False):
    source = FromGrid(log_q, LINE)
    family = ImplicitFamily(
        3, LINE, log_q, None, None, source, unnormalised=unnormalised
    )
    return family.reference(kl(), phi, Noise(0, np.arange(len(phi)), 16))


def table(*rows):
    return torch.tensor(rows, dtype=torch.float64)


FIRST = table((0, 1, 1e-14), (5, 0.5, 1e-14))


@pytest.mark.parametrize("share", [1e-3, 0.01, 0.3])
def test_a_mode_that_appears_elsewhere_costs_its_mass(share):
    laws = laws_at(Counted(), FIRST)
    moved = table((0, 1, share), (5, 0.5, share)).unsqueeze(1)
    found, _ = laws(torch.arange(2), moved)
    assert found[:, 0].tolist() == pytest.approx([-math.log1p(-share)] * 2, rel=1e-8)


@pytest.mark.parametrize("scale", [3.0, 30.0])
def test_a_wider_law_is_looked_for_where_the_first_one_lives(scale):
    log_q = Counted()
    laws = laws_at(log_q, FIRST[:1])
    searched, log_q.rows = log_q.rows, 0
    found, _ = laws(torch.zeros(1, dtype=torch.long), table((0, scale, 1e-300))[None])
    wanted = math.log(scale) + 1 / (2 * scale**2) - 1 / 2
    assert found.item() == pytest.approx(wanted, rel=1e-9)
    assert log_q.rows < searched / 2


def test_near_laws_are_compared_on_the_nodes_of_the_first():
    log_q = Counted()
    laws = laws_at(log_q, FIRST)
    nodes, log_q.rows = laws.here.numel(), 0
    found, _ = laws(torch.arange(2), table((0.1, 1, 1e-14), (5.1, 0.5, 1e-14))[:, None])
    assert found[:, 0].tolist() == pytest.approx([0.005, 0.02], rel=1e-9)
    assert log_q.rows == nodes


def test_a_law_that_is_off_by_a_constant_is_none_that_lacks_mass():
    log_q = Counted()

    def scaled(theta, phi):
        return log_q(theta, phi) + 0.1 + 0.2 * phi[:, 0]

    laws = laws_at(scaled, FIRST[:1])
    nodes, log_q.rows = laws.here.numel(), 0
    found, _ = laws(torch.zeros(1, dtype=torch.long), table((-0.1, 1, 1e-14))[None])
    assert found.item() == pytest.approx(0.005, rel=1e-9)
    assert log_q.rows == nodes
