"""The points of the kit for laws: where they go beyond the draws."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributions as td

from audit.families.checking.points import _outwards, points_of


def subject(law, discrete=False):
    own = SimpleNamespace(
        distribution=lambda phi: law, discrete=discrete, event_shape=()
    )
    return SimpleNamespace(seed=0, law=own, first=lambda: None)


def test_panels_halve_the_way_to_an_end_and_double_it_where_there_is_none():
    found = _outwards(3.0, 1.0, 7.0)
    np.testing.assert_allclose(found[:3], [5.0, 6.0, 6.5])
    assert found[-1] == 7
    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(_outwards(3.0, 1.0, np.inf)[:3], [5.0, 9.0, 17.0])
    np.testing.assert_allclose(_outwards(-1.0, 1.0, -np.inf)[:3], [-3.0, -7.0, -15.0])


@pytest.mark.parametrize(
    ("law", "mean", "variance"),
    [
        (td.Normal(3.0, 2.0), 3.0, 4.0),
        (td.Beta(0.5, 3.0), 1 / 7, 0.5 * 3 / (3.5**2 * 4.5)),
        (td.Exponential(0.5), 2.0, 4.0),
        (td.Uniform(2.0, 5.0), 3.5, 9 / 12),
    ],
)
def test_a_law_on_its_points_has_its_mass_mean_and_variance(law, mean, variance):
    law = type(law)(*(getattr(law, n).double() for n in law.arg_constraints))
    x, weights = points_of(subject(law))
    mass = weights * law.log_prob(x).exp()
    first, second = float((mass * x).sum()), float((mass * x**2).sum())
    assert float(mass.sum()) == pytest.approx(1, abs=1e-7)
    assert first == pytest.approx(mean, abs=1e-6)
    assert second - first**2 == pytest.approx(variance, abs=1e-5)


def test_counts_are_all_that_carry_mass():
    law = td.Poisson(torch.tensor(40.0).double())
    k, weights = points_of(subject(law, discrete=True))
    mass = weights * law.log_prob(k).exp()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-12)
    assert float((mass * k).sum()) == pytest.approx(40, abs=1e-9)
    assert (k.diff() == 1).all()
