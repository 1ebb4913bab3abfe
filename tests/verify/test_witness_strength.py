"""Witnesses against an ascent of 200 steps and 6 restarts in torch alone."""

import numpy as np
import pytest
import torch
from scans import sample

from audit.verify.witness import ascend
from verify.independent import KL, Plain
from verify.sited import sited

SIZES = (0.03, 0.1, 0.3, 1.0)
ROWS = {"heteroscedastic": 150, "digits_cnn": 60, "sunspots_gru": 80, "counts": 150}


def shares(name, rows, sizes, steps, restarts, divergence="kl"):
    """Return at each size the share of inputs that are at most 2 % below."""
    exact, local, _ = sited(sample(name, ".pt", divergences=(divergence,)), rows)
    found = ascend(exact, local, torch.tensor(sizes))
    plain = Plain(name, rows, divergence == "reverse_kl")
    for place in range(len(sizes)):  # what is claimed is what plain torch finds there
        again = plain.value(found.u[:, place].unsqueeze(0)).detach()
        np.testing.assert_allclose(found.value[:, place], again, rtol=1e-5, atol=1e-9)
    length = found.u.norm(dim=2)
    assert bool((length <= torch.tensor(sizes).double() * (1 + 1e-6)).all())
    others = torch.stack([plain.ascent(s, steps, restarts) for s in sizes], dim=1)
    return (found.value >= 0.98 * others).double().mean(dim=0)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", KL)
def test_a_witness_is_as_strong_as_a_short_ascent(name):
    share = shares(name, 40, (0.1, 0.3), 60, 3)
    assert bool((share >= 0.95).all()), share


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", KL)
def test_so_is_a_witness_of_the_other_direction(name):
    share = shares(name, 24, (0.1, 0.3), 60, 3, "reverse_kl")
    assert bool((share >= 0.95).all()), share


@pytest.mark.slow
@pytest.mark.parametrize("name", KL)
def test_a_witness_is_as_strong_as_a_long_ascent(name):
    share = shares(name, ROWS[name], SIZES, 200, 6)
    assert bool((share >= 0.95).all()), share


def test_on_the_digits_a_witness_is_far_above_the_prediction():
    """By 30 restarts of 300 steps in plain torch it is 7.88 times as much at .3."""
    exact, local, _ = sited(sample("digits_cnn", divergences=("kl",)), 60)
    sizes = torch.tensor([0.1, 0.3]).double()
    found = ascend(exact, local, sizes)
    predicted = 0.5 * local.size.unsqueeze(1) * sizes**2
    small, large = (found.value / predicted).median(dim=0).values.tolist()
    assert small >= 1.65
    assert large >= 7.7
