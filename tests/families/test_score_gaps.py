"""Fisher informations on grids: what is said of their error, against exact values."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from audit.families import computed, score_gaps, summed_scores
from audit.families.implicit import ImplicitFamily
from audit.families.tensors import Tensors
from audit.models.implicit.sources import FromGrid
from audit.nodes import Noise
from audit.nodes.space import parse_space, real_space


def root_of(log_q, phi, space):
    source = FromGrid(log_q, space)
    family = ImplicitFamily(phi.shape[1], space, log_q, None, None, source)
    return family.root(Tensors.FISHER, phi, Noise(0, np.arange(len(phi)), 8))


def holds(log_q, phi, truth, space, least=0.0):
    """Assert that F's own errors are no more than is said; return what is."""
    root = root_of(log_q, phi, space)
    found = root.entries.mT @ root.entries
    trace = truth.diagonal(dim1=-2, dim2=-1).sum(-1)
    apart = torch.linalg.eigvalsh(found - truth).abs().sum(-1) / trace
    said = root.checks["quadrature_error"]
    assert (apart <= said + least).all()
    assert (root.checks["normalisation_error"] <= said).all()
    return apart, said


def turned(angle, theta):
    c, s = math.cos(angle), math.sin(angle)
    x, y = theta.unbind(-1)
    return c * x + s * y, c * y - s * x


def test_a_score_that_jumps_on_a_circle():
    def ringed(theta, phi):
        r = theta.square().sum(-1).sqrt()
        return -0.5 * r.square() - (r - phi[:, 0]).abs()

    radii = torch.linspace(0.3, 2.1, 7, dtype=torch.float64).unsqueeze(-1)
    truth = []
    for c in radii[:, 0].tolist():

        def density(r, c=c):
            return r * math.exp(-0.5 * r * r - abs(r - c))

        inside, outside = (
            integrate.quad(density, a, b, epsrel=1e-12)[0] for a, b in ((0, c), (c, 14))
        )
        mean = (outside - inside) / (outside + inside)
        truth.append([[1 - mean**2]])
    apart, said = holds(ringed, radii, torch.tensor(truth).double(), real_space(2))
    root = root_of(ringed, radii, real_space(2))
    of_mass = root.checks["normalisation_error"]
    assert (apart > of_mass).any()  # so Z's error does not tell
    assert (said < 0.1).all()


@pytest.mark.parametrize("angle", [0.0, 0.1, 0.4636, 1.1])
def test_a_score_that_jumps_on_a_line(angle):
    """exp(−(u² + v²)/2 − 3 (u − a)₊): F = 9 P(u > a) P(u ≤ a), at any angle."""

    def hinge(theta, phi):
        u, v = turned(angle, theta)
        return -(v * v + u * u) / 2 - 3 * torch.relu(u - phi[:, 0])

    places = torch.tensor([[-0.37], [0.2], [0.61], [1.1]], dtype=torch.float64)
    truth = []
    for a in places[:, 0].tolist():

        def density(u, a=a):
            return math.exp(-u * u / 2 - 3 * max(u - a, 0))

        left, right = (
            integrate.quad(density, *ends, epsrel=1e-12)[0]
            for ends in ((-13, a), (a, a + 13))
        )
        truth.append([[9 * left * right / (left + right) ** 2]])
    holds(hinge, places, torch.tensor(truth).double(), real_space(2))


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.7])
def test_jumps_off_the_diagonal_count(angle):
    """Of a Laplace law the score of the location only changes its sign."""

    def laplace(theta, phi):
        u, v = turned(angle, theta)
        return -(u - phi[:, 0]).abs() * (-phi[:, 1]).exp() - phi[:, 1] - v * v / 2

    phi = torch.tensor([[0.3, 0.0], [-0.7, 0.5]], dtype=torch.float64)
    truth = torch.diag_embed(torch.stack([(-2 * phi[:, 1]).exp(), torch.ones(2)], -1))
    _, said = holds(laplace, phi, truth, real_space(2))
    assert (said < 0.02).all()


