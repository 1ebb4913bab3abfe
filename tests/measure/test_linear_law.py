"""Discrete families: the linear coefficient against directions and exact sums."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.utils.flop_counter import FlopCounterMode

from audit.attacks.balls import Ball
from audit.attacks.laws import (
    FixedNorm,
    Gaussian,
    Moments,
    RandomDirection,
    UniformNorm,
)
from audit.families import build_family
from audit.measure.linear_law import LinearLaw

sizes = st.integers(1, 6)


def by_signs(root):
    signs = np.array(list(product([1.0, -1.0], repeat=root.shape[1])))
    return np.linalg.norm(signs @ root, axis=2).max(axis=1)


def coefficients(root):
    law = LinearLaw(torch.from_numpy(root))
    return law.coefficient.numpy(), law.lengths.numpy()


@given(n=st.integers(1, 3), rows=sizes, d=sizes, seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_the_worst_coefficient_is_the_best_of_all_sign_patterns(n, rows, d, seed):
    root = np.random.default_rng(seed).normal(size=(n, rows, d))
    worst, lengths = coefficients(root)
    np.testing.assert_allclose(worst, by_signs(root), rtol=1e-10)
    expected = np.linalg.norm(root, axis=2).sum(axis=1)
    np.testing.assert_allclose(lengths, expected, rtol=1e-12)


def test_no_direction_costs_more_and_one_costs_as_much():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(1, 4, 2))
    angles = np.linspace(0, math.pi, 20_001)
    v = np.stack([np.cos(angles), np.sin(angles)])
    costs = np.abs(root[0] @ v).sum(axis=0)
    worst, _ = coefficients(root)
    assert costs.max() <= worst[0] * (1 + 1e-12)
    assert costs.max() == pytest.approx(worst[0], rel=1e-6)


@pytest.mark.parametrize("rows", [9, 12])
def test_many_rows_get_a_lower_bound_that_is_nearly_the_worst(rows):
    root = np.random.default_rng(1).normal(size=(20, rows, 5))
    worst, _ = coefficients(root)
    truth = by_signs(root)
    assert (worst <= truth * (1 + 1e-12)).all()
    assert (worst > 0.97 * truth).all()
    assert np.isclose(worst, truth, rtol=1e-9).mean() > 0.7


def test_rows_of_zeros_cost_nothing():
    for rows in (1, 3, 10):
        worst, lengths = coefficients(np.zeros((2, rows, 4)))
        assert not worst.any()
        assert not lengths.any()


LAWS = {
    "poisson": (2.7, lambda rate: stats.poisson(rate)),
    "bernoulli": (0.3, lambda probs: stats.bernoulli(probs)),
    "geometric": (0.4, lambda probs: stats.geom(probs, loc=-1)),
}


def squared_distance(law, other):
    k = np.arange(200)
    ours, theirs = law.cdf(k), other.cdf(k)
    levels = np.unique(np.concatenate([[0.0], ours, theirs]))
    middle = (levels[1:] + levels[:-1]) / 2
    gap = np.searchsorted(ours, middle) - np.searchsorted(theirs, middle)
    return (np.diff(levels) * gap**2).sum()


@pytest.mark.parametrize("name", sorted(LAWS))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_coefficient_predicts_the_exact_squared_distance_of_small_steps(name, sign):
    value, law = LAWS[name]
    family = build_family(name, {"rate" if name == "poisson" else "probs": (1,)})
    step = sign * 1e-6
    root = family.linear_root(torch.tensor([[value]]).double()).dense().numpy()
    worst, _ = coefficients(root)
    exact = squared_distance(law(value), law(value + step))
    assert abs(step) * worst[0] == pytest.approx(exact, rel=1e-4)


def test_the_distance_of_bernoulli_coordinates_adds_up_along_a_direction():
    family = build_family("bernoulli", {"probs": (3,)})
    p, step = np.array([0.2, 0.5, 0.7]), np.array([1e-4, -2e-4, 3e-4])
    root = family.linear_root(torch.from_numpy(p)[None]).dense().numpy()
    found = np.abs(root @ step).sum()
    assert found == pytest.approx(np.abs(step).sum(), rel=1e-12)


ROOT = np.random.default_rng(2).normal(size=(1, 3, 4))
LAW = LinearLaw(torch.from_numpy(ROOT))


@pytest.mark.parametrize("attack", [Gaussian(0.2), RandomDirection(0.2)], ids=repr)
def test_a_random_attack_costs_the_sampled_mean(attack):
    expected = LAW.expected(attack).value.item()
    draws = attack.draw(np.random.default_rng(3), 100_000, 4)
    samples = np.abs(draws @ ROOT[0].T).sum(axis=1)
    error = samples.std() / math.sqrt(len(samples))
    assert abs(samples.mean() - expected) < 4 * error


def test_a_directed_attack_costs_the_worst_coefficient_times_the_mean_norm():
    truth = by_signs(ROOT)[0]
    fixed = LAW.expected(FixedNorm(0.3)).value.item()
    uniform = LAW.expected(UniformNorm(0.3)).value.item()
    assert fixed == pytest.approx(0.3 * truth, rel=1e-12)
    assert uniform == pytest.approx(0.15 * truth, rel=1e-12)


def test_two_moments_do_not_tell_a_linear_cost():
    assert LAW.expected(Moments(np.zeros(4), np.eye(4))) is None


@pytest.mark.parametrize("rows", [3, 12])
def test_the_worst_direction_is_a_unit_vector_that_costs_the_coefficient(rows):
    law = LinearLaw(torch.randn(5, rows, 4, generator=torch.manual_seed(0)).double())
    cost = law(law.direction.unsqueeze(-1)).squeeze(-1)
    np.testing.assert_allclose(law.direction.norm(dim=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(cost, law.coefficient, rtol=1e-12)


def test_up_to_eight_rows_every_pattern_of_signs_is_tried():
    root = np.random.default_rng(6).normal(size=(300, 8, 3))
    worst, _ = coefficients(root)
    np.testing.assert_allclose(worst, by_signs(root), rtol=1e-10)


def test_of_nine_rows_the_coefficient_is_a_lower_bound_and_not_always_the_worst():
    """What is called a bound may not be read as the maximum: some are below it."""
    root = np.random.default_rng(6).normal(size=(300, 9, 3))
    worst, _ = coefficients(root)
    truth = by_signs(root)
    assert (worst <= truth * (1 + 1e-12)).all()
    assert (worst < truth * (1 - 1e-6)).any()
    assert (worst > truth * (1 - 1e-6)).mean() > 0.8


@pytest.mark.parametrize("rows", [9, 30])
def test_many_rows_cost_twenty_steps_from_eight_starts(rows):
    """A step is A v and Aᵀ s; what the last signs come to is one product more."""
    d = 4
    root = torch.randn(3, rows, d, generator=torch.manual_seed(0)).double()
    with FlopCounterMode(display=False) as counter:
        _ = LinearLaw(root).coefficient
    assert counter.get_total_flops() <= (2 * 20 + 1) * 8 * (2 * 3 * rows * d)


def test_what_is_infinite_on_top_makes_every_value_infinite_and_positive():
    beyond = torch.tensor([0.0, math.inf, math.nan]).double()
    rows = torch.from_numpy(ROOT).expand(3, -1, -1)
    law, wanted = LinearLaw(rows, beyond), (0.0, math.inf, math.nan)
    delta = torch.full((3, 4, 1), 0.1).double()
    values = {
        "lengths": law.lengths,
        "coefficient": law.coefficient,
        "at": law(delta)[:, 0],
        "gaussian": law.expected(Gaussian(0.2)).value,
        "fixed": law.expected(FixedNorm(0.2)).value,
        "ball": law.worst(Ball(1.0))[1],
    }
    for name, found in values.items():
        assert math.isfinite(found[0]), name
        np.testing.assert_array_equal(found[1:], wanted[1:], err_msg=name)
    for direction in (law.direction, law.worst(Ball(1.0))[0], law.worst(Ball())[0]):
        assert direction[0].any()
        assert not direction[1:].any()
    taken = law.take(torch.tensor([1]))
    assert taken.lengths.tolist() == [math.inf]


def test_what_lies_beyond_the_rows_costs_without_end():
    rows = torch.tensor([[[1.0, -2.0]], [[1.0, -2.0]]], dtype=torch.float64)
    beyond = torch.tensor([0.0, torch.inf], dtype=torch.float64)
    delta = torch.tensor([[[0.5], [1.0]]] * 2, dtype=torch.float64)
    for law in (LinearLaw(rows, beyond), LinearLaw(rows, beyond).take(torch.arange(2))):
        assert law(delta)[:, 0].tolist() == [1.5, torch.inf]
        torch.testing.assert_close(
            law.coefficient, torch.tensor([5**0.5, torch.inf]).double()
        )
        torch.testing.assert_close(
            law.lengths, torch.tensor([5**0.5, torch.inf]).double()
        )
    assert LinearLaw(rows)(delta)[:, 0].tolist() == [1.5, 1.5]
