"""What a referee takes for the same prediction: its tolerance, and last digits."""

import numpy as np
import pytest
import torch

from audit.families.location_scale import Normal
from audit.geometry.divergences import kl
from audit.nodes.noise import Noise
from audit.verify.holding import Again

EPS = 2.0**-52


def again(phi, moved, dtype=torch.float64, tolerance=0.25):
    family = Normal({"loc": (), "scale": ()})
    noise = Noise(0, np.arange(len(phi)), 2)
    return Again(kl(), family, phi, moved, noise, dtype, tolerance)


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_prediction_differs_by_more_than_the_tolerance_of_its_size():
    """Of its own, or the usual one of its place where that is larger: 1 and 5."""
    said = rows([1.0, 5.0], [-1.0, -5.0], [1.0, 5.0])
    check = again(said, said).differs
    within = rows([0.25, -1.25], [-0.25, 1.25], [0.0, 0.0])
    assert not check(said + within, said).any()
    assert check(said + (1 + 1e-6) * within, said).tolist() == [True, True, False]
    small = rows([0.0, 5.0], [2**0.5, 5.0])  # 0 is of a place whose usual size is 1
    assert not check(small + rows([0.24, 0.0]), small).any()
    assert check(small + rows([0.26, 0.0]), small).tolist() == [True, False]


def test_what_is_no_number_differs_from_what_is_one():
    """NaN and each infinity are equal to themselves alone, and 1 to no other."""
    every = (torch.nan, torch.inf, -torch.inf, 1.0)
    pairs = [(one, other) for one in every for other in every]
    ours, said = (rows(*([v] for v in column)) for column in zip(*pairs, strict=True))
    places = range(len(every))
    expected = [i != j for i in places for j in places]
    assert again(said, said).differs(ours, said).tolist() == expected


@pytest.mark.parametrize(
    ("dtype", "eps"), [(torch.float64, EPS), (torch.float32, 2.0**-23)]
)
def test_the_file_is_right_up_to_four_last_digits_of_what_the_referee_finds(dtype, eps):
    ours = rows([1.0, -1.0])
    near, far = (
        ours + ours.abs() * steps * eps for steps in (rows([4.0, -4.0]), rows([5, -5]))
    )
    found = again(ours, ours, dtype).as_said(near, far)
    assert torch.equal(found.phi, near)
    assert torch.equal(found.moved, ours)


def test_rounding_is_of_the_slope_times_what_four_last_digits_are():
    """KL of N(μ, 1) and N(μ', 1) is ½ (μ − μ')²: its slope is μ' − μ."""
    phi, moved = rows([1.0, 1.0], [1.0, 1.0]), rows([4.0, 1.0], [1.0, 1.0])
    found = again(phi, moved).rounding()
    # in the scale σ' the slope is 1/σ' − (1 + 9)/σ'³ = −9, and 0 where nothing moved
    expected = rows(4 * EPS * (3 * 5 + 9 * 2), 0.0)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-22)
