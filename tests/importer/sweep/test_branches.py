"""Branches that a Where does not take, against closed forms, in float64."""

import numpy as np
import pytest
import torch
from onnx import TensorProto
from sweep_graphs import by_autograd, graph_of, node, swept

X = np.array([[0.5, -0.5, 2.0], [-3.0, 0.3, 900.0], [0.7, 0.9, -900.0]])
CONSTANTS = {
    "zero": np.array(0.0),
    "one": np.array(1.0),
    "half": np.array(0.5),
    "twenty": np.array(20.0),
    "last": np.array([1], np.int64),
    "always": np.array([True, True, False]),
    "shift": np.array([0.0, 0.0, 1000.0]),
}
INSIDE = [
    node("Greater", "x zero", "c1"),
    node("Less", "x one", "c2"),
    node("And", "c1 c2", "c"),
]
OPSET = 18


def of_sign(op, slope, *more, other="zero"):
    """Where(x > 0, op(x), other), and its slope."""
    nodes = [
        node("Greater", "x zero", "c"),
        node(op, " ".join(["x", *more]), "s"),
        node("Where", f"c s {other}", "y"),
    ]
    return nodes, lambda x: np.where(x > 0, slope(x), 0 if other == "zero" else 1)


CASES = {
    "Sqrt": of_sign("Sqrt", lambda x: 0.5 / np.sqrt(x)),
    "Log": of_sign("Log", lambda x: 1 / x, other="x"),
    "Pow": of_sign("Pow", lambda x: 0.5 / np.sqrt(x), "half", other="x"),
    "the other side": (
        [
            node("LessOrEqual", "x zero", "d"),
            node("Not", "d", "c"),
            node("Sqrt", "x", "s"),
            node("Not", "c", "e"),
            node("Where", "e x s", "y"),
        ],
        lambda x: np.where(x > 0, 0.5 / np.sqrt(x), 1),
    ),
    "softplus that overflows": (
        [
            node("Greater", "x twenty", "c"),
            node("Exp", "x", "e"),
            node("Add", "e one", "p"),
            node("Log", "p", "l"),
            node("Where", "c x l", "y"),
        ],
        lambda x: np.where(x > 20, 1, 1 / (1 + np.exp(-x))),
    ),
    "a product inside an interval": (
        [
            *INSIDE,
            node("Acos", "x", "a"),
            node("Sqrt", "x", "s"),
            node("Mul", "a s", "m"),
            node("Where", "c m x", "y"),
        ],
        lambda x: np.where(
            (x > 0) & (x < 1),
            np.arccos(x) * 0.5 / np.sqrt(x) - np.sqrt(x) / np.sqrt(1 - x * x),
            1,
        ),
    ),
    "one in another": (
        [
            *INSIDE,
            node("Sqrt", "x", "s"),
            node("Where", "c1 s x", "i"),
            node("Log", "i", "l"),
            node("Where", "c2 i l", "y"),
        ],
        lambda x: np.where(x < 0, 1, np.where(x < 1, 0.5 / np.sqrt(x), 0.5 / x)),
    ),
    "one in another that is taken": (
        [
            node("Less", "x twenty", "c1"),
            node("Log", "x", "l"),
            node("Where", "c1 l x", "i"),
            node("Greater", "x one", "c2"),
            node("Sqrt", "i", "s"),
            node("Where", "c2 s x", "y"),
        ],
        lambda x: np.where(
            x < 1, 1, 0.5 * np.where(x < 20, 1 / (x * np.sqrt(np.log(x))), x**-0.5)
        ),
    ),
    "a constant condition": (
        [
            node("Add", "x shift", "n"),
            node("Sqrt", "n", "s"),
            node("Where", "always x s", "y"),
        ],
        lambda x: np.where([True, True, False], 1, 0.5 / np.sqrt(x + 1000)),
    ),
    "truth values as numbers": (
        [
            node("Greater", "x zero", "b"),
            node("Cast", "b", "i", to=TensorProto.INT32),
            node("Cast", "i", "c", to=TensorProto.BOOL),
            node("Unsqueeze", "c last", "c3"),
            node("Squeeze", "c3 last", "c4"),
            node("Sqrt", "x", "s"),
            node("Where", "c4 s x", "y"),
        ],
        lambda x: np.where(x > 0, 0.5 / np.sqrt(x), 1),
    ),
}


def by_rules(graph, inputs):
    return swept(graph, inputs)[1:]


def made(nodes):
    return graph_of(nodes, (3,), CONSTANTS, opset=OPSET)


