"""Quantised graphs: refused by default, straight-through by an explicit option."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from audit.config import ModelConfig, ScanConfig
from audit.errors import ConfigError, NotDifferentiable
from audit.scan import scan

WEIGHT = np.array([[0.5, -1.0, 0.25], [0.0, 2.0, 1.0]], np.float32)


def constant(name, value, dtype=np.float32):
    return numpy_helper.from_array(np.array(value, dtype), name)


@pytest.fixture
def files(tmp_path):
    """Loc = W q(x), scale 1, where q rounds x to steps of 0.05."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["rounded"]),
        helper.make_node("Gemm", ["rounded", "weight"], ["loc"], transB=1),
        helper.make_node("Exp", ["nothing"], ["one"]),
        helper.make_node("Mul", ["loc", "zeros"], ["still"]),
        helper.make_node("Add", ["still", "one"], ["scale"]),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])
            for name in ("loc", "scale")
        ],
        [
            constant("step", 0.05),
            constant("zero", 0, np.int8),
            constant("weight", WEIGHT),
            constant("nothing", [0.0, 0.0]),
            constant("zeros", [0.0, 0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "q.onnx")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(20, 3)))
    return tmp_path


def config(files, method):
    model = ModelConfig(path=str(files / "q.onnx"), family="normal")
    data = str(files / "x.npz")
    return ScanConfig(model=model, data=data, divergences=("kl",), method=method)


def test_a_rounded_input_is_refused_unless_asked_for(files):
    with pytest.raises(NotDifferentiable, match="QuantizeLinear"):
        scan(config(files, "auto"))


def test_straight_through_gives_the_derivative_without_rounding(files):
    report = scan(config(files, "straight-through"))
    trace = np.array(report.inputs.columns["kl"]["trace"])
    np.testing.assert_allclose(trace, (WEIGHT**2).sum(), rtol=1e-6)
    assert report.model.derivative.method == "straight_through"
    assert "straight_through" in [warning.code for warning in report.warnings]


def test_torch_files_have_no_straight_through(files):
    (files / "m.pt").write_bytes(b"PK")
    model = ModelConfig(path=str(files / "m.pt"))
    with pytest.raises(ConfigError, match="quantised ONNX"):
        scan(
            ScanConfig(
                model=model, data=str(files / "x.npz"), method="straight-through"
            )
        )
