"""Densities with kinks along curves: nodes and errors against exact integrals."""

import math

import torch
from scipy import integrate

from audit.families.computed import MANY, ComputedFamily
from audit.families.givers import Nodes
from audit.families.summed_scores import summed_scores
from audit.nodes.grid import grid_nodes
from audit.nodes.kinks import roughness
from audit.nodes.space import real_space

PLANE = real_space(2)


def ringed(theta, phi):
    """exp(−r²/2 − |r − c|), unnormalised: a kink on a circle of radius c."""
    r = theta.square().sum(-1).sqrt()
    return -0.5 * r.square() - (r - phi[:, 0]).abs()


def test_a_kink_on_a_circle_costs_few_nodes_and_its_error_is_honest():
    phi = torch.tensor([[1.0], [1.7]], dtype=torch.float64)
    nodes = grid_nodes(ringed, phi, PLANE)
    for row, radius in enumerate(phi[:, 0].tolist()):

        def density(r, radius=radius):
            return 2 * math.pi * r * math.exp(-0.5 * r * r - abs(r - radius))

        pieces = ((0, radius), (radius, 12))
        exact = sum(integrate.quad(density, a, b, epsrel=1e-12)[0] for a, b in pieces)
        off = abs(nodes.normalisation[row].item() / exact - 1)
        assert off <= nodes.error[row].item() <= 1e-3
    assert len(nodes.targets) < 120_000


def test_only_gaps_that_stay_are_rough():
    gap = torch.tensor([[1e-3, 1e-3, 1e-1]], dtype=torch.float64)
    halves = torch.tensor([[4e-4, 1e-6, 4e-2]], dtype=torch.float64)
    mass, before = torch.ones_like(gap), torch.ones_like(gap, dtype=torch.int64)
    found = roughness(gap.log(), mass.log(), before, halves.log().repeat(1, 2))
    assert found.tolist() == [[2, 0, 0, 2, 0, 0]]  # stays; falls; sees nothing yet


def test_the_triangle_of_scores_is_their_covariance():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(700, 2, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(700, 2, generator=generator, dtype=torch.float64)
    weights[600:, 1] = 0.0
    weights /= weights.sum(0)
    phi = torch.randn(2, 3, generator=generator, dtype=torch.float64)

    def log_q(theta, phi):
        linear = phi[:, 0] * theta[:, 0] + phi[:, 1] * theta[:, 1].sin()
        return linear + phi[:, 2] * theta.prod(-1)

    family = ComputedFamily(3, PLANE, log_q, None, None, None)
    root, mean = summed_scores(family, Nodes(targets, weights), phi)
    scores = torch.stack(
        [targets[..., 0], targets[..., 1].sin(), targets.prod(-1)], dim=-1
    )
    expected = torch.einsum("sn,sni->ni", weights, scores)
    assert torch.allclose(mean, expected, atol=1e-14)
    centred = scores - expected
    covariance = torch.einsum("sn,sni,snj->nij", weights, centred, centred)
    assert torch.allclose(root.mT @ root, covariance, rtol=1e-12, atol=1e-14)


def test_scores_of_few_nodes_are_kept():
    class Few:
        weighted, follows = True, True

        def count(self, draws):
            return MANY

    family = ComputedFamily(1, PLANE, None, None, None, Few())
    assert not family.sums_scores
