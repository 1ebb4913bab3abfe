"""Densities that nothing draws from: grids, discrete coordinates, normalisation."""

import math

import numpy as np
import pytest
import torch
from scans import columns
from torch.nn.functional import logsigmoid

from implicit.laws import (
    NORMAL,
    X,
    assert_within,
    codes,
    columns_of,
    fisher,
    log_density,
    notes_of,
    onnx_file,
    push,
    report_of,
)

POINTS = np.array([[0.3, -0.4], [1.0, 0.5], [-2.0, 0.1]])
TWO = {"x": 2, "theta": 1}


def normal(x, theta):
    """N(sin x₀, exp x₁), with Fisher diag(cos² x₀ / σ², 2)."""
    z = (theta[:, 0] - torch.sin(x[:, 0])) * torch.exp(-x[:, 1])
    return -0.5 * z**2 - x[:, 1] - 0.5 * math.log(2 * math.pi)


def normal_fisher(x):
    return np.diag([math.cos(x[0]) ** 2 * math.exp(-2 * x[1]), 2.0])


def log_normal(x, theta):
    return normal(x, theta.log()) - theta[:, 0].log()


def choice_and_time(x, theta):
    """A sign with odds exp(x₀ + x₁), and N(x₁ + s, 1) on the log of a time."""
    time, sign = theta[:, 0], theta[:, 1]
    apart = time.log() - x[:, 1] - sign
    chosen = logsigmoid(sign * (x[:, 0] + x[:, 1]))
    return chosen - apart**2 / 2 - time.log() - math.log(2 * math.pi) / 2


def choice_fisher(x):
    odds = x[0] + x[1]
    share = 1 / ((1 + math.exp(-odds)) * (1 + math.exp(odds)))
    return share * np.ones((2, 2)) + np.diag([0.0, 1.0])


def assert_exact(found, tensor, x=POINTS, rtol=1e-4):
    truth = np.stack([tensor(row) for row in x])
    np.testing.assert_allclose(found["trace"], np.trace(truth, axis1=1, axis2=2), rtol)
    np.testing.assert_allclose(
        found["eigenvalue"], np.linalg.eigvalsh(truth)[:, -1], rtol
    )


@pytest.mark.parametrize(("dtype", "rtol"), [("auto", 1e-5), ("float64", 1e-8)])
def test_one_dimension_is_integrated(tmp_path, dtype, rtol):
    path = onnx_file(tmp_path / "q.onnx", normal, TWO, ["log_prob"])
    report = report_of(path, POINTS, {"dtype": dtype})
    found = columns(report, "kl")
    assert_exact(found, normal_fisher, rtol=rtol)
    np.testing.assert_allclose(found["normalisation"], 1, atol=1e-6)
    assert report.divergences["kl"].estimator == "quadrature"
    assert report.divergences["kl"].draws is None
    assert "grid" in notes_of(report)
    assert set(report.divergences) == {"kl"}
    assert not {"trace_se", "eigenvalue_se", "eigenvalue_lower"} & set(found)
    assert not codes(report)


def test_a_target_without_an_axis_of_its_own(tmp_path):
    path = onnx_file(
        tmp_path / "flat.onnx",
        lambda x, theta: normal(x, theta.unsqueeze(1)),
        {"x": 2, "theta": ()},
        ["log_prob"],
    )
    assert_exact(columns_of(path, POINTS), normal_fisher)


def test_a_log_density_with_an_axis_of_its_own(tmp_path):
    path = onnx_file(
        tmp_path / "kept.onnx",
        lambda x, theta: normal(x, theta).unsqueeze(1),
        TWO,
        ["log_prob"],
    )
    assert_exact(columns_of(path, POINTS), normal_fisher)


def test_positive_coordinates(tmp_path):
    path = onnx_file(tmp_path / "time.onnx", log_normal, TWO, ["log_prob"])
    assert_exact(
        columns_of(path, POINTS, {"target_space": "t:positive"}), normal_fisher
    )


