"""Predictions of densities and samplers held against exact values; both views agree."""

import math

import numpy as np
import pytest
import torch
from scans import attacks, columns
from scipy import integrate, special
from verify.sited import sited

from implicit.laws import (
    NORMAL,
    X,
    codes,
    columns_of,
    config_of,
    factor,
    log_density,
    mean,
    onnx_file,
    push,
    report_of,
)

SMALL = attacks(
    gaussian={"sigma": "0.01"},
    fixed_norm={"norm": "0.01"},
    random_direction={"max_norm": "0.01"},
)
SMALL_ONES = ["kl", "reverse_kl", "quantile", "hellinger", "chi_squared"]
LARGE = attacks(fixed_norm={"norm": "0.5"})
TWO = {"x": 3, "theta": 1}
THREE = {"x": 3, "theta": 2, "z": 2}
OUTPUTS = ["log_prob", "sample"]


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    return onnx_file(
        tmp_path_factory.mktemp("flow") / "flow.onnx",
        lambda x, theta, z: (log_density(x, theta), push(x, z)),
        THREE,
        OUTPUTS,
    )


def gauss_kl(x, other):
    """Return KL(N(μ, Σ) ‖ N(μ', Σ')) of the affine law at two conditions."""
    points = torch.as_tensor(np.stack([x, other]))
    (m, n), (f, g) = mean(points).numpy(), factor(points).numpy()
    inverse = np.linalg.inv(g @ g.T)
    size = np.log(np.linalg.det(g) / np.linalg.det(f)) * 2
    inside = np.trace(inverse @ f @ f.T) + (n - m) @ inverse @ (n - m)
    return 0.5 * (inside - 2 + size)


def push_distance(x, other):
    """Return E‖T(x, z) − T(x', z)‖² of the affine law."""
    points = torch.as_tensor(np.stack([x, other]))
    (m, n), (f, g) = mean(points).numpy(), factor(points).numpy()
    return np.square(m - n).sum() + np.square(f - g).sum()


@pytest.mark.sweep(2)
@pytest.mark.parametrize("sampling", ["random", "sobol"])
@pytest.mark.parametrize("divergence", SMALL_ONES)
def test_small_attacks_do_what_is_predicted(flow, divergence, sampling):
    found = columns_of(
        flow, X, NORMAL, divergence, verify=3, attacks=SMALL, sampling=sampling
    )
    for label in ("gaussian", "fixed_norm", "random_direction"):
        ratio, parted = found[f"{label}_ratio"], found[f"{label}_parted"]
        assert (parted == 0).all(), label
        np.testing.assert_allclose(ratio, 1, atol=0.15, err_msg=label)


@pytest.mark.parametrize(
    ("divergence", "exact"),
    [
        ("kl", gauss_kl),
        ("reverse_kl", lambda x, other: gauss_kl(other, x)),
        ("quantile", push_distance),
    ],
)
def test_a_large_attack_realises_the_closed_form(flow, divergence, exact):
    report = report_of(
        flow, X, NORMAL, verify=3, attacks=LARGE, divergences=(divergence,)
    )
    found = columns(report, divergence)
    place = {worst.index: worst.directions[divergence][0] for worst in report.worst}
    for i, x in enumerate(X):
        step = 0.5 * np.asarray(place[i])
        truth = max(exact(x, x + step), exact(x, x - step))
        realised, error = (found[f"fixed_norm_realised{s}"][i] for s in ("", "_se"))
        # The verified direction has draws of its own.
        assert abs(realised - truth) <= 4 * error + 0.05 * truth


def test_an_unnormalised_density_is_held_against_its_own_law(tmp_path, flow):
    """The realised KL is that of q/Z, whatever Z does between x and x + δ."""
    path = onnx_file(
        tmp_path / "loose.onnx",
        lambda x, theta, z: (log_density(x, theta) + 5 * x[:, 0], push(x, z)),
        THREE,
        OUTPUTS,
    )
    options = {"verify": 3, "attacks": LARGE}
    one, other = (columns_of(p, X, NORMAL, **options) for p in (flow, path))
    for quantity in ("trace", "eigenvalue", "fixed_norm_realised"):
        np.testing.assert_allclose(one[quantity], other[quantity], 2e-3)


