"""Where exact values part from a prediction, and where there is nothing to part."""

import torch

from audit.linalg.intervals.means import Interval
from audit.linalg.spectrum import Estimate
from audit.verify.attacks import Realised
from audit.verify.columns import NOTHING_MOVED, compared_attack, in_numbers


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
