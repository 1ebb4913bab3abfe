"""Lengths of steps along a sphere, on forms whose eigenvalues are known."""

import pytest
import torch

from audit.attacks.balls import Ball
from audit.verify.climbing import climb
from audit.verify.feasible import Feasible
from audit.verify.pacing import along, first_pace, next_pace, step

SIZE = 0.5


def sets(count=1):
    return Feasible(Ball(2.0), torch.full((count,), SIZE, dtype=torch.float64))


def vector(*numbers):
    return torch.tensor([numbers], dtype=torch.float64)


def test_what_leads_along_the_sphere_is_at_right_angles_to_the_radius():
    u = vector(0.3, 0.4, 0.0)
    r = along(sets(), u, vector(2.0, 1.0, -1.0))
    assert (r * u).sum().item() == pytest.approx(0.0, abs=1e-15)
    torch.testing.assert_close(r, vector(0.8, -0.6, -1.0))  # g − (g·u / ε²) u


@pytest.mark.parametrize("u", [vector(0.3, 0.1, 0.0), vector(-0.3, -0.4, 0.0)])
def test_inside_and_where_d_rises_inwards_the_whole_gradient_counts(u):
    g = vector(2.0, 1.0, -1.0)
    torch.testing.assert_close(along(sets(), u, g), g)


def test_a_step_is_one_over_the_curvature_along_the_last_one():
    """D = uᵀGu / 2 of the eigenvalues 4 and 1: along the sphere it falls by 4 − 1."""
    weights = vector(4.0, 1.0)
    u = SIZE * vector(1.0, 0.0)
    tilted = SIZE * torch.nn.functional.normalize(vector(1.0, 1e-4))
    s = u - tilted
    y = along(sets(), tilted, weights * tilted) - along(sets(), u, weights * u)
    pace = next_pace(sets(), s, y, weights * u)
    assert pace.item() == pytest.approx(1 / (4 - 1), rel=1e-6)


def test_where_d_curves_upwards_a_step_is_longer_than_the_first_and_cut():
    g = vector(4.0, 0.0)
    unit = first_pace(sets(), g)
    assert unit.item() == pytest.approx(SIZE / 4)
    s = vector(0.0, 0.1)
    assert next_pace(sets(), s, -s, g).item() == pytest.approx(8 * unit.item())
    nearly = next_pace(sets(), s, 1e-9 * s, g)
    assert nearly.item() == pytest.approx(100 * unit.item())
    move = step(sets(), vector(0.0, 3.0), nearly, 0.25)
    torch.testing.assert_close(move, vector(0.0, 0.25 * SIZE))


def test_few_steps_part_eigenvalues_that_lie_close():
    """Five of them leave less than 40 of the power method, which is in closed form."""
    weights = torch.linspace(1.0, 0.9, 11, dtype=torch.float64)[None]

    def slope(rows, u):
        return (weights * u**2).sum(dim=1) / 2, weights * u

    u = SIZE * torch.nn.functional.normalize(torch.ones_like(weights))
    rows = torch.zeros(1, dtype=torch.long)
    found = climb(slope, rows, sets(), u, 5)
    power = SIZE * torch.nn.functional.normalize(weights**40 * u)
    assert found.value.item() > slope(rows, power)[0].item()
    assert found.value.item() >= (1 - 4e-3) * SIZE**2 / 2


def test_a_climb_that_falls_into_a_valley_goes_back_to_its_best_point():
    """D is a form, and nothing behind a wall; the first steps are as long as ε."""
    weights = torch.tensor([[2.0, 1.9]], dtype=torch.float64)

    def slope(rows, u):
        walled = (u[:, 0] < 0.2) | (u[:, 1] < 0.05)
        value = torch.where(walled, torch.nan, (weights * u**2).sum(dim=1) / 2)
        return value, torch.where(walled[:, None], 0.0, weights * u)

    rows = torch.zeros(1, dtype=torch.long)
    u = SIZE * torch.nn.functional.normalize(vector(0.5, 0.6))
    found = climb(slope, rows, sets(), u, 30)
    top = torch.nn.functional.normalize(vector(0.9949874, 0.1)) * SIZE
    assert found.value.item() >= 0.998 * slope(rows, top)[0].item()


def test_a_climb_goes_on_where_the_digits_of_d_are_lost_but_not_those_of_its_slope():
    """Without its digits below a hundredth D is 0 around the start, as it is behind."""
    weights = torch.tensor([[0.02, 8.0]], dtype=torch.float64)

    def slope(rows, u):
        value = (weights * u**2).sum(dim=1) / 2
        return (100 * value).floor() / 100, weights * u

    u = SIZE * torch.nn.functional.normalize(vector(1.0, 1e-6))
    found = climb(slope, torch.zeros(1, dtype=torch.long), sets(), u, 12)
    assert found.first.item() == 0
    assert found.value.item() >= 0.99 * 8 * SIZE**2 / 2
