"""Shapes and laws at the edge: single numbers, images, dead inputs, moving supports."""

import math

import numpy as np
import pytest
import torch
from scans import columns

from audit.ground.errors import AuditError, ConfigError
from implicit.laws import (
    NORMAL,
    X,
    assert_within,
    codes,
    columns_of,
    notes_of,
    onnx_file,
    report_of,
)

OUTPUTS = ["log_prob", "sample"]


def shifted(x, theta, z):
    return -0.5 * (theta - 2 * x) ** 2 - 0.5 * math.log(2 * math.pi), 2 * x + z


@pytest.mark.parametrize("draws", [99, 1024])
def test_condition_target_and_noise_may_be_single_numbers(tmp_path, draws):
    inputs = {"x": (), "theta": (), "z": ()}
    path = onnx_file(tmp_path / "s.onnx", shifted, inputs, OUTPUTS)
    x = np.array([0.1, 0.2, -0.4])
    report = report_of(path, x, NORMAL, draws_per_input=draws, verify=3)
    assert_within(columns(report, "kl"), np.full((3, 1, 1), 4.0), 6)
    np.testing.assert_allclose(columns(report, "quantile")["trace"], 4, 1e-6)
    assert not {"normalisation", "mass_kl"} & codes(report)


@pytest.mark.parametrize("batch", [1, 8])
def test_a_grid_goes_through_a_fixed_batch(tmp_path, batch):
    path = onnx_file(
        tmp_path / "b.onnx",
        lambda x, theta: -0.5 * (theta - 2 * x).square().sum(1),
        {"x": 1, "theta": 1},
        ["log_prob"],
        batch=batch,
    )
    np.testing.assert_allclose(columns_of(path, X[:, :1])["trace"], 4, 1e-5)


@pytest.mark.parametrize("shape", [(2, 3), (6,)])
def test_given_draws_may_be_images_or_flat(tmp_path, shape):
    path = onnx_file(
        tmp_path / "i.onnx",
        lambda x, theta: -0.5 * (theta - x[:, None, :]).square().sum((1, 2)),
        {"x": 3, "theta": (2, 3)},
        ["log_prob"],
    )
    noise = np.random.default_rng(0).standard_normal((3, 1000, 2, 3))
    drawn = (X[:, None, None, :] + noise).reshape(3, 1000, *shape)
    found = columns_of(path, X, {"draws": "post"}, data={"post": drawn})
    assert_within(found, np.stack([2 * np.eye(3)] * 3))


def relu(x, theta, z):
    return -0.5 * (theta - torch.relu(x)).square().sum(1), torch.relu(x) + z


def test_an_input_at_rest_is_zero_with_its_reasons(tmp_path):
    inputs = {"x": 2, "theta": 2, "z": 2}
    path = onnx_file(tmp_path / "r.onnx", relu, inputs, OUTPUTS)
    x = np.array([[1.0, 1.0], [-1.0, -1.0]])
    report = report_of(path, x, NORMAL, rel_error=0.1, verify=2)
    for name in ("kl", "quantile"):
        found = columns(report, name)
        for quantity in ("trace", "eigenvalue", "gaussian"):
            assert found[quantity][1] == 0, quantity
        summary = report.divergences[name].summary
        assert (summary["radius"].max, summary["radius"].n_at_rest) == (np.inf, 1)
    assert columns(report, "kl")["eigenvalue_upper"][1] == 0
    shares = report.divergences["kl"].summary["trace_share"]
    assert shares.reason == "at rest: no direction is the worst (1)"
    assert report.exit_code == 0


def test_a_map_without_any_response_is_refused(tmp_path):
    inputs = {"x": 2, "theta": 2, "z": 2}
    path = onnx_file(tmp_path / "r.onnx", relu, inputs, OUTPUTS)
    with pytest.raises(AuditError, match="gradient") as error:
        report_of(path, -np.ones((3, 2)), NORMAL)
    assert error.value.exit_code == 3


def test_a_support_that_moves_is_not_passed_in_silence(tmp_path):
    """θ ~ U(0, e^x): every score is −1, and KL is infinite one way."""

    def law(x, theta, z):
        inside = (theta > 0) & (theta < torch.exp(x))
        infinity = torch.full_like(theta, -torch.inf)
        size = torch.where(inside, -x + 0 * theta, infinity)
        return size.sum(1) + 1e-3 * (theta * x.sum(1, keepdim=True)).sum(1), z * x.exp()

    inputs = {"x": 1, "theta": 1, "z": 1}
    path = onnx_file(tmp_path / "u.onnx", law, inputs, OUTPUTS)
    report = report_of(path, X[:, :1], {"noise": "z:uniform"}, verify=0)
    assert "score_mean" in codes(report)


def test_noise_stays_below_one_in_single_precision(tmp_path):
    """log(1/z − 1) is finite at every draw of two million."""
    path = onnx_file(
        tmp_path / "l.onnx",
        lambda x, z: x * torch.log(1 / z - 1),
        {"x": 1, "z": 1},
        ["sample"],
    )
    options = {"draws_per_input": 2**15, "sampling": "random"}
    report = report_of(path, np.ones((64, 1)), {"noise": "z:uniform"}, **options)
    assert not report.skipped
    assert_within(columns(report, "quantile"), np.full((64, 1, 1), math.pi**2 / 3))


@pytest.mark.parametrize("option", ["draws", "target"])
def test_what_a_sampler_cannot_use_is_refused(tmp_path, option):
    inputs = {"x": 3, "z": 3}
    path = onnx_file(tmp_path / "s.onnx", lambda x, z: x + z, inputs, ["theta"])
    model = NORMAL | {"contract": "transport", option: "z"}
    with pytest.raises(ConfigError, match=f"--{option} was given for a sampler"):
        report_of(path, X, model)


@pytest.mark.slow
def test_nothing_draws_from_three_dimensions_but_chains(tmp_path):
    pytest.importorskip("pyro")
    path = onnx_file(
        tmp_path / "q.onnx",
        lambda x, theta: -0.5 * (theta - 2 * x).square().sum(1),
        {"x": 3, "theta": 3},
        ["log_prob"],
    )
    report = report_of(path, X[:1], draws_per_input=96)
    found = columns(report, "kl")
    assert_within(found, 4 * np.eye(3)[None])
    assert "NUTS" in notes_of(report)
    assert {"rhat", "ess"} <= set(found)


def test_a_row_of_nan_disturbs_neither_probe_nor_grid(tmp_path):
    path = onnx_file(
        tmp_path / "g.onnx",
        lambda x, theta: -0.5 * (theta - 2 * x).square().sum(1),
        {"x": 1, "theta": 1},
        ["log_prob"],
    )
    x = np.array([[np.nan], [0.3], [np.inf], [0.1]])
    report = report_of(path, x, max_skipped=2)
    assert [row.index for row in report.skipped] == [0, 2]
    np.testing.assert_allclose(columns(report)["trace"], 4, 1e-5)
