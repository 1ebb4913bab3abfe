"""Ascent on forms, whose maxima on balls have closed forms."""

import math
from types import SimpleNamespace

import pytest
import torch

from audit.attacks.balls import Ball
from audit.verify.climbing import climb
from audit.verify.feasible import Feasible
from audit.verify.slopes import _InFeatures

WEIGHTS = torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64)


class Form:
    """D(u) = Σ w u² / 2 with its gradient; counts what it is asked."""

    def __init__(self, weights=WEIGHTS):
        self.weights, self.asked = weights, 0

    def __call__(self, rows, u):
        self.asked += len(rows)
        return (self.weights * u**2).sum(dim=1) / 2, self.weights * u


def summit(start, p=2.0, size=0.5, steps=40, form=None):
    form = form or Form()
    u = torch.tensor([start], dtype=torch.float64)
    size = torch.tensor([size], dtype=torch.float64)
    u = u * (size / Ball(p).norm(u)).unsqueeze(1)
    found = climb(
        form, torch.zeros(1, dtype=torch.long), Feasible(Ball(p), size), u, steps
    )
    return found, form.asked


@pytest.mark.parametrize(
    ("p", "most"),
    [(2.0, 4 * 0.25 / 2), (math.inf, 8 * 0.25 / 2), (1.0, 4 * 0.25 / 2)],
)
def test_the_largest_form_on_a_ball_is_found(p, most):
    found, _ = summit([0.7, 0.6, 0.3], p)
    assert found.value.item() == pytest.approx(most, rel=1e-3)


def test_where_the_gradient_points_out_of_the_ball_nothing_more_is_asked():
    found, asked = summit([1.0, 0.0, 0.0])
    assert asked == 1
    assert bool(found.through)


def test_what_is_left_to_gain_near_the_top_is_as_little_as_is_said():
    """A point that rests has at most 10⁻⁴ λ₁ / (λ₁ − λ₂) of D left, and under 1 %."""
    for second in (0.5, 0.9, 0.99, 0.999):
        form = Form(torch.tensor([1.0, second], dtype=torch.float64))
        for angle in torch.linspace(0.01, 0.7, 30).tolist():
            start = [math.cos(angle), math.sin(angle)]
            found, asked = summit(start, size=1.0, form=form)
            left = 1 - found.value.item() / 0.5
            if asked == 1:
                assert left <= min(0.01, 1.1e-4 / (1 - second))
            form.asked = 0


def test_inside_the_ball_a_climb_goes_on():
    form = Form()
    size = torch.tensor([0.5], dtype=torch.float64)
    inside = torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64)
    sets = Feasible(Ball(2.0), size)
    found = climb(form, torch.zeros(1, dtype=torch.long), sets, inside, 20)
    assert found.value.item() == pytest.approx(4 * 0.25 / 2, rel=1e-12)
    assert found.first.item() == pytest.approx(4 * 0.01 / 2)


def test_each_fall_from_an_inner_hill_makes_the_next_steps_a_quarter():
    """In ℓ∞ steps are η ε, η = 1 − k/4 of three; the third, after two falls, a 16th."""
    away = (1 - 2 / 4) * 0.5 / 4**2

    def hill(rows, u):
        value = (-((u[:, 0] - 0.1) ** 2) / (2 * 0.01**2)).exp()
        return value, (0.1 - u) / 0.01**2 * value.unsqueeze(1)

    ball = Feasible(Ball(math.inf), torch.tensor([0.5], dtype=torch.float64))
    start = torch.tensor([[0.1 + away]], dtype=torch.float64)
    found = climb(hill, torch.zeros(1, dtype=torch.long), ball, start, 3)
    assert found.first.item() == pytest.approx(math.exp(-((100 * away) ** 2) / 2))
    assert found.value.item() == pytest.approx(1.0)


def test_differences_in_few_features_are_the_gradient_of_a_parabola():
    """D = aᵀu + ½ |u|²: central differences leave no error but rounding."""
    a = torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64)

    def exact(rows, u):
        return u @ a + u.square().sum(dim=2) / 2, None

    exact.site = SimpleNamespace(lengths=lambda: torch.tensor([4.0, 9.0]).double())
    u = torch.tensor([[0.1, 0.2, -0.3], [1.0, 0.0, 2.0]], dtype=torch.float64)
    value, gradient = _InFeatures(exact)(torch.tensor([1, 0]), u)
    torch.testing.assert_close(value, exact(None, u.unsqueeze(1))[0][:, 0])
    torch.testing.assert_close(gradient, a + u, rtol=1e-6, atol=1e-6)
