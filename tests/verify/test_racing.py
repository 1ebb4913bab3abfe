"""Who rests in a race, against climbs whose whole way is known in closed form."""

import math

import torch

from audit.verify.racing import Race

STEPS = 20


def raced(heights, rates, rows=None, size=None):
    """Return where each climb h (1 − e^{−r k}) was told to rest, 0: never."""
    h, r = (torch.tensor(each, dtype=torch.float64) for each in (heights, rates))
    rows = torch.zeros(len(h), dtype=torch.long) if rows is None else rows
    size = torch.ones_like(h) if size is None else size
    race, rested = Race(rows, size, 0 * h), torch.zeros(len(h), dtype=torch.long)
    for k in range(1, STEPS + 1):
        behind = race.outpaced(h * (1 - torch.exp(-r * k)), STEPS - k)
        rested = torch.where(behind & (rested == 0), k, rested)
    return rested.tolist()


def test_a_lower_hill_rests_and_a_higher_one_never_does():
    lower, higher = raced([0.5, 1.0], [1.0, 1.0])
    assert higher == 0
    first = next(
        k
        for k in range(4, STEPS, 4)
        if 0.5 * (1 - math.exp(-k))
        + 0.5 * (STEPS - k) / 4 * (math.exp(4 - k) - math.exp(-k))
        < 1 - math.exp(-k)
    )
    assert lower == first < 10


def test_a_slow_climb_that_would_end_higher_goes_on_past_the_leader():
    assert raced([1.0, 3.0], [1.0, 0.1])[1] == 0


def test_other_inputs_and_other_sizes_do_not_count():
    rows, size = torch.tensor([0, 1]), torch.ones(2).double()
    assert raced([0.5, 1.0], [1.0, 1.0], rows) == [0, 0]
    size = torch.tensor([0.5, 1.0]).double()
    assert raced([0.5, 1.0], [1.0, 1.0], size=size) == [0, 0]


def test_a_value_that_is_no_number_yet_goes_on_beside_a_finite_one():
    nowhere = torch.tensor([-math.inf, 1.0]).double()
    race = Race(torch.zeros(2, dtype=torch.long), torch.ones(2).double(), nowhere)
    assert not any(bool(race.outpaced(nowhere, 9)[0]) for _ in range(9))


def test_a_climb_that_will_not_come_to_the_goal_rests_though_it_leads():
    value = torch.tensor([1.0]).double()
    one = (torch.zeros(1, dtype=torch.long), torch.ones(1).double(), 0 * value)
    # a tenth with each step: .4 after four, and 1.4 after ten more
    for goal, rests in ((1.3, False), (1.5, True)):
        race = Race(*one, goal)
        told = [bool(race.outpaced(k * value / 10, 14 - k)) for k in range(1, 5)]
        assert told == [False, False, False, rests]


def test_an_infinite_leader_ends_the_race():
    value = torch.tensor([2.0, math.inf]).double()
    race = Race(torch.zeros(2, dtype=torch.long), torch.ones(2).double(), value)
    told = [race.outpaced(value, 9).tolist() for _ in range(4)]
    assert told == [[False, False]] * 3 + [[True, False]]
