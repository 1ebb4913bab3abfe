"""Witnesses where the worst case is known: linear maps, corners, bounds, steps."""

import itertools
import math

import numpy as np
import pytest
import torch
from scans import SAMPLES, sample, written

from audit.attacks.balls import Ball
from audit.ground.errors import ConfigError
from audit.measure.bounds import read_bounds
from audit.verify.feasible import Feasible
from audit.verify.lowering import lowered_radius
from audit.verify.validity import validity
from audit.verify.witness import ascend
from verify.sited import sited

SIZES = torch.tensor([0.1, 0.5, 2.0]).double()
WEIGHTS = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.3, 1.0, -1.5, 2.0]]).double()
X = np.random.default_rng(0).normal(size=(6, 4))
NORMAL = {
    "family": "normal",
    "parameters": {"loc": "output", "scale": "exp(0*output)"},
}


def linear(folder, function=lambda x: x @ WEIGHTS.T, **model):
    """Return the sited scan of normals of scale 1 about a function of X."""
    config = written(folder, function, X, {**NORMAL, **model}, divergences=("kl",))
    return sited(config)


def cost(u):
    """KL of two normals of scale 1 whose means are W u apart."""
    return 0.5 * (u @ WEIGHTS.T).square().sum(-1)


def corners(p):
    """Return where a convex function is largest on a unit ball, but for p = 2."""
    if p == 1:
        return torch.cat([torch.eye(4), -torch.eye(4)]).double()
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4))).double()


@pytest.mark.parametrize("p", [2.0, math.inf, 1.0])
def test_on_a_linear_map_the_witness_is_the_largest_value_of_the_ball(p, tmp_path):
    exact, local, _ = linear(tmp_path)
    found = ascend(exact, local, SIZES, p)
    if p == 2:
        worst = 0.5 * torch.linalg.eigvalsh(WEIGHTS.T @ WEIGHTS)[-1]
    else:
        worst = cost(corners(p)).max()
    expected = (worst * SIZES**2).expand(6, 3)
    np.testing.assert_allclose(found.value, expected, rtol=1e-5)
    np.testing.assert_allclose(cost(found.u), found.value, rtol=1e-9)
    assert bool((Ball(p).norm(found.u) <= SIZES * (1 + 1e-9)).all())


@pytest.mark.parametrize("p", [2.0, math.inf, 1.0])
def test_on_the_linear_gaussian_the_witness_is_exact(p):
    """KL is ½ δᵀ F_x δ with F_x = Wᵀ Σ⁻¹ W, for every x and δ."""
    exact, local, _ = sited(sample("linear_gaussian", divergences=("kl",)), 20)
    found = ascend(exact, local, SIZES, p)
    with np.load(SAMPLES / "linear_gaussian_truth.npz") as truth:
        form = truth["W"].T @ np.linalg.inv(truth["Sigma"]) @ truth["W"]
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(form))))
    worst = {
        2.0: np.linalg.eigvalsh(form)[-1],
        1.0: np.diag(form).max(),
        math.inf: np.einsum("ki,ij,kj->k", signs, form, signs).max(),
    }
    expected = np.broadcast_to(0.5 * worst[p] * SIZES.numpy() ** 2, (20, 3))
    np.testing.assert_allclose(found.value, expected, rtol=1e-5)


def test_a_valid_range_is_kept_and_the_best_corner_within_it_is_found(tmp_path):
    exact, local, _ = linear(tmp_path)
    ends = X.min() - 0.05, X.max() + 0.05
    bounds = read_bounds(f"{ends[0]},{ends[1]}", (4,))
    found = ascend(exact, local, SIZES, math.inf, bounds)
    moved = torch.from_numpy(X).unsqueeze(1) + found.u
    assert float(moved.min()) >= ends[0] - 1e-12
    assert float(moved.max()) <= ends[1] + 1e-12
    for row, place in itertools.product(range(6), range(3)):
        low = (ends[0] - torch.from_numpy(X[row])).clamp_min(-SIZES[place])
        high = (ends[1] - torch.from_numpy(X[row])).clamp_max(SIZES[place])
        sides = torch.stack([low, high])
        every = torch.stack([sides[list(pick), range(4)] for pick in PICKS])
        assert float(found.value[row, place]) >= 0.9 * float(cost(every).max())


