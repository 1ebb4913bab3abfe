"""Ridges that bend: followed to their top, and told where they were not."""

import math

import pytest
import torch

from audit.nodes import grid_nodes
from audit.nodes.ridges import follow
from audit.nodes.space import parse_space
from tests.nodes.hard_densities import banana

PLANE = parse_space("t:real*2")


def moved(shift, scale):
    """Return log q of a banana moved and shrunk: its mass is 1."""

    def log_density(theta, _):
        return banana((theta - shift) / scale) - 2 * math.log(scale)

    return log_density


def measured(log_density, of):
    nodes = grid_nodes(log_density, torch.zeros(1, 1, dtype=torch.float64), PLANE)
    mean = (nodes.weights[:, 0] * of(nodes.targets[:, 0])).sum()
    return float(nodes.normalisation), float(nodes.error), float(mean)


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("shift", "scale"),
    [(0.0, 1e-3), (0.0, 1e3), (1.0, 1e-2), (10.0, 0.01), (10.0, 1.0), (1000.0, 1.0)],
)
def test_a_banana_far_from_the_origin_is_as_good_as_at_it(shift, scale):
    mass, error, mean = measured(
        moved(shift, scale), lambda theta: (theta[:, 1] - shift) / scale
    )
    assert mass == pytest.approx(1, abs=2e-5)  # ∫ q
    assert mean == pytest.approx(1, abs=1e-4)  # E θ₂ = E θ₁² = 1
    assert error < 1e-4
    assert abs(mass - 1) < 10 * error


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1e-3), (3.0, 1e-2), (1e3, 1e-3)])
def test_a_banana_that_is_not_found_is_said_not_to_be(shift, scale):
    mass, error, _ = measured(moved(shift, scale), lambda theta: theta[:, 1])
    assert abs(mass - 1) < 10 * error
    assert (error < 1e-4) == (abs(mass - 1) < 1e-4)


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("width", "bend"), [(0.1, 3.0), (0.02, 3.0), (0.003, 1.0)])
def test_thinner_and_steeper_bananas_are_never_silently_wrong(width, bend):
    """Down to legs of σ/100: what is thinner is not seen, as `probe` says."""

    def log_density(theta, _):
        x, y = theta.unbind(-1)
        return -0.5 * x**2 - 0.5 * ((y - bend * x**2) / width) ** 2

    mass, error, _ = measured(log_density, lambda theta: theta[:, 1])
    assert abs(mass / (2 * math.pi * width) - 1) < 10 * error


def test_the_top_of_a_ridge_is_reached_from_its_ends():
    def field(u):  # [M, K, 2]
        x, y = u.unbind(-1)
        return -0.5 * x**2 - 200 * (y - x**2) ** 2

    start = torch.tensor([[[4.0, 16.0], [-7.0, 49.0], [0.0, 0.0]]]).double()
    at, height = follow(field, start, 0.01 * torch.ones_like(start))
    assert height.abs().max() < 1e-3  # the top is 0, at the origin
    assert torch.equal(at[0, 2], start[0, 2])
    alone, _ = follow(field, start[:, :1], 0.01 * torch.ones_like(start[:, :1]))
    assert torch.equal(alone[0, 0], at[0, 0])  # where one ends depends on no other


def test_a_start_beyond_a_support_stays():
    def field(u):
        return torch.where(u.amin(-1) > 0, -u.sum(-1), -torch.inf)

    start = torch.tensor([[[-1.0, -1.0], [1.0, 1.0]]]).double()
    at, height = follow(field, start, torch.ones_like(start))
    assert torch.equal(at[0, 0], start[0, 0])
    assert height[0, 0] == -torch.inf
    assert height[0, 1] >= -2
