"""When a mean of squared scores is another than the form's: errors, in numbers."""

import pytest
import torch

from audit.verify.selftest.finding import Status
from audit.verify.selftest.moments import Moments
from audit.verify.selftest.scores import _judged


def judged(mean, error, low=True, usable=True):
    means = torch.tensor([[1.0, mean]], dtype=torch.float64)
    errors = torch.full((1, 2), error, dtype=torch.float64)
    given = Moments(means, errors, low, "draws")
    return _judged(given, torch.tensor([[True, usable]]), "normal")


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("off", "error", "wrong"),
    [
        (6.4e-2, 1e-2, False),  # standard errors of draws
        (6.6e-2, 1e-2, True),
        (0.95e-3, 1e-6, False),  # a thousandth is nothing
        (1.05e-3, 1e-6, True),
        (0.9e-6, 0.0, False),  # of sums a millionth
        (1.1e-6, 0.0, True),
    ],
)
def test_a_mean_is_off_by_its_errors_or_a_thousandth_and_a_sum_by_a_millionth(
    off, error, wrong, side
):
    found = judged(1 + side * off, error)
    assert found.status is (Status.FAILED if wrong else Status.PASSED)
    assert found.numbers["ratio"] == pytest.approx(1 + side * off, rel=1e-15)


def test_too_little_is_nothing_where_no_draw_sees_what_is_rare():
    assert judged(0.1, 1e-2, low=False).status is Status.PASSED
    assert judged(1.9, 1e-2, low=False).status is Status.FAILED


@pytest.mark.parametrize(("mean", "usable"), [(float("nan"), True), (9.0, False)])
def test_a_direction_without_a_mean_or_a_length_is_not_judged(mean, usable):
    assert judged(mean, 1e-2, usable=usable).status is Status.PASSED