@pytest.mark.parametrize("case", CASES)
def test_the_derivative_is_that_of_the_branch_taken(case):
    nodes, slope = CASES[case]
    with np.errstate(all="ignore"):
        expected = np.stack([np.diag(row) for row in slope(X)])
    graph, inputs = made(nodes), [torch.from_numpy(X)]
    for jacobian in (by_autograd, by_rules):
        _, entries = jacobian(graph, inputs)
        np.testing.assert_allclose(entries.numpy(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_products_are_those_of_the_branch_taken(case):
    """J v by two backward passes, as an attack asks for them."""
    nodes, slope = CASES[case]
    x = torch.from_numpy(X).requires_grad_()
    (y,) = made(nodes)(x)
    u = torch.ones_like(y, requires_grad=True)
    (pulled,) = torch.autograd.grad(y, x, u, create_graph=True)
    v = torch.linspace(-1, 2, x.numel(), dtype=x.dtype).reshape(x.shape)
    (pushed,) = torch.autograd.grad((pulled * v).sum(), u)
    with np.errstate(all="ignore"):
        expected = torch.from_numpy(slope(X)) * v
    torch.testing.assert_close(pushed, expected)


def test_a_direction_is_taken_only_of_what_has_a_length():
    """Where(|x| > ½, x/|x|, x) is x around 0, and x/|x| has no derivative there."""
    nodes = [
        node("ReduceSumSquare", "x last", "q", keepdims=1),
        node("Sqrt", "q", "r"),
        node("Greater", "r half", "c"),
        node("Div", "x r", "u"),
        node("Where", "c u x", "y"),
    ]
    x = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.2, 0.3], [1.0, -2.0, 2.0]]).double()
    unit = (x[2] / 3)[:, None]
    bent = (torch.eye(3) - unit @ unit.T) / 3
    expected = torch.stack([torch.eye(3).double(), torch.eye(3).double(), bent])
    for jacobian in (by_autograd, by_rules):
        _, entries = jacobian(made(nodes), [x])
        torch.testing.assert_close(entries, expected)


@pytest.mark.parametrize("compare", ["Equal", "LessOrEqual", "Floor"])
def test_no_derivative_is_made_up_where_branches_meet(compare):
    """(eˣ − 1)/x, replaced at 0, has the derivative ½ there."""
    asked = [node("Equal" if compare == "Floor" else compare, "z zero", "c")]
    step = "Floor" if compare == "Floor" else "Abs"
    nodes = [
        node(step, "x", "z"),
        *asked,
        node("Exp", "x", "e"),
        node("Sub", "e one", "m"),
        node("Div", "m x", "q"),
        node("Where", "c one q", "y"),
    ]
    x = torch.tensor([[0.0, 1.5, -2.0]]).double()
    for jacobian in (by_autograd, by_rules):
        y, entries = jacobian(made(nodes), [x])
        assert y[0, 0] == 1
        assert entries[0, 0, 0].isnan()
        up = x[0, 1:]
        slopes = (up.exp() * (up - 1) + 1) / up**2
        torch.testing.assert_close(entries[0, [1, 2], [1, 2]], slopes)


def test_what_is_not_taken_here_may_be_elsewhere():
    """Where(x > 0, √x, 0) − √x: the second root has no value at x < 0."""
    nodes = [
        node("Greater", "x zero", "c"),
        node("Sqrt", "x", "s"),
        node("Where", "c s zero", "w"),
        node("Sub", "w s", "y"),
    ]
    for jacobian in (by_autograd, by_rules):
        _, entries = jacobian(made(nodes), [torch.from_numpy(X[:1])])
        assert entries[0, 1, 1].isnan()
        torch.testing.assert_close(entries[0, :, [0, 2]], torch.zeros(3, 2).double())


def test_iterations_that_are_written_out_do_not_grow_without_end():
    """Newton's √2 from |x| + 1, each step taken where it is not there yet."""
    nodes = [node("Abs", "x", "a"), node("Add", "a one", "s0")]
    for k in range(40):
        nodes += [
            node("Div", f"one s{k}", f"q{k}"),
            node("Add", f"s{k} q{k}", f"r{k}"),
            node("Add", f"r{k} q{k}", f"t{k}"),
            node("Mul", f"t{k} half", f"n{k}"),
            node("Greater", f"n{k} one", f"c{k}"),
            node("Where", f"c{k} n{k} s{k}", f"s{k + 1}"),
        ]
    graph = made([*nodes, node("Identity", "s40", "y")])
    assert len(graph.plan.steps) < 10 * len(nodes)
    (y,) = graph(torch.from_numpy(X))
    torch.testing.assert_close(y, torch.full_like(y, 2**0.5))
