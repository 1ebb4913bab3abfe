"""Every number that measuring returns has an outcome, and what has none a reason.

Laws over the registry, at parameters as extreme as are legal: NaN, and ∞ where the form
is not at rest, are explained in words; a form of zero is at rest in every quantity that
then has a limit; and inputs do not disturb each other.
"""

import numpy as np
import pytest
import torch
from families.test_extreme_parameters import EACH, laws

from audit.attacks.laws import FixedNorm, Gaussian, RandomDirection
from audit.geometry.divergences import build_divergence
from audit.geometry.frame import Frame
from audit.ground.errors import NoFisher, NoTransport
from audit.linalg.stored import Matrix
from audit.measure.block import answer
from audit.measure.point import Point
from audit.measure.questions import Questions
from audit.reports.values import UNKNOWN, Outcome

ATTACKS = {"g": Gaussian(0.1), "f": FixedNorm(0.1), "r": RandomDirection(0.1)}
FREE = 3
LIMITS = {"trace": 0.0, "eigenvalue": 0.0, "radius": np.inf, "g": 0.0, "linear": 0.0}


def measured(name, grid, divergence, zero=(0,)):
    """Answer at every law of a grid, for a random Jacobian, zero at some inputs."""
    family, phi = laws(name, grid)
    generator = torch.Generator().manual_seed(0)
    shape = (*phi.shape, FREE)
    jacobian = torch.randn(shape, generator=generator, dtype=torch.float64)
    jacobian[list(zero)] = 0
    frame = Frame(torch.ones(FREE).double(), torch.arange(FREE), FREE)
    asked = build_divergence(divergence)
    questions = Questions((asked,), ATTACKS, frame, 2, 1.0, 64, 0, True)
    point = Point(np.arange(len(phi)), family, phi, Matrix(jacobian), 2.0**-52)
    return answer(point, questions)[:2]


@pytest.mark.parametrize("divergence", ["kl", "quantile", "wasserstein"])
@pytest.mark.parametrize(("name", "grid"), EACH)
def test_every_value_has_an_outcome_and_a_reason(name, grid, divergence):
    try:
        found, broken = measured(name, grid, divergence)
    except (NoFisher, NoTransport):
        pytest.skip("the family has no such tensor")
    assert not broken
    columns = found.columns[divergence]
    for quantity, values in columns.items():
        for row in range(len(values)):
            outcome, why = values.outcome(row), values.reason(row)
            if outcome in (Outcome.NOT_MEASURED, Outcome.INFINITE):
                assert why not in ("", UNKNOWN), (quantity, row)
    for quantity, limit in LIMITS.items():
        if quantity in columns:
            assert columns[quantity].outcome(0) is Outcome.AT_REST
            assert columns[quantity].numbers[0] == limit


@pytest.mark.parametrize(
    ("name", "grid"), [case for case in EACH if case.id.startswith(("nor", "cat"))]
)
def test_an_extreme_law_does_not_disturb_its_neighbours(name, grid):
    whole, _ = measured(name, grid, "kl", zero=())
    count = len(whole.index)
    finite = np.isfinite(whole.columns["kl"]["trace"].numbers)
    assert finite.any()
    for row in finite.nonzero()[0][:5]:
        others = [i for i in range(count) if i != row]
        again, _ = measured(name, grid, "kl", zero=others)
        for quantity, values in whole.columns["kl"].items():
            one, other = values.numbers[row], again.columns["kl"][quantity].numbers[row]
            np.testing.assert_allclose(other, one, rtol=1e-12, err_msg=quantity)
