"""Certificates of models that have one number in a row, without an axis: out[:, 0]."""

import numpy as np
import pytest
import torch

import audit

X = np.random.default_rng(0).normal(size=(4, 2))
WEIGHTS = torch.tensor([[1.1, -0.7, 0.4], [0.3, 0.9, -1.2]], dtype=torch.float64)
MATRIX = torch.tensor([[0.8, -0.5], [-0.9, 0.6], [0.7, 1.0]], dtype=torch.float64)
EPS = 0.4

LOCS = {
    "picked": lambda a, b: a,
    "curved": lambda a, b: torch.exp(a) + torch.sigmoid(b),
    "a kink": lambda a, b: torch.relu(a) - b.abs(),
    "a larger one": lambda a, b: torch.maximum(a, 0.5 * b) + torch.minimum(a, b),
    "clipped": lambda a, b: a.clamp(-0.5, 0.3) + b,
    "moved again": lambda a, b: torch.exp(0.5 * (a - b) + 0.1) - 2 * a,
}


def columns(x, axis):
    """Return two outputs of a network, each [N] or [N, 1]."""
    out = torch.tanh(x.double() @ WEIGHTS) @ MATRIX
    return (out[:, 0], out[:, 1]) if not axis else (out[:, :1], out[:, 1:])


def law(loc, axis):
    return lambda x: torch.distributions.Normal(loc(*columns(x, axis)), 1.0)


def dense(loc):
    """Return the largest KL = (μ' − μ)²/2 on a fine grid of the disc of radius EPS."""
    angle = np.linspace(0, 2 * np.pi, 241)[:-1]
    radius = np.linspace(0.02, 1, 25) * EPS
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    delta = (ring[:, None] * radius[:, None]).reshape(-1, 2)

    def at(x):
        return loc(*columns(torch.tensor(x), False)).numpy()

    return np.array([((at(x + delta) - at(x[None])) ** 2).max() / 2 for x in X])


@pytest.mark.parametrize("name", LOCS)
def test_a_number_without_an_axis_has_its_certificate(name):
    settings = {"divergences": ["kl"], "verify": "all", "sizes": "off"}
    settings["attacks"] = [f"certified:norm={EPS}"]
    bare, column = (
        audit.scan(law(LOCS[name], axis), X, **settings).rows["kl.certificate"]
        for axis in (False, True)
    )
    np.testing.assert_allclose(bare, column, rtol=1e-9)
    truth = dense(LOCS[name])
    assert (bare >= truth).all()
    assert (bare <= 20 * truth).all()


def test_a_comparison_of_two_values_is_refused_in_words():
    chosen = law(lambda a, b: torch.where(a > b, a, b), False)
    settings = {"divergences": ["kl"], "verify": "all", "sizes": "off"}
    found = audit.scan(chosen, X, attacks=[f"certified:norm={EPS}"], **settings)
    reason = found.summary("kl", "certificate").reason
    assert reason.startswith("no certificate: Greater of two values that move")
