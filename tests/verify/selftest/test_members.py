"""When logits are said to be probabilities: how many, how near to one, in numbers."""

import pytest
import torch

from audit.verify.selftest.members import _is_simplex, _is_unit


def levels(low, high, count):
    return torch.linspace(low, high, count, dtype=torch.float64)


@pytest.mark.parametrize(
    ("logits", "said"),
    [
        (levels(0.019, 0.981, 32), True),
        (levels(0.0, 1.0, 32), True),
        (levels(0.019, 0.981, 31), False),  # too few
        (levels(0.021, 0.981, 32), False),  # none near zero
        (levels(0.019, 0.979, 32), False),  # none near one
        (levels(-1e-3, 1.0, 32), False),
        (levels(0.0, 1.001, 32), False),
    ],
)
def test_single_logits_fill_the_unit_interval_up_to_both_ends(logits, said):
    assert _is_unit(logits) is said
    assert _is_unit(logits.reshape(-1, 1)) is said


@pytest.mark.parametrize(
    ("rows", "off", "least", "said"),
    [
        (4, 0.0, 0.0, True),
        (3, 0.0, 0.0, False),
        (4, 0.9e-4, 0.1, True),
        (4, 1.1e-4, 0.1, False),
        (4, -1.1e-4, 0.1, False),
        (4, 0.0, -1e-3, False),
    ],
)
def test_rows_of_four_inputs_sum_to_one_and_are_not_negative(rows, off, least, said):
    p = torch.tensor([[0.5 - least, 0.5, least]], dtype=torch.float64).repeat(rows, 1)
    p[-1, 1] += off
    assert _is_simplex(p) is said
