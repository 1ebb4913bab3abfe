"""The three functions of the engine, against closed forms and scipy."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import logsigmoid

import audit.nodes
from audit.nodes import Noise, TargetSpace, grid_nodes, line_nodes, nuts_draws
from audit.nodes.coordinates import Coordinate
from audit.nodes.lines import REAL

ROWS = torch.tensor([[0.3, 1.5], [-40.0, 0.01], [7.0, 300.0]], dtype=torch.float64)


class Logistic:
    """A line that shares nothing with the families."""

    chart, limit = REAL, np.inf

    def bulk(self, rows):
        return rows[:, :1], rows[:, 1:]

    def log_density(self, y, rows):
        loc, scale = rows.unbind(-1)
        z = (y - loc) / scale
        return logsigmoid(z) + logsigmoid(-z) - scale.log()


LOGISTIC = Logistic()


def test_expectations_under_laws_on_a_line():
    nodes = line_nodes(LOGISTIC, ROWS, moment=2)
    loc, scale = ROWS.T
    one = nodes.mean(torch.ones_like(nodes.points))
    assert torch.allclose(one, torch.ones_like(one), rtol=1e-12)
    assert torch.allclose(nodes.mean(nodes.points), loc, rtol=1e-9)
    apart = nodes.points - loc.unsqueeze(-1)
    variance = [stats.logistic(0, float(s)).var() for s in scale]
    assert np.allclose(nodes.mean(apart.square()).numpy(), variance, rtol=1e-10)


def test_an_outer_product_is_the_information_of_a_logistic_law():
    nodes = line_nodes(LOGISTIC, ROWS)
    z = (nodes.points - ROWS[:, :1]) / ROWS[:, 1:]
    slope = torch.tanh(z / 2)  # of −log f in z
    score = torch.stack([slope, z * slope - 1], dim=-1) / ROWS[:, 1:, None]
    expected = torch.tensor([3.0, 3 + np.pi**2], dtype=torch.float64) / 9
    expected = torch.diag_embed(expected / ROWS[:, 1:].square())
    assert torch.allclose(nodes.outer(score), expected, rtol=1e-10, atol=1e-12)


def test_a_law_that_no_panels_resolve_is_lost_and_its_sums_are_nan():
    rows = torch.cat([torch.tensor([[0.0, torch.inf]]).double(), ROWS])
    nodes = line_nodes(LOGISTIC, rows)
    assert nodes.lost.tolist() == [True, False, False, False]
    found = nodes.mean(torch.ones_like(nodes.points))
    assert found[0].isnan()
    assert torch.allclose(found[1:], torch.ones(3).double())
    alone = line_nodes(LOGISTIC, rows[:1])
    assert alone.mean(torch.ones_like(alone.points)).isnan().all()
    assert alone.outer(alone.points.unsqueeze(-1)).isnan().all()


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", ["grid", "chains"])
def test_a_function_of_two_coordinates_by_grid_and_by_chains(name):
    space = TargetSpace((Coordinate("a"), Coordinate("b", "positive")))
    phi = torch.tensor([[0.5, 2.0]], dtype=torch.float64)

    def log_density(theta, phi):  # a normal beside an exponential law
        return -0.5 * (theta[:, 0] - phi[:, 0]) ** 2 - phi[:, 1] * theta[:, 1]

    if name == "grid":
        nodes = grid_nodes(log_density, phi, space)
        found = torch.einsum("qn,qnc->nc", nodes.weights, nodes.targets)
        assert float(nodes.normalisation) == pytest.approx(
            np.sqrt(2 * np.pi) / 2, rel=1e-5
        )
        assert torch.allclose(found, torch.tensor([[0.5, 0.5]]).double(), atol=1e-4)
        return
    pytest.importorskip("pyro")
    chains = nuts_draws(log_density, phi, space, Noise(0, np.array([0]), 400), 100)
    mean = chains.targets.mean(0)[0]
    errors = torch.tensor([1.0, 0.5]).double() / chains.ess.sqrt()
    assert (mean - 0.5).abs().lt(5 * errors).all()


def test_the_face_hands_on_what_it_says_and_imports_it_when_asked():
    assert dir(audit.nodes) == sorted(audit.nodes.__all__)
    assert all(callable(getattr(audit.nodes, name)) for name in audit.nodes.__all__)
    code = "import audit.nodes, sys; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "False", found.stderr
