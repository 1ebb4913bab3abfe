"""A family that names alone say is taken only where no real output is left over."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import audit

from .saved import onnx_file

ROWS = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
MEAN = np.array([[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]], "float32")


def head(path, third):
    """Save mean = x W, std = 2 and a third output of other names."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["mean"]),
        helper.make_node("Mul", ["mean", "zero"], ["flat"]),
        helper.make_node("Add", ["flat", "two"], ["std"]),
        helper.make_node("Softmax", ["mean"], [third], axis=-1),
    ]
    constants = {"w": MEAN, "zero": np.float32(0), "two": np.float32(2)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3])
            for name in ("mean", "std", third)
        ],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("third", ["weights", "dof", "skew"])
def test_a_real_output_that_names_leave_unread_is_asked_about(tmp_path, third):
    """`mean`, `std` and mixing weights were audited as independent normal laws."""
    path = head(tmp_path / "m.onnx", third)
    with pytest.raises(audit.ConfigError, match=f"'{third}' would not be read"):
        audit.scan(path, {"x": ROWS}, verify=0)


@pytest.mark.parametrize(
    "stated",
    [{"family": "normal"}, {"parameters": {"loc": "mean", "scale": "std"}}],
    ids=["family", "parameters"],
)
def test_a_head_that_is_stated_leaves_other_outputs_out(tmp_path, stated):
    """With it, tr F_x = ‖W‖² / 2² whatever the third output is."""
    path = head(tmp_path / "m.onnx", "features")
    report = audit.scan(path, {"x": ROWS}, verify=0, **stated)
    expected = np.full(len(ROWS), (MEAN**2).sum() / 4)
    np.testing.assert_allclose(report.rows["kl.trace"], expected, rtol=1e-5)


DOUBTED = [
    (("concentration", "scale"), "gamma .*inverse_gamma .*or weibull"),
    (("nu", "mean", "std"), "'std' is its scale and not its standard deviation"),
]


@pytest.mark.parametrize(("names", "words"), DOUBTED, ids=["weibull", "student"])
def test_names_that_other_laws_share_are_asked_about(tmp_path, names, words):
    """By names alone traces were five times those of a gamma law of both numbers."""
    text = ", ".join(f"float[n, 2] {name}" for name in names)
    body = " ".join(f"{name} = Exp(x)" for name in names)
    path = onnx_file(tmp_path, f"g (float[n, 2] x) => ({text}) {{ {body} }}")
    with pytest.raises(audit.ConfigError, match=words):
        audit.scan(path, {"x": ROWS}, verify=0)
