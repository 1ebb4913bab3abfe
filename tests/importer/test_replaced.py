"""NaN that a graph replaces itself: derivatives are those of what replaces it."""

import numpy as np
import pytest
import torch
from models.saved import data_file, jacobian, opened
from onnx import TensorProto, helper, numpy_helper

from audit.importer import load_graph
from audit.models.swept import with_sweep

ML = "ai.onnx.ml"
X = np.float32([[0.5, -0.5, 2.0], [-3.0, 1.5, -0.1]])
CLEAR = {
    "Imputer": [
        helper.make_node(
            "Imputer",
            ["r"],
            ["c"],
            domain=ML,
            imputed_value_floats=[0.0],
            replaced_value_float=float("nan"),
        )
    ],
    "Where": [
        helper.make_node("IsNaN", ["r"], ["n"]),
        helper.make_node("Where", ["n", "zero", "r"], ["c"]),
    ],
}


def proto(clear):
    """loc = c of r = 2 tanh(√x ∛x) where x > 0, and of NaN where not."""
    nodes = [
        helper.make_node("Sqrt", ["x"], ["s"]),
        helper.make_node("Pow", ["x", "third"], ["t"]),
        helper.make_node("Mul", ["s", "t"], ["p"]),
        helper.make_node("Tanh", ["p"], ["h"]),
        helper.make_node("Mul", ["h", "two"], ["r"]),
        *CLEAR[clear],
        helper.make_node("Add", ["c", "x"], ["loc"]),
    ]
    values = {"third": 1 / 3, "two": 2.0, "zero": 0.0}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("loc", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.float32(v), k) for k, v in values.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def slopes(x):
    """Return 1 + 2 (1 − tanh² x^{5/6}) (5/6) x^{−1/6}, its second term for x > 0."""
    up = np.abs(x.astype(np.float64))
    curved = 2 * (1 - np.tanh(up ** (5 / 6)) ** 2) * (5 / 6) * up ** (-1 / 6)
    return 1 + np.where(x > 0, curved, 0)


@pytest.mark.parametrize("clear", CLEAR)
def test_the_derivative_is_that_of_what_replaces_it(clear):
    graph = load_graph(proto(clear), dtype=torch.float64)
    x = torch.from_numpy(X).double().requires_grad_()
    (loc,) = graph(x)
    (slope,) = torch.autograd.grad(loc.sum(), x, create_graph=True)
    torch.testing.assert_close(slope.detach().numpy(), slopes(X), rtol=1e-6, atol=0)
    (second,) = torch.autograd.grad(slope.sum(), x)
    step = 1e-5
    rise = (slopes(X + step) - slopes(X - step)) / (2 * step)
    np.testing.assert_allclose(second.numpy()[X < 0], 0)
    np.testing.assert_allclose(second.numpy()[X > 0], rise[X > 0], rtol=1e-2)


@pytest.mark.parametrize("clear", CLEAR)
def test_a_model_has_them_by_rules_and_by_backward_passes(tmp_path, clear):
    path = tmp_path / "model.onnx"
    path.write_bytes(proto(clear).SerializeToString())
    said = {"family": "normal", "parameters": {"loc": "loc", "scale": "1"}}
    model = opened(path, data_file(tmp_path, x=X), **said)
    _, entries = jacobian(model)
    expected = np.stack([np.diag(row) for row in slopes(X)])
    np.testing.assert_allclose(entries[:, :3], expected, rtol=1e-5, atol=1e-7)
    swept = with_sweep(model, "sweep").swept
    assert (swept is not None) == (clear == "Where")  # no rule for an Imputer
    if swept is not None:
        _, rows = swept.linearize(torch.from_numpy(X), {})
        np.testing.assert_allclose(rows.dense()[:, :3], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("clear", CLEAR)
def test_no_derivative_is_made_up_where_a_quotient_has_none(clear):
    """Tanh of (eˣ − 1)/x, replaced at 0 alone, has a derivative of .2 there."""
    nodes = [
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("Sub", ["e", "one"], ["d"]),
        helper.make_node("Div", ["d", "x"], ["q"]),
        helper.make_node("Tanh", ["q"], ["r"]),
        *CLEAR[clear],
        helper.make_node("Identity", ["c"], ["loc"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("loc", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.float32(v), k)
            for k, v in {"one": 1, "zero": 0}.items()
        ],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8)
    x = torch.tensor([[0.0, 1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    (loc,) = load_graph(made, dtype=torch.float64)(x)
    (slope,) = torch.autograd.grad(loc.sum(), x)
    up = x.detach()[0, 1:]
    quotient = torch.expm1(up) / up
    expected = (1 - quotient.tanh() ** 2) * (up.exp() * (up - 1) + 1) / up**2
    assert loc[0, 0] == 0
    assert slope[0, 0].isnan()
    torch.testing.assert_close(slope[0, 1:], expected)
