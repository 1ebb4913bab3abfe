"""Supports whose end moves: information that exists is measured, none is made up."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.families.endings import Endings
from audit.ground.errors import AuditError

X = np.random.default_rng(0).normal(size=(2, 2)).astype(np.float32)
W = torch.tensor([[0.5], [-0.3]])


class Later(nn.Module):
    """A gamma law of concentration a that begins at w·x."""

    def __init__(self, a):
        super().__init__()
        self.a = a

    def forward(self, x, theta):
        late = (theta - x @ W.to(x))[:, 0]
        a = self.a
        return {"log_prob": (a - 1) * late.log() - late - math.lgamma(a)}


def scanned(a):
    return audit.scan(
        Later(a),
        X,
        contract="density",
        condition="x",
        target="theta",
        target_space="theta:real",
        divergences=["kl"],
        attacks=["fixed_norm:norm=0.1"],
        limit=1,
        verify=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("a", [0.5, 0.9, 1.5, 2.0])
def test_information_that_does_not_exist_is_no_number(a):
    """E[((a − 1)/z − 1)²] diverges for a ≤ 2, but for a = 1."""
    with pytest.raises(AuditError, match="no grid resolves the density"):
        scanned(a)


@pytest.mark.slow
def test_a_law_that_ends_in_a_step_has_scores_whose_mean_is_not_zero():
    """An exponential law that begins at w·x: every score is w, and KL is ∞."""
    warned = {w.code for w in scanned(1.0).record.warnings}
    assert "score_mean" in warned


@pytest.mark.slow
@pytest.mark.parametrize("a", [3.0, 4.5])
def test_information_that_exists_is_measured(a):
    """It is |w|² / (a − 2)."""
    expected = float(W.square().sum()) / (a - 2)
    np.testing.assert_allclose(scanned(a).rows["kl.trace"], expected, rtol=2e-3)


def octaves(a, last=40):
    """Return Endings of a law ~ z^(a−1) on (0, 1), a node in each quarter octave."""
    z = 2.0 ** -(np.arange(4 * last) / 4)
    mass = np.append(z[:-1] ** a - z[1:] ** a, z[-1] ** a)
    found = Endings(1)
    sizes = np.append((z[:-1] * z[1:]) ** -1, z[-1] ** -2.0)
    found.add(torch.from_numpy(sizes)[:, None], torch.from_numpy(mass)[:, None])
    return float(found.missing())


@pytest.mark.parametrize("a", [0.5, 1.0, 1.5, 2.0])
def test_octaves_that_do_not_shrink_are_all_missing(a):
    assert octaves(a) == 1


@pytest.mark.parametrize("a", [2.2, 2.5, 3.0, 5.0])
def test_octaves_that_shrink_leave_what_a_series_leaves(a):
    """Beyond z there is the share z^(a−2) of E[1/z²]; the last node holds a part."""
    assert octaves(a, last=12) <= 1.5 * 2.0 ** (-12 * (a - 2))


@pytest.mark.parametrize("law", ["normal", "laplace", "student", "spike"])
def test_scores_that_are_large_nowhere_near_an_end_miss_nothing(law):
    z = np.linspace(-9, 9, 2001)
    density, score = {
        "normal": (np.exp(-z * z / 2), z),
        "laplace": (np.exp(-np.abs(z)), np.sign(z)),
        "student": ((1 + z * z / 5) ** -3, 6 * z / (5 + z * z)),
        "spike": (
            np.exp(-z * z / 2) + 1e-2 * np.exp(-np.abs(z) / 0.01),
            z + 100 * np.sign(z) * (np.abs(z) < 0.1),
        ),
    }[law]
    found = Endings(1)
    sizes = torch.from_numpy(score**2 + 0.0)[:, None]
    found.add(sizes, torch.from_numpy(density / density.sum())[:, None])
    assert float(found.missing()) == 0
