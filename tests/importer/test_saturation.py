"""Logarithms of probabilities keep their digits where the probabilities have none."""

import mpmath
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.importer import load_graph

X = [-200.0, -90.0, -30.0, -3.0, 0.25, 3.0, 16.5, 30.0, 80.0]  # exact in float32


def graph(text, dtype=torch.float32, **constants):
    """Parse `y = ...` of x [9] written in ONNX's text form."""
    header = '<ir_version: 9, opset_import: ["" : 17]>'
    import onnx.parser

    model = onnx.parser.parse_model(
        f"{header} g (float[9] x) => (float[n] y) {{ {text} }}"
    )
    for name, value in {"one": np.float32(1), **constants}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    return load_graph(model).to(dtype)


def slopes(function, x, dtype=torch.float32):
    """Return y and the derivative of its sum by x."""
    x = torch.tensor(x, dtype=dtype, requires_grad=True)
    (y,) = function(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    return y.detach().numpy(), slope.numpy()


def exact(formula):
    """Return a function's values and slopes at X, to 400 digits."""
    with mpmath.workdps(400):
        values = [float(formula(mpmath.mpf(x))) for x in X]
        return values, [
            float(mpmath.diff(formula, x, h=mpmath.mpf(10) ** -100)) for x in X
        ]


def sigma(x):
    return 1 / (1 + mpmath.exp(-x))


POINTWISE = {
    "log": ("s = Sigmoid(x) y = Log(s)", lambda x: mpmath.log(sigma(x))),
    "complement": (
        "s = Sigmoid(x) c = Sub(one, s) y = Log(c)",
        lambda x: mpmath.log(1 - sigma(x)),
    ),
    "difference": (
        "s = Sigmoid(x) a = Log(s) c = Sub(one, s) b = Log(c) y = Sub(a, b)",
        lambda x: x,
    ),
    "quotient": (
        "s = Sigmoid(x) c = Sub(one, s) q = Div(s, c) y = Log(q)",
        lambda x: x,
    ),
    "product": (
        "s = Sigmoid(x) c = Sub(one, s) p = Mul(c, s) y = Log(p)",
        lambda x: mpmath.log(sigma(x)) + mpmath.log(1 - sigma(x)),
    ),
    "constant node": (
        "k = Constant<value_float: float = 1.0>() s = Sigmoid(x) c = Sub(k, s) "
        "y = Log(c)",
        lambda x: mpmath.log(1 - sigma(x)),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", POINTWISE)
def test_a_logarithm_keeps_its_digits(name, dtype):
    text, formula = POINTWISE[name]
    values, derivatives = exact(formula)
    y, slope = slopes(graph(text, dtype), X, dtype)
    tiny = 1e-37 if dtype == torch.float32 else 1e-300
    rtol = 2e-6 if dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(y, values, rtol, tiny)
    np.testing.assert_allclose(slope, derivatives, rtol, tiny)


def test_a_complement_keeps_its_digits():
    values, derivatives = exact(lambda x: 1 - sigma(x))
    y, slope = slopes(graph("s = Sigmoid(x) y = Sub(one, s)"), X)
    np.testing.assert_allclose(y, values, 2e-6, 1e-37)
    np.testing.assert_allclose(slope[3:], derivatives[3:], 2e-6, 1e-37)


SPELLED_OUT = {
    "reciprocal": "m = Neg(x) e = Exp(m) t = Add(e, one) y = Reciprocal(t)",
    "quotient": "m = Neg(x) e = Exp(m) t = Add(one, e) y = Div(one, t)",
    "product": "m = Mul(x, minus) e = Exp(m) t = Add(e, one) y = Reciprocal(t)",
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SPELLED_OUT)
def test_a_sigmoid_spelled_out_has_a_derivative_where_its_power_overflows(name, dtype):
    made = graph(SPELLED_OUT[name], dtype, minus=np.float32(-1))
    values, derivatives = exact(sigma)
    y, slope = slopes(made, X, dtype)
    step = torch.finfo(dtype).eps
    np.testing.assert_allclose(y, values, 20 * step, 1e-37)
    np.testing.assert_allclose(slope, derivatives, 20 * step, step)
    far = [1000.0 * x for x in X]
    y, slope = slopes(made, far, dtype)
    np.testing.assert_array_equal(y[np.array(X) < -1], 0)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_swish_spelled_out_has_a_derivative_where_its_power_overflows(dtype):
    text = "m = Neg(x) e = Exp(m) t = Add(e, one) y = Div(x, t)"
    values, derivatives = exact(lambda x: x * sigma(x))
    y, slope = slopes(graph(text, dtype), X, dtype)
    step = torch.finfo(dtype).eps
    np.testing.assert_allclose(y, values, 20 * step, 1e-36)
    np.testing.assert_allclose(slope, derivatives, 20 * step, 40 * step)
    _, slope = slopes(graph(text, dtype), [1000.0 * x for x in X], dtype)
    np.testing.assert_array_equal(slope, np.array([1000.0 * x for x in X]) > 0)


def test_a_complement_of_a_sigmoid_spelled_out_keeps_its_digits():
    values, derivatives = exact(lambda x: 1 - sigma(x))
    text = "m = Neg(x) e = Exp(m) t = Add(e, one) s = Reciprocal(t) y = Sub(one, s)"
    y, slope = slopes(graph(text), X)
    np.testing.assert_allclose(y, values, 2e-6, 1e-37)
    np.testing.assert_allclose(slope[3:], derivatives[3:], 2e-6, 1e-37)


def test_a_logarithm_goes_through_a_concatenation():
    text = "s = Sigmoid(x) c = Sub(one, s) j = Concat<axis=0>(c, s) y = Log(j)"
    y, slope = slopes(graph(text), X)
    below, above = (exact(POINTWISE[name][1]) for name in ("complement", "log"))
    np.testing.assert_allclose(y, below[0] + above[0], 2e-6, 1e-37)
    np.testing.assert_allclose(slope, np.add(below[1], above[1]), 2e-6, 1e-37)


@pytest.mark.parametrize("opset", [11, 17])
def test_the_logarithm_of_a_softmax_is_finite(opset):
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 2])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 2])
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], axis=1),
        helper.make_node("Log", ["p"], ["y"]),
    ]
    made = helper.make_graph(nodes, "g", [x], [y])
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    given = 150 * torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1))
    (found,) = load_graph(model)(given)
    flat = given.double().flatten(1) if opset == 11 else given.double()
    expected = torch.log_softmax(flat, 1).reshape(2, 3, 2)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("s = Sigmoid(x) c = Sub(two, s) y = Log(c)", lambda s: np.log(2 - s)),
        (
            "s = Sigmoid(x) c = Sub(s, one) d = Abs(c) y = Log(d)",
            lambda s: np.log(1 - s),
        ),
        ("s = Sigmoid(x) c = Sub(many, s) y = Log(c)", lambda s: np.log(1 - s)),
        ("s = Sigmoid(x) c = Mul(two, s) y = Log(c)", lambda s: np.log(2 * s)),
        ("s = Sigmoid(x) c = Add(s, s) y = Log(c)", lambda s: np.log(s + s)),
        ("e = Exp(x) t = Add(e, two) y = Reciprocal(t)", lambda s: (1 - s) / (2 - s)),
        ("e = Exp(x) t = Add(e, e) y = Reciprocal(t)", lambda s: (1 - s) / s / 2),
        ("e = Exp(x) t = Add(e, many) y = Reciprocal(t)", lambda s: 1 - s),
    ],
)
def test_what_is_no_such_logarithm_is_what_it_was(text, formula):
    many = np.ones((2, 1), np.float32)
    x = np.linspace(-8, 8, 9, dtype=np.float32)
    (y,) = graph(text, two=np.float32(2), many=many)(torch.tensor(x))
    s = 1 / (1 + np.exp(-x.astype(np.float64)))
    expected = np.broadcast_to(formula(s), y.shape)
    np.testing.assert_allclose(y.numpy(), expected, 1e-3, 1e-6)


def test_a_probability_that_is_an_output_too_stays_one():
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Sigmoid", ["x"], ["s"]),
                helper.make_node("Log", ["s"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [9])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, [9]) for n in "sy"],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    s, y = load_graph(model)(torch.tensor(X))
    torch.testing.assert_close(s, torch.sigmoid(torch.tensor(X)))
    assert torch.isfinite(y).all()
