"""Quantised graphs: refused by default, straight-through by an explicit option."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.config import ModelConfig, ScanConfig
from audit.ground.errors import ConfigError, NotDifferentiable
from audit.importer import OnnxFile
from audit.models.onnxruntime_file import Runtime
from audit.run.inspection import inspect
from audit.run.scan import scan
from models.saved import data_file, onnx_file, opened

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


# --- products of integers, and whatever else is quantised -----------------------------

DYNAMIC = [
    helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="first"),
    helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["whole"]),
    helper.make_node("Cast", ["whole"], ["cast"], to=TensorProto.FLOAT),
    helper.make_node("Mul", ["s", "ws"], ["both"]),
    helper.make_node("Mul", ["cast", "both"], ["m"]),
]
TO_FLOAT = [
    DYNAMIC[0],
    helper.make_node(
        "MatMulIntegerToFloat",
        ["q", "w", "s", "ws", "z", "wz"],
        ["m"],
        domain="com.microsoft",
    ),
]
AT_ONCE = [
    helper.make_node(
        "DynamicQuantizeMatMul",
        ["x", "w", "ws", "wz"],
        ["m"],
        name="first",
        domain="com.microsoft",
    )
]
STATIC = [
    helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"], name="first"),
    helper.make_node(
        "QLinearMatMul",
        ["q", "step", "zero", "w", "ws", "wz", "ys", "zero"],
        ["y"],
    ),
    helper.make_node("DequantizeLinear", ["y", "ys", "zero"], ["m"]),
]
UNPAIRED = [
    helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"], name="first"),
    helper.make_node("Reshape", ["q", "shape"], ["r"]),
    helper.make_node("DequantizeLinear", ["r", "step", "zero"], ["m"]),
]
OTHER_SCALE = [
    helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"], name="first"),
    helper.make_node("DequantizeLinear", ["q", "ys", "zero"], ["m"]),
]
QUANTISED = {
    "DynamicQuantizeLinear": DYNAMIC,
    "DynamicQuantizeLinear to float": TO_FLOAT,
    "DynamicQuantizeMatMul": AT_ONCE,
    "QuantizeLinear, then an integer product": STATIC,
    "QuantizeLinear of no pair": UNPAIRED,
    "QuantizeLinear with another scale": OTHER_SCALE,
}
W8 = np.array([[130, 100, 160], [90, 140, 128], [120, 135, 150]], np.uint8)


def quantised(folder, nodes, beside):
    """Loc = x W by few bits, and perhaps tanh x beside it; one row at a time."""
    ends = [
        helper.make_node("Tanh", ["x"], ["smooth"]),
        helper.make_node("Add", ["m", "smooth" if beside else "zeros"], ["loc"]),
        helper.make_node("Mul", ["loc", "zeros"], ["still"]),
        helper.make_node("Exp", ["still"], ["scale"]),
    ]
    graph = helper.make_graph(
        [*nodes, *ends],
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])
            for name in ("loc", "scale")
        ],
        [
            constant("w", W8, np.uint8),
            constant("ws", 0.01),
            constant("wz", 128, np.uint8),
            constant("step", 0.05),
            constant("ys", 0.04),
            constant("zero", 120, np.uint8),
            constant("zeros", [[0.0, 0.0, 0.0]]),
            constant("shape", [1, 3], np.int64),
        ],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports)
    model.ir_version = 8
    onnx.save(model, folder / "q.onnx")
    x = np.random.default_rng(0).normal(size=(20, 3))
    np.savez(folder / "x.npz", x=x.astype(np.float32))


@pytest.mark.parametrize("method", ["auto", "exact", "straight-through"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside"])
@pytest.mark.parametrize("kind", QUANTISED)
def test_no_derivative_passes_through_what_is_quantised(tmp_path, kind, beside, method):
    quantised(tmp_path, QUANTISED[kind], beside)
    with pytest.raises(NotDifferentiable) as error:
        scan(config(tmp_path, method))
    said = str(error.value)
    assert said.startswith(f"{kind.split()[0].strip(',')} (node 'first')")
    assert "rounds to numbers of few bits, or computes with them" in said
    assert "use --method finite-difference" in said
    assert ("passes through a QuantizeLinear and its" in said) == (
        method == "straight-through"
    )


def test_differences_remain_and_estimate_their_own_error(tmp_path):
    quantised(tmp_path, DYNAMIC, True)
    report = scan(replace(config(tmp_path, "finite-difference"), verify=0))
    assert report.model.derivative.method == "finite_difference"
    assert "finite_difference_error" in [each.code for each in report.warnings]


def test_parameters_of_a_quantised_file_need_no_derivative_of_it(tmp_path):
    quantised(tmp_path, DYNAMIC, True)
    said = config(tmp_path, "auto")
    report = scan(replace(said, model=replace(said.model, space="parameters")))
    trace = np.array(report.inputs.columns["kl"]["trace"])
    np.testing.assert_allclose(trace, 9)  # (1 + 2) / σ² for each of three coordinates


def test_inspect_names_what_is_quantised_without_data(tmp_path):
    quantised(tmp_path, DYNAMIC, True)
    found = inspect(replace(config(tmp_path, "auto"), data=""))
    assert found.differentiable == (
        "no: DynamicQuantizeLinear (node 'first') is quantised"
    )


def test_a_sampler_in_a_file_of_its_own_is_looked_into(tmp_path):
    text = "g (float[n,3] x, float[n,3] theta) => (float[n] log_prob) "
    text += "{ d = Sub(theta, x)  s = Mul(d, d)  p = ReduceSum<keepdims: int = 0>(s, a)"
    text += " log_prob = Mul(p, h) }"
    density = onnx_file(tmp_path, text, a=np.array([1]), h=np.float32(-0.5))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"], name="first"),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["d"]),
        helper.make_node("Add", ["x", "d"], ["m"]),
        helper.make_node("Add", ["m", "z"], ["theta"]),
    ]
    graph = helper.make_graph(
        nodes,
        "draws",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])
            for name in ("x", "z")
        ],
        [helper.make_tensor_value_info("theta", TensorProto.FLOAT, ["n", 3])],
        [constant("step", 0.05), constant("zero", 120, np.uint8)],
    )
    imports = [helper.make_opsetid("", 17)]
    sampler = helper.make_model(graph, opset_imports=imports, ir_version=8)
    onnx.save(sampler, tmp_path / "draws.onnx")
    said = {"sampler": str(tmp_path / "draws.onnx"), "noise": "z:normal"}
    with pytest.raises(NotDifferentiable, match=r"QuantizeLinear \(node 'first'\)"):
        opened(density, data_file(tmp_path), target="theta", **said)


def test_the_referee_rounds_where_the_file_says_so(tmp_path):
    """By default onnxruntime makes one operator of five, with a table of its own."""

    def rounding(source, step, made):
        whole = f"{made}_whole"
        return [
            helper.make_node("QuantizeLinear", [source, step, "zero"], [whole]),
            helper.make_node("DequantizeLinear", [whole, step, "zero"], [made]),
        ]

    nodes = [
        *rounding("x", "wide", "near"),
        helper.make_node("Softmax", ["near"], ["p"]),
        *rounding("p", "fine", "y"),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 5])
        for name in "xy"
    ]
    constants = [
        constant("wide", 0.031),
        constant("fine", 0.0045),
        constant("zero", 5, np.uint8),
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "softmax.onnx")
    x = np.random.default_rng(1).normal(size=(500, 5)).astype(np.float32) + 3

    def rounded(values, step):
        return step * (np.clip(np.rint(values / step) + 5, 0, 255) - 5)

    powers = np.exp(rounded(x.astype(float), 0.031))
    expected = rounded(powers / powers.sum(1, keepdims=True), 0.0045)
    runtime = Runtime(OnnxFile(tmp_path / "softmax.onnx"))
    found = runtime({"x": torch.from_numpy(x)})["y"]
    np.testing.assert_allclose(found, expected, 1e-6, 1e-6)
