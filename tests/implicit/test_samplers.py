"""Samplers θ = T(x, z): base laws, generators, fixed batches, the map's own caveat."""

import math

import numpy as np
import pytest
import torch
from scans import columns

from audit.ground.errors import NoFisher, NoTransport
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
    transport,
)

TRANSPORT = np.stack([transport(x) for x in X])
SCALED = np.array([[0.3, 0.2], [-0.5, -0.1], [1.0, 0.6]])


def scaled(x, z):
    """x₀ + exp(x₁) z, with transport diag(1, exp(2 x₁) E z²) and a cross term E z."""
    return x[:, :1] + torch.exp(x[:, 1:]) * z


def scaled_transport(x, first, second):
    size = math.exp(x[1])
    return np.array([[1, size * first], [size * first, size**2 * second]])


MOMENTS = [("normal", 0, 1), ("uniform", 1 / 2, 1 / 3), ("logistic", 0, math.pi**2 / 3)]


@pytest.mark.parametrize("sampling", ["random", "antithetic", "sobol"])
@pytest.mark.parametrize(("law", "first", "second"), MOMENTS)
def test_the_base_law_decides_the_moments(tmp_path, law, first, second, sampling):
    """Three numbers of noise, of which one counts: they are drawn."""
    path = onnx_file(
        tmp_path / "s.onnx",
        lambda x, z: scaled(x, z[:, :1]) + 0 * z.sum(1, True),
        {"x": 2, "z": 3},
        ["theta"],
    )
    model = {"noise": f"z:{law}"}
    report = report_of(path, SCALED, model, sampling=sampling)
    truth = np.stack([scaled_transport(x, first, second) for x in SCALED])
    assert_within(columns(report, "quantile"), truth)
    assert f"z ~ {law}, 3 numbers, drawn" in notes_of(report, "quantile")


@pytest.mark.parametrize(("law", "first", "second"), MOMENTS)
def test_one_number_of_noise_is_integrated(tmp_path, law, first, second):
    path = onnx_file(tmp_path / "s.onnx", scaled, {"x": 2, "z": 1}, ["theta"])
    report = report_of(path, SCALED, {"noise": f"z:{law}"}, verify=3)
    found = columns(report, "quantile")
    truth = np.stack([scaled_transport(x, first, second) for x in SCALED])
    for i, tensor in enumerate(truth):
        assert found["trace"][i] == pytest.approx(np.trace(tensor), rel=1e-6)
        largest = np.linalg.eigvalsh(tensor)[-1]
        assert found["eigenvalue"][i] == pytest.approx(largest, rel=1e-6)
    record = report.divergences["quantile"]
    assert (record.estimator, record.draws) == ("quadrature", None)
    assert f"z ~ {law}, 1 numbers, integrated on a grid" in record.notes[0]
    assert not codes(report) - {"parted_quantile"}  # exp(x₁) bends within the radius
    assert report.exit_code == 0


def test_a_log_normal_sampler_is_not_too_low(tmp_path):
    """θ = exp(x₀ + x₁ z), E|∂θ|² = e^{2x₀} E(1 + z²) e^{2x₁z}: few draws see it."""
    path = onnx_file(
        tmp_path / "l.onnx",
        lambda x, z: torch.exp(x[:, :1] + x[:, 1:] * z),
        {"x": 2, "z": 1},
        ["theta"],
    )
    x = np.array([[0.3, 0.5], [-0.2, 1.5], [0.1, 2.0]])
    found = columns_of(path, x, NORMAL, "quantile")
    truth = np.exp(2 * x[:, 0] + 2 * x[:, 1] ** 2) * (2 + 4 * x[:, 1] ** 2)
    np.testing.assert_allclose(found["trace"], truth, 1e-5)
    assert (found["quadrature_error"] < 1e-4).all()


def test_kinks_across_a_plane_of_noise_leave_it_to_draws(tmp_path):
    weights = torch.randn(4, 40, generator=torch.Generator().manual_seed(0))

    def kinked(x, z):
        hidden = torch.relu(torch.cat([z, x], dim=1) @ weights)
        return hidden @ weights.T[:, :1] / 6

    path = onnx_file(tmp_path / "k.onnx", kinked, {"x": 2, "z": 2}, ["theta"])
    report = report_of(path, SCALED, NORMAL)
    record = report.divergences["quantile"]
    assert (record.estimator, record.draws) == ("monte_carlo", 1024)
    reason = "2 numbers, drawn: a grid does not resolve T(x, z) on 3 of 3 inputs"
    assert reason in record.notes[0]
    assert "trace_se" in columns(report, "quantile")