def test_a_condition_of_one_number_and_one_row(tmp_path):
    path = onnx_file(
        tmp_path / "one.onnx",
        lambda x, theta: -0.5 * (theta - 3 * x)[:, 0] ** 2,
        {"x": 1, "theta": 1},
        ["log_prob"],
    )
    found = columns_of(path, np.array([[0.2]]))
    np.testing.assert_allclose(found["trace"], 9, 1e-5)
    np.testing.assert_allclose(found["normalisation"], math.sqrt(2 * math.pi), 1e-6)


def test_a_discrete_coordinate_in_one_concatenated_input(tmp_path):
    path = onnx_file(
        tmp_path / "choice.onnx",
        lambda both: choice_and_time(both[:, 2:], both[:, :2]),
        {"both": 4},
        ["log_prob"],
    )
    model = {
        "input_layout": "theta:0:2,x:2:4",
        "target_space": "rt:positive,choice:{-1,1}",
    }
    report = report_of(path, POINTS, model)
    assert_exact(columns(report, "kl"), choice_fisher)
    assert "rt positive, choice choice" in notes_of(report)
    assert not codes(report)


def test_a_target_of_choices_alone_is_summed(tmp_path):
    path = onnx_file(
        tmp_path / "bernoulli.onnx",
        lambda x, theta: logsigmoid(theta[:, 0] * (x[:, 0] + x[:, 1])),
        TWO,
        ["log_prob"],
    )
    found = columns_of(path, POINTS, {"target_space": "c:{-1,1}"})
    assert_exact(found, lambda x: choice_fisher(x) - np.diag([0.0, 1.0]))


def test_two_dimensions_are_integrated(tmp_path):
    inputs = {"x": 3, "theta": 2}
    path = onnx_file(tmp_path / "two.onnx", log_density, inputs, ["log_prob"])
    assert_exact(columns_of(path, X), lambda x: fisher(x).numpy(), X)


def test_a_density_without_its_constant_is_normalised_and_said_to_be(tmp_path):
    """log q + 2 x₀ − x₁: the scores' mean is (2, −1), their covariance is F."""
    path = onnx_file(
        tmp_path / "loose.onnx",
        lambda x, theta: normal(x, theta) + 2 * x[:, 0] - x[:, 1],
        TWO,
        ["log_prob"],
    )
    report = report_of(path, POINTS)
    found = columns(report, "kl")
    assert_exact(found, normal_fisher)
    z = np.exp(2 * POINTS[:, 0] - POINTS[:, 1])
    np.testing.assert_allclose(found["normalisation"], z, 1e-5)
    np.testing.assert_allclose(found["score_mean"], math.sqrt(5), 1e-5)
    assert {"normalisation", "score_mean"} <= codes(report)
    assert report.exit_code == 4
    allowed = report_of(path, POINTS, {"unnormalised": True})
    assert not {"normalisation", "score_mean"} & codes(allowed)
    assert_exact(columns(allowed, "kl"), normal_fisher)


def test_a_file_cannot_excuse_itself_from_integrating_to_one(tmp_path):
    path = onnx_file(
        tmp_path / "loose.onnx",
        lambda x, theta: normal(x, theta) + 2 * x[:, 0] - x[:, 1],
        TWO,
        ["log_prob"],
        metadata={"contract": "density", "unnormalised": True},
    )
    report = report_of(path, POINTS)
    assert {"normalisation", "score_mean", "metadata_ignored"} <= codes(report)
    assert report.exit_code == 4
    allowed = report_of(path, POINTS, {"unnormalised": True})
    assert not {"normalisation", "score_mean"} & codes(allowed)


# With a sampler, Z is a check on the verified inputs


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_density_with_a_sampler_integrates_to_one(tmp_path, n):
    """By a grid in one dimension, by importance sampling in more."""

    def law(x, theta, z):
        scale = torch.exp(x[:, :1])
        apart = (theta - x[:, 1:]) / scale
        size = n * (x[:, 0] + 0.5 * math.log(2 * math.pi))
        return -0.5 * apart.square().sum(-1) - size, x[:, 1:] + scale * z

    path = onnx_file(
        tmp_path / "wide.onnx",
        law,
        {"x": 2, "theta": n, "z": n},
        ["log_prob", "sample"],
    )
    report = report_of(path, POINTS, NORMAL, verify=3)
    found = columns(report, "kl")
    apart = np.abs(found["normalisation"] - 1)
    assert (apart <= 4 * found["normalisation_se"] + 1e-6).all()
    assert (found["normalisation_se"] < 0.1).all()
    assert ((found["normalisation_se"] > 0) == (n > 1)).all()
    assert not {"normalisation", "mass_kl"} & codes(report)


