"""Means of damped forms, against quadrature and against each other."""

import math

import numpy as np
import pytest
import torch

from audit.attacks.checking import its_damped_mean_is_that_of_its_draws
from audit.attacks.damped import leading_axes
from audit.attacks.laws import Gaussian, Moments, RandomDirection
from audit.ground.checking import LawBroken
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix

D = 2
RATES = torch.tensor([[1e-6, 0.3, 3.0]]).double()


def form(rows):
    """Return ½ |A δ|² with A [rows, 2]."""
    entries = np.random.default_rng(rows).normal(size=(1, rows, D))
    return QuadraticForm(0.5, Matrix(torch.from_numpy(entries)))


def by_quadrature(law, factor, rate):
    """Return E[(1 − e^{−s Q})/s] at δ = L z by a rule of Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    z = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, D)
    weight = np.outer(weights, weights).ravel() / (2 * math.pi)
    values = law(torch.from_numpy((z @ factor.T).T[None])).numpy()[0]
    return weight @ -np.expm1(-rate * values) / rate


FACTOR = np.array([[0.4, 0.0], [-0.3, 0.2]])
ATTACKS = {
    "gaussian": (Gaussian(0.5), 0.5 * np.eye(D)),
    "moments": (Moments(np.zeros(D), FACTOR), FACTOR),
}


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("name", ATTACKS)
def test_the_mean_is_that_of_quadrature(name, rows):
    attack, factor = ATTACKS[name]
    found = attack.damped(form(rows), RATES)[0].tolist()
    wanted = [by_quadrature(form(rows), factor, rate) for rate in RATES[0].tolist()]
    assert found == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_leading_axes_are_those_of_the_spectrum_and_add_up(rows):
    law = form(rows)
    axes = leading_axes(law)
    wanted = np.linalg.svd(law.root.dense()[0].numpy(), compute_uv=True)
    assert axes.shape == (1, min(rows, D), D)
    lengths = axes.norm(dim=2)[0].tolist()
    assert lengths == pytest.approx(wanted[1].tolist(), rel=1e-9)
    delta = torch.from_numpy(np.random.default_rng(9).normal(size=(1, D, 7)))
    parts = (axes @ delta).square().sum(dim=1) * law.scale
    assert parts[0].tolist() == pytest.approx(law(delta)[0].tolist(), rel=1e-9)


def test_axes_of_a_form_that_is_not_known_are_zero_or_none():
    entries = torch.ones(2, 1, D).double()
    entries[0, 0, 0] = torch.nan
    found = leading_axes(QuadraticForm(0.5, Matrix(entries)))
    assert not found[0].any()
    assert found[1].square().sum().item() == pytest.approx(D)
    assert leading_axes(QuadraticForm(0.5, Matrix(torch.ones(1, 300, 300)))) is None


def test_draws_hold_a_mean_that_is_wrong_against_it():
    class Louder(Gaussian):
        def damped(self, form, rates):
            return 1.02 * super().damped(form, rates)

    law = its_damped_mean_is_that_of_its_draws
    law(Gaussian(0.5))
    law(Moments(np.zeros(5), np.eye(5)[:, :3]))
    with pytest.raises(LawBroken, match="damped"):
        law(Louder(0.5))


def test_what_is_not_known_is_none():
    off = Moments(np.ones(D), FACTOR)
    assert off.damped(form(2), RATES) is None
    assert RandomDirection(1.0).damped(form(2), RATES) is None
    wide = QuadraticForm(0.5, Matrix(torch.ones(1, 300, 300).double()))
    assert Gaussian(0.5).damped(wide, RATES) is None


def test_a_form_that_is_not_known_has_no_mean_and_its_neighbours_keep_theirs():
    entries = torch.ones(2, 1, D).double()
    entries[0, 0, 0] = torch.nan
    found = Gaussian(0.5).damped(
        QuadraticForm(0.5, Matrix(entries)), RATES.expand(2, -1)
    )
    alone = Gaussian(0.5).damped(QuadraticForm(0.5, Matrix(entries[1:])), RATES)
    assert torch.isnan(found[0]).all()
    assert found[1:].equal(alone)
