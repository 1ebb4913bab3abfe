"""Where exact values part from a prediction, and where there is nothing to part."""

import numpy as np
import torch

from audit.linalg.intervals.means import Interval
from audit.linalg.spectrum import Estimate
from audit.verify.attacks import Realised
from audit.verify.columns import (
    NOTHING_MOVED,
    compared_attack,
    compared_radius,
    in_numbers,
)
from audit.verify.critical import Critical


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_an_input_is_at_rest_if_nothing_is_predicted_and_nothing_moves():
    """At rest, lower than predicted, moved, all undirected; and as predicted."""
    predicted = Estimate(numbers(0.0, 1.0, 0.0, 2.0))
    value = numbers(0.0, 0.0, 3.0, 2.0)
    exact = Interval(value, value, value, 0 * value)
    directed = torch.tensor([False, False, False, True])
    alone = torch.zeros(4, dtype=torch.bool)
    found = compared_attack("a", predicted, Realised(exact, exact, directed, alone))
    ratio, parted = found.columns["a_ratio"], found.columns["a_parted"]
    assert [ratio.reason(k) == NOTHING_MOVED for k in range(4)] == [True, *[False] * 3]
    assert ratio.numbers[[1, 3]].tolist() == [0.0, 1.0]
    assert parted.numbers[1:].tolist() == [1.0, 1.0, 0.0]
    told = in_numbers([found])
    assert (told.n, told.unknown, told.at_rest, told.parted) == (3, 1, 1, 2)


def test_values_part_from_a_prediction_by_more_than_a_tenth():
    """By the nearer end of their intervals; and where one alone is finite."""
    predicted = Estimate(numbers(1.0, 1.0, 1.0, 1.0, torch.inf, torch.inf))
    lower = numbers(1.1, 1.1 + 1e-9, 0.5, 0.5, 1.0, torch.inf)
    upper = numbers(2.0, 2.0, 0.9, 0.9 - 1e-9, 1.0, torch.inf)
    exact = Interval((lower + upper) / 2, lower, upper, 0 * lower)
    directed, alone = torch.ones(6).bool(), torch.zeros(6).bool()
    found = compared_attack("a", predicted, Realised(exact, exact, directed, alone))
    parted = found.columns["a_parted"].numbers
    assert parted.tolist() == [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]


def test_a_radius_parts_by_more_than_a_tenth_where_it_is_known():
    value = numbers(1.1, 1.1 + 1e-9, 0.9, 0.9 - 1e-9, torch.nan, 3.0)
    directed = torch.tensor([True] * 5 + [False])
    none, zeros = torch.zeros(6).bool(), torch.zeros(6, 2).double()
    critical = Critical(value, value, value, directed, none, False, zeros)
    found = compared_radius(numbers(*[1.0] * 6), critical, 2.0)
    parted = found.columns["radius_parted"].numbers
    np.testing.assert_array_equal(parted, [0.0, 1.0, 0.0, 1.0, np.nan, np.nan])