def test_a_generator_into_more_dimensions_has_no_density(tmp_path):
    lift = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))

    def generator(x, z):
        return torch.tanh(torch.exp(x[:, :1]) * z @ lift) + x.sum(1, keepdim=True)

    path = onnx_file(tmp_path / "g.onnx", generator, {"x": 3, "z": 2}, ["sample"])
    report = report_of(path, X, NORMAL)
    assert set(report.divergences) == {"quantile"}
    with pytest.raises(NoFisher, match="none exists, since 2 numbers of noise") as told:
        report_of(path, X, NORMAL, divergences=("kl",))
    assert told.value.exit_code == 3


def test_a_sampler_of_as_many_dimensions_has_no_density_either(tmp_path):
    path = onnx_file(tmp_path / "s.onnx", push, {"x": 3, "z": 2}, ["theta"])
    with pytest.raises(NoFisher, match="and has no log-density\\. KL") as told:
        report_of(path, X, NORMAL, divergences=("kl",))
    assert told.value.exit_code == 3


def test_a_density_without_a_sampler_has_no_map(tmp_path):
    inputs = {"x": 3, "theta": 2}
    path = onnx_file(tmp_path / "q.onnx", log_density, inputs, ["log_prob"])
    with pytest.raises(NoTransport, match="no sampler") as told:
        report_of(path, X, divergences=("quantile",))
    assert told.value.exit_code == 3


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("contract", ["density", "transport"])
def test_a_fixed_batch_is_filled(tmp_path, batch, contract):
    """A third number of noise that does nothing: three are drawn, on few rows."""
    dense = contract == "density"

    def drawn(x, z):
        return push(x, z[:, :2]) + 0 * z.sum(1, True)

    path = onnx_file(
        tmp_path / "fixed.onnx",
        (lambda x, theta, z: (log_density(x, theta), drawn(x, z))) if dense else drawn,
        {"x": 3, "theta": 2, "z": 3} if dense else {"x": 3, "z": 3},
        ["log_prob", "sample"] if dense else ["sample"],
        batch=batch,
    )
    report = report_of(path, X, NORMAL, draws_per_input=512, sampling="random")
    assert_within(columns(report, "quantile"), TRANSPORT)
    if dense:
        assert_within(columns(report, "kl"), np.stack([fisher(x) for x in X]))


def test_another_map_to_the_same_law_has_another_quantile_distance(tmp_path):
    """θ₀ may depend on z₀ alone or θ₁ on z₁ alone: Cholesky factors of one Σ."""

    def law(order):
        def function(x, theta, z):
            c = torch.sin(x[:, 0])
            root = torch.sqrt(1 - c**2)
            one, other = z[:, 0], c * z[:, 0] + root * z[:, 1]
            drawn = torch.stack([one, other] if order else [other, one], dim=1)
            a, b = theta[:, 0], (theta[:, 1] - c * theta[:, 0]) / root
            return -0.5 * (a**2 + b**2) - root.log() - math.log(2 * math.pi), drawn

        return function

    x = np.array([[0.5, 0.0], [-0.8, 0.0]])
    reports = [
        report_of(
            onnx_file(
                tmp_path / f"law{order}.onnx",
                law(order),
                {"x": 2, "theta": 2, "z": 2},
                ["log_prob", "sample"],
                metadata={"transport": f"Cholesky, order {order}"},
            ),
            x,
            NORMAL,
            sampling="sobol",
        )
        for order in (0, 1)
    ]
    c = np.sin(x[:, 0])
    truth = np.zeros((2, 2, 2))
    truth[:, 0, 0] = np.cos(x[:, 0]) ** 2 * (1 + c**2) / (1 - c**2) ** 2
    for order, report in enumerate(reports):
        assert_within(columns(report, "kl"), truth)
        assert f"Cholesky, order {order}" in notes_of(report, "quantile")
        assert "depends on this map" in notes_of(report, "quantile")


def test_a_rotation_that_moves_nothing_still_has_a_quantile_distance(tmp_path):
    """θ = R(x) z is N(0, I) for every x, and E|∂θ/∂x|² = E|z|² = 2."""

    def turned(x, theta, z):
        c, s = torch.cos(x[:, 0]), torch.sin(x[:, 0])
        drawn = torch.stack([c * z[:, 0] - s * z[:, 1], s * z[:, 0] + c * z[:, 1]], 1)
        quiet = -0.5 * theta.square().sum(1) - math.log(2 * math.pi)
        return quiet + 0 * x[:, 0] + 1e-3 * (x[:, 1] * theta[:, 0]), drawn

    path = onnx_file(
        tmp_path / "turned.onnx",
        turned,
        {"x": 2, "theta": 2, "z": 2},
        ["log_prob", "sample"],
    )
    report = report_of(path, np.zeros((2, 2)), NORMAL)
    assert_within(columns(report, "quantile"), np.array([np.diag([2.0, 0.0])] * 2))
    assert (columns(report, "kl")["trace"] < 1e-5).all()