def test_a_grid_realises_to_three_digits_past_a_kink_it_does_not_know(tmp_path):
    """A Laplace law's exact KL: |m| + exp(−|m|) − 1 for scales of one."""

    def law(x, theta):
        return -(theta[:, 0] - x[:, 0] - x[:, 1]).abs() - math.log(2)

    path = onnx_file(tmp_path / "l.onnx", law, {"x": 2, "theta": 1}, ["log_prob"])
    found = columns_of(path, X[:, :2], verify=3, attacks=LARGE)
    np.testing.assert_allclose(found["trace"], 2, 1e-4)
    shift = 0.5 * math.sqrt(2)
    truth = shift + math.exp(-shift) - 1
    np.testing.assert_allclose(found["fixed_norm_realised"], truth, 1e-3)
    assert "fixed_norm_realised_se" not in found


def test_reverse_kl_on_a_grid_sees_a_place_that_only_the_moved_law_has(tmp_path):
    """A second place 40 away, whose share grows from 10⁻¹³ to a tenth and more.

    The grid of the first law leaves that place out. Both places move with x, so that
    the local form is no rounding error.
    """

    def law(x, theta):
        share = torch.sigmoid(-30 + 60 * x)
        near = -0.5 * (theta - 0.1 * x) ** 2 + torch.log1p(-share)
        far = -0.5 * (theta - 0.1 * x - 40) ** 2 + share.log()
        both = torch.logsumexp(torch.cat([near, far], dim=1), dim=1)
        return both - 0.5 * math.log(2 * math.pi)

    x, steps = np.array([[0.0], [0.01]]), (0.5, -0.5)
    path = onnx_file(
        tmp_path / "g.onnx", law, {"x": 1, "theta": 1}, ["log_prob"], torch.float64
    )
    exact, _, _ = sited(config_of(path, x, divergences=("reverse_kl",)))
    u = torch.tensor(steps, dtype=torch.float64).reshape(1, 2, 1).repeat(2, 1, 1)
    found, _ = exact(torch.arange(2), u)
    for i, at in enumerate(x[:, 0]):
        truth = [coin(at + step, at) + (0.1 * step) ** 2 / 2 for step in steps]
        assert found[i].tolist() == pytest.approx(truth, rel=1e-4)


def coin(here, there):
    """KL of the coins that choose between places 40 apart, in which no law doubts."""
    (p, q) = (1 / (1 + math.exp(30 - 60 * x)) for x in (here, there))
    return special.rel_entr([p, 1 - p], [q, 1 - q]).sum()


# A family written as parameters, and as a density with its sampler


def normal_parts(x):
    return torch.sin(x[:, :1]) + x[:, 1:2], torch.exp(0.5 * x[:, 2:])


def normal_law(x, theta, z):
    loc, scale = normal_parts(x)
    apart = (theta - loc) / scale
    log_prob = -0.5 * apart**2 - scale.log() - 0.5 * math.log(2 * math.pi)
    return log_prob[:, 0], loc + scale * z


def student_law(x, theta, z):
    """Four degrees of freedom, whose quantile function is elementary."""
    loc, scale = normal_parts(x)
    apart = (theta - loc) / scale
    log_prob = -2.5 * torch.log1p(apart**2 / 4) - scale.log() + math.log(3 / 8)
    a = 4 * z * (1 - z)
    root = torch.cos(torch.acos(a.sqrt()) / 3) / a.sqrt()
    drawn = torch.sign(z - 0.5) * 2 * torch.sqrt((root - 1).clamp_min(1e-30))
    return log_prob[:, 0], loc + scale * drawn


