"""The search for the largest size with a bound ≤ τ, on functions with known roots."""

import math

import pytest
import torch

from audit.verify.bracket import CLOSE, Bracket

STARTS = (1e-3, 0.01, 1.0, 100.0)


def searched(function, tau):
    bracket, looks = Bracket(torch.tensor(STARTS).double(), tau), 0
    while bool(bracket.open.any()):
        bracket.take(function(bracket.size))
        looks += 1
    return bracket, looks


@pytest.mark.parametrize(
    ("function", "root"),
    [
        (lambda e: e**2, math.sqrt(2.0)),
        (lambda e: e**2 + 50 * e**7, 0.6128968264761),
        (lambda e: e.expm1(), math.log(3.0)),
        (lambda e: torch.where(e > 0.3, torch.inf, e**2), 0.3),  # a wall
        (lambda e: torch.where(e > 0.2, 1e5, 1e-3 * e), 0.2),  # a jump
        (lambda e: torch.where(e > 0.2, torch.nan, e**2), 0.2),
    ],
)
def test_the_good_end_is_within_a_thousandth_below_the_crossing(function, root):
    bracket, looks = searched(function, 2.0)
    assert bool((bracket.good <= root * (1 + 1e-9)).all())
    assert bool((bracket.good >= root * (1 - CLOSE)).all())
    assert bool((function(bracket.good) <= 2.0).all())
    assert looks <= 25


def test_smooth_bounds_take_few_looks():
    assert searched(lambda e: e**2, 2.0)[1] <= 9
    assert searched(lambda e: e**2 * (3 * e).exp(), 2.0)[1] <= 12


def test_a_bound_that_never_holds_leaves_zero_and_one_that_always_does_a_finite_size():
    never, _ = searched(lambda e: torch.full_like(e, torch.inf), 2.0)
    assert bool((never.good == 0).all())
    always, _ = searched(torch.zeros_like, 2.0)
    assert bool(torch.isfinite(always.good).all())
    assert bool((always.good > 1e15 * torch.tensor(STARTS)).all())


def test_a_search_ends_after_eighty_looks_whatever_a_bound_says():
    """On the level itself, up to a wall, no look says where the wall is."""
    bracket, looks = searched(lambda e: torch.where(e > 700.0, 2e9, 2.0), 2.0)
    assert looks == 80
    assert bool((bracket.good <= 700.0).all())
    assert bool((bracket.bad > 700.0).all())
    assert bool((bracket.bad > bracket.good * (1 + CLOSE)).any())


@pytest.mark.parametrize("bound", [0.02, 0.3, 9.0, 200.0])
def test_of_a_square_the_next_size_is_the_root(bound):
    """Up from what holds, and down from what does not: D grows as e²."""
    bracket = Bracket(torch.tensor([1.0]).double(), 2.0)
    bracket.take(torch.tensor([bound], dtype=torch.float64))
    assert float(bracket.size) == pytest.approx(math.sqrt(2 / bound), rel=1e-12)
