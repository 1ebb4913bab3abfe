"""`robaudit inspect`: what a file is, how it would be read, and what stops an audit."""

import json

import pytest
import torch
from models.saved import data_file, onnx_file, trace_file
from scans import FORMATS, SAMPLES
from typer.testing import CliRunner

from audit.cli import app
from audit.config import ModelConfig, ScanConfig
from audit.run.inspection import inspect, scan_command

TEXT = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "


def inspected(path, data="", **model):
    return inspect(ScanConfig(model=ModelConfig(str(path), **model), data=data))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_sample_model_is_described(suffix):
    path = SAMPLES / f"heteroscedastic{suffix}"
    found = inspected(path, str(SAMPLES / "heteroscedastic.npz"))
    assert (
        found.format == {".onnx": "onnx", ".pt": "torchscript", ".pt2": "pt2"}[suffix]
    )
    assert found.differentiable == "yes"
    assert [name for name, _, _ in found.inputs] == ["x"]
    assert len(found.outputs) == 2
    assert ("family", "normal", "metadata") in found.items
    assert len(found.files[0].sha256) == len(found.weights_sha256) == 64
    assert found.gates["derivative_error_float64"] < 1e-7
    assert found.forward_error < 1e-5
    assert found.warnings == []


def test_without_data_only_declarations_speak():
    found = inspected(SAMPLES / "heteroscedastic_legacy.onnx")
    assert found.differentiable == "yes, by its operators"
    assert inspected(SAMPLES / "heteroscedastic.pt").differentiable == "not tried"
    assert ("param scale", "exp(log_std)", "names") in found.items
    assert found.opset == 17
    assert "give some rows to be sure" in found.warnings[-1]
    assert found.scan_command.endswith("heteroscedastic_legacy.onnx DATA.npz")


def test_what_is_open_is_told_without_data(tmp_path):
    text = TEXT.replace("mean", "loc").replace("std", "scale")
    found = inspected(onnx_file(tmp_path, text + "{ loc = Tanh(x)  scale = Exp(x) }"))
    assert "they could be those of" in found.warnings[0]
    assert ("condition", "x", "only input") in found.items


def test_the_operator_that_stops_the_gradient_is_named(tmp_path):
    text = TEXT + "{ r = Round(x)  mean = Add(r, r)  std = Exp(r) }"
    path = onnx_file(tmp_path, text)
    assert inspected(path).differentiable == "no: it stops at Round (node 'Round_0')"
    found = inspected(path, data_file(tmp_path))
    assert found.differentiable.startswith("no: No gradient connects")
    assert "it stops at Round (node" in found.differentiable


def test_rows_that_interact_are_told(tmp_path):
    def head(x):
        return {"mean": x - x.mean(0), "std": x.exp()}

    path = trace_file(tmp_path, head, torch.ones(4, 3))
    found = inspected(path, data_file(tmp_path), family="normal")
    assert found.differentiable.startswith("no: The rows of a batch interact")


def test_rows_outside_the_family_are_told(tmp_path):
    found = inspected(
        onnx_file(tmp_path, TEXT + "{ mean = Tanh(x)  std = Sin(x) }"),
        data_file(tmp_path),
    )
    assert any(note.startswith("on the rows tried, ") for note in found.warnings)


def test_the_scan_command_repeats_what_was_said():
    model = ModelConfig(
        "my model.onnx",
        family="normal",
        parameters={"loc": "out[:, :1]"},
        options={"levels": "[0.5]"},
        condition="x",
        condition_key="features",
        held={"h": "0"},
        space="parameters",
        trust_model=True,
    )
    config = ScanConfig(model=model, data="d.npz", method="finite-difference")
    assert scan_command(config) == (
        "robaudit scan 'my model.onnx' d.npz --family normal --param 'loc=out[:, :1]' "
        "--option 'levels=[0.5]' --condition x=features --held h=0 --space parameters "
        "--trust-model --method finite-difference"
    )


def test_the_command_to_paste_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = onnx_file(tmp_path, TEXT + "{ mean = Tanh(x)  std = Exp(x) }")
    found = inspected(path, data_file(tmp_path))
    words = found.scan_command.split()[1:]
    assert CliRunner().invoke(app, words).exit_code == 0


def test_json_holds_everything(tmp_path):
    path = onnx_file(tmp_path, TEXT + "{ mean = Tanh(x)  std = Exp(x) }")
    result = CliRunner().invoke(
        app, ["inspect", str(path), data_file(tmp_path), "--json"]
    )
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["differentiable"] == "yes"
    assert document["gates"]["forward_error"] < 1e-6