def test_one_with_a_sampler_that_does_not_is_found_out(tmp_path):
    path = onnx_file(
        tmp_path / "loose.onnx",
        lambda x, theta, z: (log_density(x, theta) + 3 * x[:, 0], push(x, z)),
        {"x": 3, "theta": 2, "z": 2},
        ["log_prob", "sample"],
    )
    report = report_of(path, X, NORMAL, verify=3)
    found = columns(report, "kl")
    assert_within(found, np.stack([fisher(x) for x in X]))
    apart = np.abs(found["normalisation"] - np.exp(3 * X[:, 0]))
    assert (apart <= 4 * found["normalisation_se"]).all()
    assert (np.abs(found["score_mean"] - 3) <= 4 * found["score_mean_se"]).all()
    assert {"mass_kl", "score_mean"} <= codes(report)
    assert report.exit_code == 4
    allowed = report_of(path, X, {**NORMAL, "unnormalised": True}, verify=3)
    assert not {"mass_kl", "score_mean"} & codes(allowed)
    assert allowed.exit_code == 0


def test_the_error_of_an_importance_sampled_constant_is_its_own(tmp_path):
    """Over 200 repetitions: 200 equal rows have 200 noises of their own."""

    def law(x, theta, z):
        size = 1.5 * math.log(2 * math.pi)
        return -0.5 * (theta - x).square().sum(-1) - size, x + z

    inputs = {"x": 3, "theta": 3, "z": 3}
    path = onnx_file(tmp_path / "n.onnx", law, inputs, ["log_prob", "sample"])
    rows, options = np.zeros((200, 3)), {"sampling": "random", "verify": 200}
    found = columns_of(path, rows, NORMAL, draws_per_input=64, **options)
    score = (found["normalisation"] - 1) / found["normalisation_se"]
    assert abs(score.mean()) < 0.3
    assert 0.6 < np.sqrt(np.square(score).mean()) < 1.05


@pytest.mark.sweep(3)
@pytest.mark.parametrize("n", [10, 20, 50])
def test_no_alarm_is_false_where_importance_sampling_fails(tmp_path, n):
    """Z = 1; in many dimensions its estimate is unknown, not small."""

    def law(x, theta, z):
        size = 0.5 * n * math.log(2 * math.pi)
        return -0.5 * (theta - x).square().sum(-1) - size, x + z

    inputs = {"x": n, "theta": n, "z": n}
    path = onnx_file(tmp_path / "n.onnx", law, inputs, ["log_prob", "sample"])
    rows, options = np.zeros((30, n)), {"draws_per_input": 256, "verify": 30}
    report = report_of(path, rows, NORMAL, divergences=("kl",), **options)
    assert not {"normalisation", "mass_kl"} & codes(report)
    known = np.isfinite(columns(report)["normalisation"])
    assert known.mean() > 0.8 if n == 10 else known.mean() < 0.5


@pytest.mark.parametrize(
    ("drawn", "verify"),
    [(False, 0), (True, 3), pytest.param(False, 3, marks=pytest.mark.slow)],
)
def test_a_constant_beyond_all_numbers_is_found_out(tmp_path, drawn, verify):
    def law(x, theta, z):
        log_prob = -0.5 * (theta - x).square().sum(-1) + 800
        return (log_prob, x + z) if drawn else log_prob + 0 * z.sum()

    def alone(x, theta):
        return law(x, theta, theta)

    inputs = {"x": 2, "theta": 2, "z": 2} if drawn else {"x": 2, "theta": 2}
    outputs = ["log_prob", "sample"] if drawn else ["log_prob"]
    path = onnx_file(tmp_path / "b.onnx", law if drawn else alone, inputs, outputs)
    report = report_of(path, POINTS, NORMAL if drawn else {}, verify=verify)
    assert ("mass_kl" if drawn else "normalisation") in codes(report)
    assert (columns(report)["normalisation"] > 1e100).all()