PICKS = list(itertools.product((0, 1), repeat=4))


def test_bounds_that_exclude_an_input_are_refused_in_words(tmp_path):
    exact, local, _ = linear(tmp_path)
    with pytest.raises(ConfigError, match="exclude input"):
        ascend(exact, local, SIZES, 2.0, read_bounds("-0.1,0.1", (4,)))


@pytest.mark.parametrize("text", ["1,1", "2,1", "nan,1", "no.npz", "1,2,3"])
def test_bounds_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="--bounds"):
        read_bounds(text, (4,))


def test_a_model_that_goes_in_steps_is_searched_without_a_gradient(tmp_path):
    """Steps of 1/8: the largest value of the ball is at most a step away."""

    def stairs(x):
        return torch.floor(8 * x @ WEIGHTS.T) / 8

    config = written(
        tmp_path, stairs, X[:3], NORMAL, divergences=("kl",), method="finite-difference"
    )
    exact, local, _ = sited(config)
    found = ascend(exact, local, SIZES[1:], 2.0)
    assert found.by == "random search"
    top = torch.linalg.eigvalsh(WEIGHTS.T @ WEIGHTS)[-1].sqrt() * SIZES[1:]
    assert bool((found.value <= 0.5 * (top + 0.25).square()).all())
    assert bool((found.value >= 0.5 * (0.9 * top - 0.25).clamp_min(0).square()).all())
    again = ascend(exact, local, SIZES[1:], 2.0)
    assert torch.equal(found.u, again.u)


def test_a_perturbation_that_leaves_the_family_moves_it_infinitely(tmp_path):
    model = {"parameters": {"loc": "output[:, :1]", "scale": "output[:, 1:]"}}
    exact, local, _ = linear(
        tmp_path, lambda x: torch.stack([x[:, 0], 1 + x[:, 1] / 9], 1), **model
    )
    found = ascend(exact, local, torch.tensor([0.5, 30.0]), 2.0)
    assert bool(torch.isfinite(found.value[:, 0]).all())
    assert bool(torch.isinf(found.value[:, 1]).all())


def test_witnesses_are_keyed_by_the_input_and_grow_with_the_size(tmp_path):
    config = sample("heteroscedastic", divergences=("kl",))
    whole, part = (sited(config, count) for count in (12, 5))
    sizes = torch.tensor([0.03, 0.1, 0.3, 1.0]).double()
    one, other = (ascend(exact, local, sizes) for exact, local, _ in (whole, part))
    np.testing.assert_allclose(one.value[:5], other.value, rtol=1e-6)
    assert bool((one.value.diff(dim=1) >= 0).all())


@pytest.mark.parametrize("p", [2.0, math.inf, 1.0])
@pytest.mark.parametrize("boxed", [False, True])
def test_the_nearest_point_of_a_set_is_the_nearest(p, boxed):
    """No random point of the set is nearer to z (the sets are convex)."""
    rng = torch.Generator().manual_seed(1)
    z = 2 * torch.randn(5, 3, generator=rng).double()
    size = torch.full((5,), 0.8).double()
    ends = (torch.full((5, 3), -0.3).double(), torch.full((5, 3), 0.5).double())
    within = Feasible(Ball(p), size, *(ends if boxed else ()))
    nearest = within.nearest(z)
    assert bool((Ball(p).norm(nearest) <= size * (1 + 1e-12)).all())
    points = 1.6 * torch.rand(200_000, 3, generator=rng).double() - 0.8
    inside = Ball(p).norm(points) <= 0.8
    if boxed:
        inside &= (points >= ends[0][0]).all(1) & (points <= ends[1][0]).all(1)
        assert torch.equal(nearest.clamp(ends[0], ends[1]), nearest)
    best = torch.cdist(z, points[inside]).amin(dim=1)
    assert bool(((z - nearest).norm(dim=1) <= best + 1e-12).all())


