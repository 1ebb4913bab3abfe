"""Derivatives by finite differences: right, with an estimate that covers the error."""

import json

import numpy as np
import pytest
import torch
from scans import DATA, SAMPLES, sample, scan
from typer.testing import CliRunner

from audit.cli import app
from audit.ground.errors import ModelError, UnsupportedOperator
from audit.importer import registry
from audit.models.differences import EstimatedJacobian, FiniteDifferenceMap
from audit.models.maps import AutogradMap
from models.saved import data_file, jacobian, onnx_file, opened, trace_file

METHOD = "finite-difference"


def of(function, x, dtype=torch.float64):
    x = torch.as_tensor(x)
    forward = AutogradMap(
        lambda z, held: function(z).double(), tuple(x.shape[1:]), dtype
    )
    return FiniteDifferenceMap(forward).linearize(x.reshape(len(x), -1), {})


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float64, 1e-8), (torch.float32, 1e-3)]
)
def test_derivatives_are_right_whatever_the_units(scale, dtype, size):
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).double() * scale
    phi, found = of(lambda z: torch.sin(z.to(dtype) / scale), x, dtype)
    assert isinstance(found, EstimatedJacobian)
    slope = torch.diag_embed(torch.cos(x / scale)) / scale
    error = (found.dense() - slope).abs()
    assert float(error.max()) * scale < size
    assert bool((error <= found.error + 1e-12 / scale).all())
    torch.testing.assert_close(phi, torch.sin(x / scale), rtol=1e-5, atol=1e-5)


def test_the_estimate_covers_kinks_and_steps():
    x = torch.linspace(-0.02, 0.02, 41)[:, None].double() + 1
    _, found = of(lambda z: (z - 1).abs() + torch.round(50 * z) / 50, x)
    smooth = (x - 1).abs() > 0.005
    assert float(found.error.max()) > 0.1
    assert bool(((found.dense()[:, 0] - (x - 1).sign()).abs() < 1)[smooth].any())


def test_a_row_of_zeros_has_a_step():
    _, found = of(torch.exp, torch.zeros(2, 3).double())
    torch.testing.assert_close(found.dense(), torch.eye(3).double().expand(2, 3, 3))


@pytest.mark.parametrize("name", ["heteroscedastic", "sunspots_gru", "linear_gaussian"])
def test_differences_through_onnxruntime_agree_with_reverse_mode(name):
    data = str(SAMPLES / f"{DATA[name]}.npz")
    by_differences = opened(SAMPLES / f"{name}.onnx", data, METHOD)
    phi, found = jacobian(by_differences)
    expected_phi, expected = jacobian(opened(SAMPLES / f"{name}.onnx", data))
    torch.testing.assert_close(phi, expected_phi, rtol=1e-4, atol=1e-5)
    size = expected.abs().max()
    torch.testing.assert_close(found / size, expected / size, rtol=2e-3, atol=2e-3)


def test_a_file_with_a_batch_of_one(tmp_path):
    data = str(SAMPLES / "sunspots.npz")
    _, one = jacobian(opened(SAMPLES / "sunspots_gru_batch1.onnx", data, METHOD))
    _, free = jacobian(opened(SAMPLES / "sunspots_gru.onnx", data))
    torch.testing.assert_close(one, free, rtol=1e-2, atol=5e-3)


UNKNOWN = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "
UNKNOWN += "{ mean = Mish(x)  std = Exp(x) }"


def test_a_graph_our_importer_does_not_know(tmp_path, monkeypatch):
    monkeypatch.delitem(registry._OPERATORS, ("", "Tanh"))
    text = UNKNOWN.replace("Mish", "Tanh")
    path, data = onnx_file(tmp_path, text), data_file(tmp_path)
    with pytest.raises(UnsupportedOperator, match="--method finite-difference"):
        opened(path, data)
    x = torch.from_numpy(np.load(data)["x"]).double()
    _, found = jacobian(opened(path, data, METHOD))
    slope = torch.diag_embed(1 - torch.tanh(x) ** 2)
    torch.testing.assert_close(found[:, :3], slope, rtol=2e-3, atol=2e-3)


def test_a_tensor_inside_and_held_inputs(tmp_path):
    text = "g (float[n,3] x, float[n,3] h) => (float[n,3] mean, float[n,3] std) "
    text += "{ a = Mul(x, h)  mean = Tanh(a)  std = Exp(h) }"
    data = data_file(tmp_path, h=np.full((12, 3), 2, np.float32))
    said = {"family": "normal", "parameters": {"loc": "@a", "scale": "std"}}
    _, found = jacobian(opened(onnx_file(tmp_path, text), data, METHOD, **said))
    slope = 2 * torch.eye(3).double().expand(12, 3, 3)
    torch.testing.assert_close(found[:, :3], slope, rtol=1e-4, atol=1e-4)


def test_there_is_no_float64_through_onnxruntime(tmp_path):
    text = UNKNOWN.replace("Mish", "Tanh")
    with pytest.raises(ModelError, match="Leave --dtype out"):
        opened(onnx_file(tmp_path, text), data_file(tmp_path), METHOD, dtype="float64")


def test_torch_files_are_differenced_in_float64(tmp_path):
    def head(x):
        return {"loc": torch.tanh(x), "scale": x.exp()}

    path, data = trace_file(tmp_path, head, torch.ones(4, 3)), data_file(tmp_path)
    _, found = jacobian(opened(path, data, METHOD, family="normal"))
    _, exact = jacobian(opened(path, data, family="normal", dtype="float64"))
    torch.testing.assert_close(found, exact, rtol=1e-7, atol=1e-9)


def test_a_scan_reports_the_method_and_an_estimate_for_each_input():
    exact = scan(sample("heteroscedastic"))
    found = scan(sample("heteroscedastic", method=METHOD))
    assert found.model.derivative.method == "finite_difference"
    columns, reference = found.inputs.columns["kl"], exact.inputs.columns["kl"]
    for quantity in ("eigenvalue", "trace"):
        apart = np.abs(np.divide(columns[quantity], reference[quantity]) - 1)
        assert np.all(apart <= np.array(columns["derivative_error"]) + 1e-5)
    assert found.divergences["kl"].summary["derivative_error"].max < 1e-3
    assert [w.code for w in found.warnings if "finite" in w.code] == []


def test_an_estimate_above_the_tolerance_is_a_warning(tmp_path):
    text = UNKNOWN.replace(
        "mean = Mish(x)", "b = Mul(x, k)  s = Sin(b)  mean = Add(s, x)"
    )
    path = onnx_file(tmp_path, text, k=np.full((1, 3), 60, np.float32))
    words = [
        "scan",
        path,
        data_file(tmp_path),
        "--family",
        "normal",
        "--method",
        METHOD,
        "--verify",
        0,
    ]
    result = CliRunner().invoke(
        app, [str(w) for w in [*words, "-o", tmp_path / "r.json"]]
    )
    report = json.loads((tmp_path / "r.json").read_text())
    codes = [warning["code"] for warning in report["warnings"]]
    assert "finite_difference_error" in codes, result.stderr