def test_a_line_and_what_its_nodes_leave_out():
    def laplace(theta, phi):
        return -(theta[:, 0] - phi[:, 0]).abs() * (-phi[:, 1]).exp() - phi[:, 1]

    phi = torch.tensor([[0.3, 0.0], [-0.7, 0.5]], dtype=torch.float64)
    truth = torch.diag_embed(torch.stack([(-2 * phi[:, 1]).exp(), torch.ones(2)], -1))
    _, said = holds(laplace, phi, truth, real_space(1))
    assert (said < 1e-8).all()


def test_where_a_density_is_smooth_little_is_said():
    def normal(theta, phi):
        z = (theta - phi[:, :2]) * (-phi[:, 2:]).exp()
        return -z.square().sum(-1) / 2 - phi[:, 2:].sum(-1) + 7 * phi[:, 0]

    phi = torch.tensor([[0.0, 1, 0, 0.3], [2, -1, -0.5, 0.1]], dtype=torch.float64)
    twos = torch.full((2, 2), 2.0, dtype=torch.float64)
    truth = torch.diag_embed(torch.cat([(-2 * phi[:, 2:]).exp(), twos], dim=-1))
    _, said = holds(normal, phi, truth, real_space(2), least=1e-12)
    assert (said < 1e-4).all()


def test_many_parameters_have_the_error_of_the_trace(monkeypatch):
    """The same law by sixteen parameters, of which the scores are turned."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(16, generator=generator, dtype=torch.float64)

    def hinge(theta, phi):
        u, v = turned(0.4636, theta)
        return -(v * v + u * u) / 2 - 3 * torch.relu(u - phi @ rows)

    phi = torch.zeros(1, 16, dtype=torch.float64)
    left = math.sqrt(math.pi / 2)
    right = integrate.quad(lambda u: math.exp(-u * u / 2 - 3 * u), 0, 13)[0]
    one = 9 * left * right / (left + right) ** 2
    truth = one * torch.outer(rows, rows).unsqueeze(0)
    _, said = holds(hinge, phi, truth, real_space(2))
    monkeypatch.setattr(score_gaps, "WIDE", 99)
    _, whole = holds(hinge, phi, truth, real_space(2))
    assert torch.allclose(said, whole, rtol=1e-6)  # scores of one direction


def test_laws_of_choices_are_whole_sums():
    def bernoulli(theta, phi):
        return torch.nn.functional.logsigmoid(theta[:, 0] * phi[:, 0])

    phi = torch.tensor([[0.4]], dtype=torch.float64)
    root = root_of(bernoulli, phi, parse_space("c:{-1,1}"))
    assert root.checks["quadrature_error"].item() == 0


def test_a_law_that_does_not_move_is_not_unresolved():
    def still(theta, phi):
        return -theta.square().sum(-1) / 2 + 0 * phi[:, 0]

    phi = torch.tensor([[0.4], [1.0]], dtype=torch.float64)
    root = root_of(still, phi, real_space(2))
    assert (root.checks["quadrature_error"] < 1e-3).all()


def test_parts_of_the_nodes_give_the_same_as_all(monkeypatch):
    def hinge(theta, phi):
        u, v = turned(0.3, theta)
        return -(v * v + u * u) / 2 - phi[:, 1] * torch.relu(u - phi[:, 0])

    phi = torch.tensor([[0.2, 3.0], [-0.3, 1.0]], dtype=torch.float64)
    monkeypatch.setattr(computed, "MANY", 10**9)
    kept = root_of(hinge, phi, real_space(2)).checks["quadrature_error"]
    monkeypatch.setattr(computed, "MANY", 0)
    monkeypatch.setattr(summed_scores, "_NUMBERS", 10_000)
    summed = root_of(hinge, phi, real_space(2)).checks["quadrature_error"]
    assert torch.allclose(kept, summed, rtol=1e-9)