def mixture_parts(x):
    logits = torch.stack([x[:, 0], 0.3 - x[:, 0]], dim=1)
    loc = torch.stack([-1.5 + x[:, 1], 1.0 + x[:, 2]], dim=1)
    scale = torch.stack([torch.exp(0.4 * x[:, 2]), 0.7 + 0 * x[:, 0]], dim=1)
    return logits, loc, scale


def mixture_density(x, theta):
    logits, loc, scale = mixture_parts(x)
    parts = -0.5 * ((theta - loc) / scale) ** 2 - scale.log()
    constant = 0.5 * math.log(2 * math.pi)
    return torch.logsumexp(parts + torch.log_softmax(logits, 1), 1) - constant


def mixture_law(x, theta, z):
    """The first number chooses the component: the half-line of a normal number."""
    logits, loc, scale = mixture_parts(x)
    share = 0.5 * (1 + torch.erf(z[:, :1] / math.sqrt(2)))
    first = (share < torch.softmax(logits, 1)[:, :1]).to(x.dtype)
    choice = torch.cat([first, 1 - first], dim=1)
    drawn = (choice * (loc + scale * z[:, 1:])).sum(1, keepdim=True)
    return mixture_density(x, theta), drawn


@pytest.mark.parametrize("sampling", ["random", "sobol"])
def test_a_normal_law_says_the_same_both_ways(tmp_path, sampling):
    inputs = {"x": 3, "theta": 1, "z": 1}
    heads = onnx_file(tmp_path / "p.onnx", normal_parts, {"x": 3}, ["loc", "scale"])
    law = onnx_file(tmp_path / "q.onnx", normal_law, inputs, OUTPUTS)
    one = report_of(heads, X, {"family": "normal"})
    other = report_of(law, X, NORMAL, sampling=sampling)
    for name in ("kl", "quantile"):
        assert_agree(columns(one, name), columns(other, name))


def assert_agree(one, other):
    for name in ("trace", "eigenvalue"):
        errors = [found.get(f"{name}_se", np.zeros(3)) for found in (one, other)]
        apart = np.abs(one[name] - other[name])
        assert (apart <= 4 * np.hypot(*errors) + 1e-5 * one[name]).all(), name


def test_a_students_law_says_the_same_both_ways(tmp_path):
    inputs = {"x": 3, "theta": 1, "z": 1}
    heads = onnx_file(
        tmp_path / "p.onnx",
        lambda x: (4 + 0 * x[:, :1], *normal_parts(x)),
        {"x": 3},
        ["df", "loc", "scale"],
    )
    law = onnx_file(tmp_path / "q.onnx", student_law, inputs, OUTPUTS)
    one = columns_of(heads, X, {"family": "student_t"})
    other = columns_of(law, X, {"noise": "z:uniform"}, sampling="random")
    assert_agree(one, other)


def test_a_mixture_says_the_same_both_ways(tmp_path):
    inputs = {"x": 3, "theta": 1, "z": 2}
    heads = onnx_file(
        tmp_path / "p.onnx",
        lambda x: mixture_parts(x),
        {"x": 3},
        ["logits", "loc", "scale"],
    )
    law = onnx_file(tmp_path / "q.onnx", mixture_law, inputs, OUTPUTS)
    model = {"family": "mixture:normal"}
    one = columns_of(heads, X, model)
    other = columns_of(law, X, NORMAL)
    assert_agree(one, other)


def test_quadrature_of_a_mixture_is_its_fisher_information(tmp_path):
    path = onnx_file(tmp_path / "q.onnx", mixture_density, TWO, ["log_prob"])
    found = columns_of(path, X)
    for i, x in enumerate(X):
        point = torch.from_numpy(x)[None].requires_grad_()

        def summand(t, point=point):
            log_q = mixture_density(point, torch.tensor([[t]], dtype=torch.float64))
            (score,) = torch.autograd.grad(log_q, point)
            return math.exp(log_q.item()) * score.square().sum().item()

        truth = integrate.quad(summand, -12, 12, points=(-1.5, 1.0), epsabs=1e-8)[0]
        assert found["trace"][i] == pytest.approx(truth, rel=1e-5)
    assert not codes(report_of(path, X))
