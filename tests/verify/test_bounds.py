"""The box of a valid range around an input, in units of the perturbation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.ground.errors import ConfigError
from audit.measure.bounds import Bounds, read_bounds


def site(x, free, unit):
    frame = SimpleNamespace(free=torch.tensor(free), unit=torch.tensor(unit).double())
    noise = SimpleNamespace(index=np.arange(7, 7 + len(x)))
    return SimpleNamespace(frame=frame, x=torch.tensor(x), noise=noise)


def test_an_input_may_lie_on_its_bounds_and_moves_inwards_alone():
    bounds = Bounds(np.array([0.0, -1.0, -np.inf]), np.array([2.0, 1.0, 4.0]))
    place = site([[0.0, 1.0, 3.0], [2.0, -1.0, 4.0]], [0, 2], [[0.5, 2.0]])
    low, high = bounds.box(place)
    assert low.tolist() == [[0.0, -torch.inf], [-4.0, -torch.inf]]
    assert high.tolist() == [[4.0, 0.5], [0.0, 0.0]]


def test_what_does_not_move_is_between_the_ends():
    bounds = Bounds(np.array([0.0, 0.0]), np.array([2.0, 2.0]))
    low, high = bounds.box(site([[1.0, 2.0]], [0, 1], [[1.0, 0.0]]))
    assert low.tolist() == [[-1.0, -torch.inf]]
    assert high.tolist() == [[1.0, torch.inf]]


@pytest.mark.parametrize("beyond", [-1e-3, 2 + 1e-3])
def test_the_input_that_lies_beyond_is_named(beyond):
    bounds = Bounds(np.array([0.0, 0.0]), np.array([2.0, 2.0]))
    with pytest.raises(ConfigError, match="exclude input 8: its feature 1 is"):
        bounds.box(site([[1.0, 1.0], [1.0, beyond]], [0], [[1.0]]))


def test_a_range_holds_more_than_one_number():
    assert read_bounds("1,1.5", (2,)).upper.tolist() == [1.5, 1.5]
    for text in ("1,1", "1.5,1"):
        with pytest.raises(ConfigError, match="leave nothing between"):
            read_bounds(text, (2,))
