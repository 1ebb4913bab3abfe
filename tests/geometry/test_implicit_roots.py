"""The centred Fisher information has no bias, whatever units its draws come in."""

import math

import numpy as np
import pytest
import torch

from audit.families.givers import Nodes
from audit.families.implicit import ImplicitFamily
from audit.families.implicit_values import implicit_reference
from audit.geometry.divergences import build_divergence
from audit.linalg.averaged import Averaged
from audit.nodes.noise import Noise
from audit.nodes.space import real_space

REPEATS = 4000


def normal(theta, phi):
    """Log N(θ; φ₀, exp(φ₁)²): F = diag(1, 2) at φ = 0."""
    e = (theta[:, 0] - phi[:, 0]) * torch.exp(-phi[:, 1])
    return -0.5 * e * e - phi[:, 1] - 0.5 * math.log(2 * math.pi)


class Drawn:
    """Standard normal θ, in the units that a noise comes in."""

    name, fixed, weighted, follows = "drawn", False, False, True

    def nodes(self, phi, noise):
        points = noise.points(1)
        return Nodes(torch.special.ndtri(points.values), unit=points.unit)


def family(source):
    return ImplicitFamily(2, real_space(1), normal, None, None, source)


@pytest.mark.parametrize(
    ("sampling", "draws"),
    [("random", 8), ("antithetic", 8), ("antithetic", 32), ("sobol", 256)],
)
def test_the_mean_over_repetitions_is_the_fisher_information(sampling, draws):
    count = REPEATS if draws < 100 else 200
    noise = Noise(0, np.arange(count), draws, sampling)
    kl, phi = build_divergence("kl"), torch.zeros(count, 2, dtype=torch.float64)
    root = family(Drawn()).root(kl.tensor, phi, noise)
    found = (root.entries.mT @ root.entries).numpy()
    error = found.std(axis=0, ddof=1) / math.sqrt(count)
    apart = np.abs(found.mean(axis=0) - np.diag([1.0, 2.0]))
    assert (apart <= 4 * error + 1e-12).all()


class Grid:
    """Equal steps over a part of the line, weighted by the normal density."""

    name, fixed, weighted, follows = "grid", True, True, True

    def count(self, draws):
        return 2001

    def nodes(self, phi, noise):
        theta = torch.linspace(-8, 8, 2001, dtype=torch.float64)
        weights = torch.exp(-0.5 * theta**2)
        targets = theta[:, None, None].expand(-1, len(phi), 1)
        return Nodes(targets, (weights / weights.sum())[:, None].expand(-1, len(phi)))


def test_an_integral_that_does_not_converge_is_infinite():
    """χ² of N(0, 1) to N(0, s²) is finite only for s² > 1/2."""
    noise = Noise(0, np.arange(1), 8)
    phi = torch.zeros(1, 2, dtype=torch.float64)
    narrow, wide = math.log(0.6), math.log(0.9)
    others = torch.tensor([[[0.0, narrow], [0.0, wide]]], dtype=torch.float64)
    chi = build_divergence("chi_squared")
    values, _ = implicit_reference(chi, family(Grid()), phi, noise)(
        torch.arange(1), others
    )
    s = math.exp(wide)
    truth = s / math.sqrt(2 - 1 / s**2) - 1
    assert math.isinf(values[0, 0])
    assert float(values[0, 1]) == pytest.approx(truth, rel=1e-6)


def test_a_root_over_nodes_is_an_average_with_its_centre():
    phi = torch.zeros(1, 2, dtype=torch.float64)
    noise = Noise(0, np.arange(1), 8)
    root = family(Grid()).root(build_divergence("kl").tensor, phi, noise)
    assert isinstance(root, Averaged)
    np.testing.assert_allclose(
        root.entries.mT @ root.entries, [[[1, 0], [0, 2]]], atol=1e-8
    )
    np.testing.assert_allclose(root.center, 0, atol=1e-12)