def test_a_lowered_radius_of_a_linear_map_is_the_exact_one(tmp_path):
    """From a start of three times as much it comes down to √(2 τ / λ)."""
    exact, local, _ = linear(tmp_path)
    tau = 0.7
    known = torch.linalg.eigvalsh(WEIGHTS.T @ WEIGHTS)[-1]
    expected = math.sqrt(2 * tau / float(known))
    start = torch.full((6,), 3 * expected).double()
    start[0] = torch.inf
    radius, u = lowered_radius(exact, local, tau, start)
    np.testing.assert_allclose(radius, expected, rtol=1e-5)
    np.testing.assert_allclose(cost(u), tau, rtol=1e-5)
    np.testing.assert_allclose(u.norm(dim=1), radius, rtol=1e-12)


@pytest.mark.parametrize("far", [1e3, 1e12, 1e20, 1e50])
def test_a_witness_from_afar_is_shrunk_to_the_level_and_not_to_zero(tmp_path, far):
    exact, local, _ = linear(tmp_path)
    tau = 0.7
    known = torch.linalg.eigvalsh(WEIGHTS.T @ WEIGHTS)[-1]
    expected = math.sqrt(2 * tau / float(known))
    start = torch.full((6,), 1.1 * expected).double()
    found = ascend(exact, local, torch.tensor([far]).double(), 2.0)
    radius, _ = lowered_radius(exact, local, tau, start, known=found)
    assert bool((radius >= expected * (1 - 1e-5)).all())
    np.testing.assert_allclose(radius, expected, rtol=1e-5 if far < 1e30 else 0.1001)


@pytest.mark.parametrize(
    ("name", "rows", "most"), [("digits_cnn", 60, 0.17), ("heteroscedastic", 150, 0.71)]
)
def test_witnesses_lower_the_critical_radius(name, rows, most):
    from audit.verify.critical import critical_radius

    exact, local, _ = sited(sample(name, divergences=("kl",)), rows)
    along = critical_radius(exact, local, 1.0).value
    radius, u = lowered_radius(exact, local, 1.0, along)
    assert float((radius / local.radius(1.0)).median()) <= most
    assert bool((radius <= along).all())
    lower = u.abs().sum(dim=1) > 0
    value, _ = exact(lower.nonzero()[:, 0], u[lower].unsqueeze(1))
    assert bool((value >= 1 - 2e-6).all())


def test_the_validity_radius_is_where_a_cubic_leaves_ten_percent(tmp_path):
    """KL = ½ (u + a u²)², so the ratio to ½ u² is (1 ± a u)²: 10 % at √1.1 − 1.

    With a > 0 the side of +x is the worse one.
    """
    a = 0.25
    x = np.zeros((4, 1))
    config = written(
        tmp_path,
        lambda x: x + a * x * x,
        x,
        NORMAL,
        divergences=("kl",),
    )
    exact, local, _ = sited(config)
    found = validity(exact, local)
    expected = (math.sqrt(1.1) - 1) / a  # 1 − √.9 = .0513 comes later
    np.testing.assert_allclose(found.radius, expected, rtol=1e-4)
    up, down = (1 + a * expected) ** 2, (1 - a * expected) ** 2
    skew = (up - down) / (up + down) * local.worst[:, 0].sign()
    np.testing.assert_allclose(found.skew, skew, rtol=1e-4)


def test_a_local_law_that_is_exact_is_valid_everywhere(tmp_path):
    exact, local, _ = linear(tmp_path)
    found = validity(exact, local)
    assert bool(torch.isinf(found.radius).all())
    assert float(found.skew.abs().max()) < 1e-6