# Heavy tails


def test_a_mean_that_one_draw_carries_is_not_to_be_used(tmp_path):
    """∂θ/∂x = exp(3 z²) has no mean; its square's median is exp(6 · 0.4549).

    Two more numbers of noise that do nothing: three are drawn, not integrated over.
    """

    def heavy(x, z):
        return x[:, :1] * torch.exp(3 * z[:, :1] ** 2) + x[:, 1:] + 0 * z.sum(1, True)

    path = onnx_file(tmp_path / "heavy.onnx", heavy, {"x": 2, "z": 3}, ["theta"])
    report = report_of(path, SCALED, NORMAL | {"dtype": "float64"}, sampling="random")
    found = columns(report, "quantile")
    assert "heavy_tails_quantile" in codes(report)
    assert (found["trace_share"] > 0.1).all()
    assert (found["trace"] > 1e6).all()
    median = 1 + math.exp(6 * 0.6744897501960817**2)
    assert (np.abs(np.log(found["trace_median"] / median)) < 0.5).all()


def test_tame_draws_are_not_warned_of(tmp_path):
    path = onnx_file(
        tmp_path / "s.onnx", lambda x, z: x + z, {"x": 3, "z": 3}, ["theta"]
    )
    report = report_of(path, X, NORMAL)
    found = columns(report, "quantile")
    assert "heavy_tails_quantile" not in codes(report)
    assert (found["trace_share"] < 0.02).all()


# Shapes


def test_noise_without_an_axis_and_draws_that_are_images(tmp_path):
    """x is an image, z one number, θ = exp(x₀₀) z times an image of ones."""

    def image(x, z):
        return torch.exp(x[:, :1, :1]) * z[:, None, None].expand(-1, 2, 3)

    path = onnx_file(tmp_path / "i.onnx", image, {"x": (2, 2), "z": ()}, ["theta"])
    x = np.array([[[0.1, 0.5], [0.2, 0.3]], [[-0.4, 0.1], [0.2, 0.3]]])
    found = columns_of(path, x, NORMAL, "quantile", mask=None)
    truth = np.zeros((2, 4, 4))
    truth[:, 0, 0] = 6 * np.exp(2 * x[:, 0, 0])
    assert_within(found, truth)


def test_targets_that_are_images(tmp_path):
    def law(x, theta, z):
        apart = theta - x[:, None, :]
        log_prob = -0.5 * apart.square().sum((1, 2)) - 3 * math.log(2 * math.pi)
        return log_prob, x[:, None, :] + z

    path = onnx_file(
        tmp_path / "i.onnx",
        law,
        {"x": 3, "theta": (2, 3), "z": (2, 3)},
        ["log_prob", "sample"],
    )
    report = report_of(path, X, NORMAL)
    truth = np.stack([2 * np.eye(3)] * 3)
    assert_within(columns(report, "kl"), truth)
    np.testing.assert_allclose(columns(report, "quantile")["trace"], 6, 1e-5)


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
def test_integers_may_be_held(tmp_path):
    """θ = x + k z with an integer k held: E|∂θ/∂x|² = 1, F = 1/k²."""

    def law(x, k, theta, z):
        scale = k.to(x.dtype)
        apart = ((theta - x) / scale).square().sum(-1)
        return -0.5 * apart - scale[:, 0].log(), x + scale * z

    path = onnx_file(
        tmp_path / "held.onnx",
        law,
        {"x": 1, "k": 1, "theta": 1, "z": 1},
        ["log_prob", "sample"],
        integers=("k",),
    )
    k = np.array([[1], [2], [4]])
    report = report_of(path, np.zeros((3, 1)), NORMAL, data={"k": k})
    found = columns(report, "kl")
    assert_within(found, (1.0 / k**2)[:, :, None])
    np.testing.assert_allclose(columns(report, "quantile")["trace"], 1, 1e-6)
    constant = report_of(path, np.zeros((3, 1)), NORMAL | {"held": {"k": "2"}})
    assert_within(columns(constant, "kl"), np.full((3, 1, 1), 0.25))


def test_rows_that_are_not_finite_are_left_out_of_the_probe(tmp_path):
    path = onnx_file(tmp_path / "s.onnx", push, {"x": 3, "z": 2}, ["theta"])
    x = np.concatenate([np.full((2, 3), np.nan), X])
    report = report_of(path, x, NORMAL, max_skipped=2)
    assert [row.index for row in report.skipped] == [0, 1]
    assert_within(columns(report, "quantile"), TRANSPORT)
