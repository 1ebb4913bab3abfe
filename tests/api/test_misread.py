"""A scan that is told θ says where these contradict how the law is read."""

import numpy as np
import pytest
import torch
from torch import distributions as td

import audit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
LOG_SIGMA = 0.5 * X[:, 1:2] - 1.5
THETA = X[:, :1] + np.exp(LOG_SIGMA) * RNG.normal(size=(300, 1))
FEW = {"divergences": ["kl"], "verify": 0, "sizes": "off", "target_key": "theta"}


def normal(power=1.0, beside=0.0):
    def law(x):
        x = x.double()
        scale = torch.exp(power * (0.5 * x[:, 1:2] - 1.5))
        return td.Normal(x[:, :1] + beside, scale)

    return law


def told(law, theta, **more):
    found = audit.scan(law, {"x": X, "theta": theta}, **FEW, **more).record.warnings
    said = [one.message for one in found if one.code == "selftest_residuals"]
    return said[0] if said else None


@pytest.mark.parametrize(
    ("power", "words"),
    [
        (2.0, "a log-variance is read as a log-standard deviation"),
        (-2.0, "a precision is read as a standard deviation"),
    ],
)
def test_a_misread_scale_is_warned_of(power, words):
    assert words in told(normal(power), THETA)
    some = list(range(290, 20, -1))  # θ are those of the same inputs
    assert words in told(normal(power), THETA, index=some)


@pytest.mark.parametrize(("power", "beside"), [(1.0, 0.0), (1.0, 0.5), (1.0, -3.0)])
def test_an_honest_law_and_one_beside_its_theta_are_not(power, beside):
    assert told(normal(power, beside), THETA) is None


def test_a_scale_that_is_read_as_a_rate_is_warned_of():
    mean = np.exp(0.7 * X[:, :1] + 1)
    theta = RNG.exponential(size=mean.shape) * mean

    def law(sign):
        return lambda x: td.Exponential(torch.exp(sign * (0.7 * x.double()[:, :1] + 1)))

    assert told(law(-1), theta) is None
    assert "a scale (a mean) is read as a rate" in told(law(1), theta)
