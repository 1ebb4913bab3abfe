"""D by few nodes and anchors: the answers are those of D, held against formulas."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.verify.anchored import Anchored, anchored_crossings

V = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
ROWS = torch.tensor([0, 0])


class Ray:
    """D(r) = r² + r³/5 on the one side, r² − r³/5 on the other, times what is off."""

    def __init__(self, off=None, light=None):
        self.off, self.light, self.asked = off, light, 0
        self.site = SimpleNamespace()

    def __call__(self, rows, u):
        r = u[..., 0]
        value = r.square() + r**3 / 5
        if self.off is not None:
            value = value * self.off(r)
        else:
            self.asked += value.numel()
        return value, torch.zeros_like(value)


def pair(off):
    return Ray(light=Ray(off))


def crossed(exact, tau):
    rays, one = Anchored(exact, ROWS, V), torch.ones(2, dtype=torch.float64)
    return anchored_crossings(rays, math.sqrt(tau) * one, tau, one, torch.inf * one)


def test_the_least_radius_is_that_of_the_exact_values():
    """r² + r³/5 = 1/2 by numpy's roots; the side that is farther stays a guess."""
    exact = pair(lambda r: 1.01 + 0.01 * torch.sin(3 * r))
    root = np.roots([0.2, 1, 0, -0.5])
    true = float(root[(root.imag == 0) & (root.real > 0)].real[0])
    found = crossed(exact, 0.5)
    np.testing.assert_allclose(float(found[0]), true, rtol=1e-6)
    assert exact.asked <= 5
    assert found[1] > 1.02 * found[0]


def test_nothing_is_asked_beyond_what_is_of_interest():
    """Neither side reaches 1/2 below a tenth."""
    exact = pair(lambda r: torch.ones_like(r))
    rays, one = Anchored(exact, ROWS, V), torch.ones(2, dtype=torch.float64)
    found = anchored_crossings(rays, one, 0.5, one, one / 10)
    assert exact.asked == 0
    assert bool((found > 0.1).all())


def test_where_few_nodes_say_something_else_all_values_are_exact():
    exact = pair(lambda r: torch.where(r.abs() > 0.3, 0.4, 1.0))
    root = np.roots([0.2, 1, 0, -0.5])
    true = float(root[(root.imag == 0) & (root.real > 0)].real[0])
    np.testing.assert_allclose(float(crossed(exact, 0.5)[0]), true, rtol=1e-6)
    assert exact.asked > 6


class Edge(Ray):
    """The same, and ∞ from r = 1/2 on, on one side alone."""

    def __init__(self, side, light):
        super().__init__(light=light)
        self.side = side

    def __call__(self, rows, u):
        value, error = super().__call__(rows, u)
        return value.masked_fill(self.side * u[..., 0] >= 0.5, torch.inf), error


@pytest.mark.parametrize("side", [1, -1])
def test_a_jump_that_few_nodes_do_not_see_is_found(side):
    """D is ∞ there: it crosses every level above D(1/2), on whichever side it is."""
    found = crossed(Edge(side, Ray(lambda r: torch.ones_like(r))), 3.0)
    np.testing.assert_allclose(float(found.amin()), 0.5, rtol=1e-6)
