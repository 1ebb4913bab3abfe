"""Random search: the rule by which its moves grow and shrink, and how long they are."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.attacks.balls import Ball
from audit.nodes.noise import Noise
from audit.verify.feasible import Feasible
from audit.verify.wandering import Wanderer

EPS = 0.3


def wanderer(count, value=float):
    """Return a search among some inputs, where the n-th call finds value(n)."""
    calls = []

    def exact(rows, u):
        calls.append(len(rows))
        return torch.full((len(rows), 1), value(len(calls))).double(), None

    site = SimpleNamespace(x=[0] * count, noise=Noise(0, np.arange(count), 2))

    exact.site = site
    return Wanderer(exact)


def sizes_of(value, steps, monkeypatch):
    """Return σ before each of some steps."""
    seen, original = [], Wanderer._moved

    def recorded(self, rows, within, u, sigma):
        seen.append(float(sigma[0]))
        return original(self, rows, within, u, sigma)

    monkeypatch.setattr(Wanderer, "_moved", recorded)
    search = wanderer(1, value)
    within = Feasible(Ball(2.0), torch.tensor([EPS], dtype=torch.float64))
    search(torch.zeros(1).long(), within, torch.zeros(1, 4).double(), steps)
    return np.array(seen)


def test_a_move_grows_by_a_half_after_a_gain_up_to_two_radii(monkeypatch):
    found = sizes_of(float, 8, monkeypatch)
    np.testing.assert_allclose(found, np.minimum(0.5 * 1.5 ** np.arange(8), 2.0))


def test_four_steps_without_a_gain_take_back_one_with(monkeypatch):
    """Rechenberg's rule of one fifth: a^(1/5) a^(−1/4 · 4/5) is 1."""
    found = sizes_of(lambda call: 1.0, 70, monkeypatch)
    expected = np.maximum(0.5 * 1.5 ** (-np.arange(70) / 4), 1e-3)
    np.testing.assert_allclose(found, expected)
    assert found[-1] == 1e-3
    once = sizes_of(lambda call: float(call == 2) + 1, 6, monkeypatch)
    np.testing.assert_allclose(once[5], once[0])


@pytest.mark.parametrize(("p", "norm"), [(2.0, 2), (1.0, 1)])
def test_a_move_is_about_as_long_as_it_is_to_be(p, norm):
    """In ℓ₂ its mean square is (σ ε)², in ℓ₁ its mean is σ ε E|z|."""
    rows, m = torch.arange(4).repeat_interleave(500), 25
    within = Feasible(Ball(p), torch.full((2000,), EPS, dtype=torch.float64))
    search = wanderer(4)
    u = torch.ones(2000, m).double()
    moved = search._moved(rows, within, u, torch.full((2000,), 0.5).double())
    lengths = (moved - u).norm(p=norm, dim=1)
    known = lengths.square().mean().sqrt() if p == 2 else lengths.mean()
    factor = 1.0 if p == 2 else math.sqrt(2 / math.pi)
    assert float(known) == pytest.approx(0.5 * EPS * factor, rel=0.02)
    assert abs(float((moved - u).mean())) < 4 * 0.5 * EPS / math.sqrt(2000 * m)


def test_on_a_cube_a_share_of_the_features_jumps_to_a_side():
    rows, m = torch.arange(4).repeat_interleave(500), 25
    within = Feasible(Ball(math.inf), torch.full((2000,), EPS, dtype=torch.float64))
    u = torch.full((2000, m), 0.1, dtype=torch.float64)
    for sigma, share in ((0.4, 0.4), (0.01, 1 / m), (2.0, 1.0)):
        size = torch.full((2000,), sigma).double()
        moved = wanderer(4)._moved(rows, within, u, size)
        jumped = moved != u
        assert (moved[jumped].abs() == EPS).all()
        error = 4 * math.sqrt(share * (1 - share) / jumped.numel()) + 1e-12
        assert abs(float(jumped.double().mean()) - share) <= error
        above = (moved[jumped] > 0).double().mean()
        assert abs(float(above) - 0.5) < 4 * 0.5 / math.sqrt(int(jumped.sum()))
