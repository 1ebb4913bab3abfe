"""One law given in several ways: the reports say the same, and the truth."""

import numpy as np
import pytest
import torch
from scans import columns

from implicit.laws import (
    NORMAL,
    X,
    assert_within,
    codes,
    columns_of,
    factor,
    fisher,
    log_density,
    log_normal_transport,
    mean,
    onnx_file,
    push,
    report_of,
    transport,
)

FISHER = np.stack([fisher(x) for x in X])
TRANSPORT = np.stack([transport(x) for x in X])
SAMPLINGS = ("random", "antithetic", "sobol")
FLOW = {"x": 3, "theta": 2, "z": 2}


def exponential(x, theta, z):
    logs = theta.log()
    return log_density(x, logs) - logs.sum(-1), torch.exp(push(x, z))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("affine")
    both = ["log_prob", "sample"]
    return {
        "parameters": onnx_file(
            folder / "parameters.onnx",
            lambda x: (mean(x), factor(x)),
            {"x": 3},
            ["loc", "scale_tril"],
        ),
        "both": onnx_file(
            folder / "both.onnx",
            lambda x, theta, z: (log_density(x, theta), push(x, z)),
            FLOW,
            both,
        ),
        "sampler": onnx_file(folder / "s.onnx", push, {"x": 3, "z": 2}, ["theta"]),
        "exponential": onnx_file(folder / "e.onnx", exponential, FLOW, both),
    }


def test_the_parametric_report_is_the_closed_form(files):
    report = report_of(files["parameters"], X, {"family": "multivariate_normal"})
    for name, truth in (("kl", FISHER), ("quantile", TRANSPORT)):
        found = columns(report, name)
        np.testing.assert_allclose(
            found["trace"], np.trace(truth, axis1=1, axis2=2), 1e-4
        )
        largest = np.linalg.eigvalsh(truth)[:, -1]
        np.testing.assert_allclose(found["eigenvalue"], largest, 1e-4)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_density_and_sampler_in_one_file_agree_with_it(files, sampling):
    report = report_of(files["both"], X, NORMAL, sampling=sampling)
    assert_within(columns(report, "kl"), FISHER)
    assert_within(columns(report, "quantile"), TRANSPORT)
    assert not codes(report)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_sampler_alone_says_the_same_quantile_distance(files, sampling):
    alone = report_of(files["sampler"], X, NORMAL, sampling=sampling)
    assert alone.model.contract == "transport"
    assert set(alone.divergences) == {"quantile"}
    found = columns(alone, "quantile")
    assert_within(found, TRANSPORT)
    both = columns_of(files["both"], X, NORMAL, "quantile", sampling=sampling)
    np.testing.assert_allclose(found["trace"], both["trace"], 1e-5)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_change_of_units_moves_the_quantile_distance_and_not_kl(files, sampling):
    model = NORMAL | {"target_space": "a:positive,b:positive"}
    options = {"sampling": sampling, "draws_per_input": 4096}
    report = report_of(files["exponential"], X, model, **options)
    assert_within(columns(report, "kl"), FISHER)
    truth = np.stack([log_normal_transport(x) for x in X])
    assert_within(columns(report, "quantile"), truth)
    assert np.abs(np.trace(truth - TRANSPORT, axis1=1, axis2=2)).min() > 0.5


def test_a_net_is_more_precise_than_random_draws(files):
    errors = [
        columns_of(files["both"], X, NORMAL, sampling=kind)["trace_se"]
        for kind in ("sobol", "random")
    ]
    assert (errors[0] < errors[1] / 2).all()


def test_the_default_is_a_net(files):
    default, sobol = (
        columns_of(files["both"], X, NORMAL, **options)["trace"]
        for options in ({}, {"sampling": "sobol"})
    )
    np.testing.assert_array_equal(default, sobol)


@pytest.mark.parametrize("draws", [8, 20, 100])
def test_any_number_of_draws_will_do(files, draws):
    found = columns_of(files["both"], X, NORMAL, draws_per_input=draws)
    assert (found["draws"] == draws).all()
    assert_within(found, FISHER, 6)
    assert np.isfinite(found["eigenvalue_upper"]).all()


def test_one_row_of_data_is_enough(files):
    report = report_of(files["both"], X[:1], NORMAL)
    assert_within(columns(report, "kl"), FISHER[:1])


def test_a_file_in_double_precision_needs_no_casting(tmp_path):
    path = onnx_file(
        tmp_path / "double.onnx",
        lambda x, theta, z: (log_density(x, theta), push(x, z)),
        FLOW,
        ["log_prob", "sample"],
        torch.float64,
    )
    report = report_of(path, X, NORMAL)
    assert_within(columns(report, "kl"), FISHER)
    assert_within(columns(report, "quantile"), TRANSPORT)


def test_a_mask_and_units_act_on_the_true_tensor(files):
    units = {"mask": "0:2", "units": "std"}
    found = columns_of(files["both"], X, NORMAL, **units)
    scale = np.diag(X.std(axis=0, ddof=1)[:2])
    assert_within(found, scale @ FISHER[:, :2, :2] @ scale)


# A flat spectrum: θ = x + z in 100 dimensions has G = 1.


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    def law(x, theta, z):
        return -0.5 * (theta - x).square().sum(-1), x + z

    return onnx_file(
        tmp_path_factory.mktemp("flat") / "flat.onnx",
        law,
        {"x": 100, "theta": 100, "z": 100},
        ["log_prob", "sample"],
    )


@pytest.mark.parametrize("sampling", ["random", "antithetic"])
def test_the_bracket_contains_the_truth_where_the_naive_value_does_not(flat, sampling):
    x = np.zeros((20, 100))
    report = report_of(flat, x, NORMAL, draws_per_input=20, sampling=sampling)
    found = columns(report, "kl")
    assert (found["eigenvalue_lower"] <= 1).all()
    assert (found["eigenvalue_upper"] >= 1).all()
    assert abs(found["eigenvalue"].mean() - 1) < 0.25
    naive = np.array([worst.eigenvalues["kl"][0] for worst in report.worst])
    assert (naive > 5).all()
    assert "unresolved_kl" in codes(report)


def test_a_sampled_eigenvalue_is_never_without_its_bracket(files, flat):
    for path, x, divergence in (
        (files["both"], X, "kl"),
        (flat, np.ones((2, 100)), "kl"),
        (flat, np.ones((2, 100)), "quantile"),
    ):
        options = {"draws_per_input": 64}
        found = columns_of(path, x, NORMAL, divergence, **options)
        lower, upper = found["eigenvalue_lower"], found["eigenvalue_upper"]
        assert (lower <= found["eigenvalue"]).all()
        assert (found["eigenvalue"] <= upper).all()


def test_noise_of_two_numbers_is_integrated_and_has_no_error(files):
    report = report_of(files["sampler"], X, NORMAL, draws_per_input=64)
    record = report.divergences["quantile"]
    assert (record.estimator, record.draws) == ("quadrature", None)
    assert "z ~ normal, 2 numbers, integrated on a grid" in record.notes[0]
    found = columns(report, "quantile")
    assert not {"trace_se", "draws", "eigenvalue_upper"} & set(found)
    assert (found["quadrature_error"] < 1e-4).all()
    truth = np.trace(TRANSPORT, axis1=1, axis2=2)
    np.testing.assert_allclose(found["trace"], truth, 1e-6)
