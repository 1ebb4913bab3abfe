"""Bounds on what is affine in one value, whatever stands beside it, and on extremes."""

import math

import numpy as np
import pytest
import torch
from importer.relaxed_networks import Net
from importer.test_relaxation import check, relaxed

from audit.ground.errors import NoCertificate
from audit.importer.relaxation import Tape, read

POWERS = (1.0, 2.0, math.inf)
SHAPE = (3, 4, 2)


def whole(net, *numbers):
    return net.constant(numbers, np.int64)


def drawn(net, *shape):
    return net.constant(net.rng.normal(size=shape))


AFFINE = {
    "matrix from the left": lambda net: net.node("MatMul", drawn(net, 5, 4), "x"),
    "matrices from the left": lambda net: net.node("MatMul", drawn(net, 3, 5, 4), "x"),
    "matrices from the right": lambda net: net.node("MatMul", "x", drawn(net, 3, 2, 5)),
    "a dense layer of keras": lambda net: net.node(
        "Einsum", "x", drawn(net, 2, 3, 5), equation="abcd,dbe->aceb"
    ),
    "two constants": lambda net: net.node(
        *("Einsum", drawn(net, 4), "x", drawn(net, 2, 3)),
        equation="k, nikj, ji -> nij",
    ),
    "capital letters": lambda net: net.node(
        "Einsum", "x", drawn(net, 4, 3), equation="RXMz,MQ->RzQX"
    ),
    "a diagonal": lambda net: net.node(
        "Einsum", net.node("Reshape", "x", whole(net, -1, 2, 3, 4)), equation="nabc->nc"
    ),
    "transposed convolution": lambda net: net.node(
        *("ConvTranspose", "x", drawn(net, 3, 2, 2, 3), drawn(net, 2)),
        strides=[2, 1],
        pads=[1, 0, 0, 1],
        output_padding=[1, 0],
    ),
    "transposed convolution in groups": lambda net: net.node(
        "ConvTranspose", "x", drawn(net, 3, 2, 2, 2), group=3
    ),
    "running sum": lambda net: net.node(
        "CumSum", "x", net.constant(2, np.int64), reverse=1, exclusive=1
    ),
    "triangle": lambda net: net.node("Trilu", "x", upper=1),
    "nearest": lambda net: net.node(
        "Resize", "x", "", net.constant([1, 1, 1.5, 2], np.float32)
    ),
    "space": lambda net: net.node("SpaceToDepth", "x", blocksize=2),
    "scattered": lambda net: net.node(
        *("ScatterElements", "x", net.constant(np.full((5, 3, 1, 2), 2), np.int64)),
        drawn(net, 5, 3, 1, 2),
        axis=2,
    ),
    "gathered": lambda net: net.node(
        "GatherND",
        "x",
        net.constant(np.tile([[0, 3], [2, 1]], (5, 1, 1)), np.int64),
        batch_dims=1,
    ),
    "a constant choice": lambda net: net.node(
        *("Where", net.constant(np.eye(4, 2) > 0, bool), "x"),
        net.node("Mul", "x", net.constant(-0.5)),
    ),
    "a choice beside constants": lambda net: net.node(
        "Where", net.constant(np.eye(4, 2) > 0, bool), drawn(net, 4, 2), "x"
    ),
    "mean of three": lambda net: net.node("Mean", "x", drawn(net, 4, 1), "x"),
}
BENT = {
    "larger than constants": lambda net: net.node("Max", "x", drawn(net, 4, 1)),
    "smaller than one of three": lambda net: net.node(
        "Min", "x", net.constant(0.4), net.node("Neg", "x")
    ),
    "largest of an axis": lambda net: net.node(
        "ReduceMax", "x", whole(net, 2), keepdims=0
    ),
    "smallest of two axes": lambda net: net.node("ReduceMin", "x", whole(net, -1, 1)),
    "largest of all": lambda net: net.node("ReduceMax", "x", whole(net, 1, 2, 3)),
    "sum of sizes": lambda net: net.node("ReduceL1", "x", whole(net, 1)),
    "length": lambda net: net.node(
        *("ReduceL2", net.node("Add", "x", net.constant(3.0)), whole(net, 3)),
        keepdims=0,
    ),
    "sum of squares": lambda net: net.node("ReduceSumSquare", "x", whole(net, 1, 3)),
    "products of keras": lambda net: net.node(
        *("Einsum", "x", net.node("Tanh", "x")), equation="aecd,abcd->acbe"
    ),
    "outer products": lambda net: net.node(
        *("Einsum", "x", net.node("Tanh", "x")), equation="nabc,nade->nacdbe"
    ),
}


def flat(kind, **options):
    """Return seed -> (graph, shape): the operator, and sums of all that it makes."""

    def make(seed):
        net = Net(np.random.default_rng(seed), opset=options.get("opset", 20))
        value = net.node("Flatten", kind(net), axis=1)
        probe = net.graph(SHAPE, value)(torch.zeros(5, *SHAPE).double())[0]
        return net.graph(SHAPE, net.dense(value, probe.shape[1], 2)), SHAPE

    return make


@pytest.mark.parametrize("kind", AFFINE)
def test_an_affine_operator_is_bounded_by_its_own_maximum(kind):
    """In every norm: level and slopes are those of onnxruntime's own differences."""
    graph, _ = flat(AFFINE[kind])(3)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(5, *SHAPE)))
    w = torch.tensor([[1.0, -2.0], [0.5, 0.3]]).double()
    ends = torch.eye(24).double().reshape(24, 1, *SHAPE)
    start = graph(x)[0]
    moved = torch.stack([graph(x + end)[0] - start for end in ends], dim=2)
    for power in POWERS:
        found, at = relaxed(graph, x, 0.3, power)
        dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[power]
        far = torch.linalg.vector_norm(w @ moved, ord=dual, dim=2).T
        top = found.upper(at, w[:, None]).top()
        torch.testing.assert_close(top, w @ start.T + 0.3 * far, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", BENT)
def test_no_point_of_a_ball_is_above_the_bound_of(kind, seed):
    largest = 0.1 if kind == "length" else 2.0  # stay away from zero
    check(flat(BENT[kind]), seed, rows=5, count=100, largest=largest)


@pytest.mark.parametrize("kind", ["largest of an axis", "smallest of two axes"])
def test_an_extreme_that_does_not_change_hands_is_a_copy(kind):
    """Within a ball that is too small for another element: ε ‖w‖ of single elements."""
    graph, _ = flat(BENT[kind])(4)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(5, *SHAPE)))
    w = torch.tensor([[1.0, -2.0]]).double()
    value = x.clone().requires_grad_(True)
    start = (graph(value)[0] @ w.T)[:, 0]
    (slope,) = torch.autograd.grad(start.sum(), value)
    found, at = relaxed(graph, x, 1e-6, 2.0)
    far = start.detach() + 1e-6 * slope.flatten(1).norm(dim=1)
    torch.testing.assert_close(
        found.upper(at, w[:, None]).top()[0], far, rtol=0, atol=1e-12
    )


REFUSED = {
    "Einsum of values whose rows are not first": lambda net: net.node(
        "Einsum", "x", drawn(net, 3, 2), equation="abcd,bd->ca"
    ),
    "Einsum of values that move in": lambda net: net.node(
        "Einsum", "x", "x", equation="abcd,abce->ad"
    ),
    "Einsum whose axes are not written out": lambda net: net.node(
        "Einsum", "x", drawn(net, 2), equation="...d,d->..."
    ),
    "MatMul with something else": lambda net: net.node("MatMul", "x", drawn(net, 2)),
    "ReduceMax over the rows": lambda net: net.node("ReduceMax", "x", keepdims=0),
    "CumSum mixes the rows": lambda net: net.node(
        "CumSum", "x", net.constant(0, np.int64)
    ),
    "ReduceMean mixes the rows": lambda net: net.node("ReduceMean", "x", whole(net, 0)),
    "Resize that weighs": lambda net: net.node(
        *("Resize", "x", "", net.constant([1, 1, 2, 2], np.float32)), mode="linear"
    ),
    "ScatterElements that adds up": lambda net: net.node(
        *("ScatterElements", "x", net.constant(np.zeros((1, 3, 1, 2)), np.int64)),
        drawn(net, 1, 3, 1, 2),
        reduction="add",
    ),
    "Where with a constant that is no finite number": lambda net: net.node(
        *("Where", net.constant(np.eye(4, 2) > 0, bool), "x", net.constant(-np.inf))
    ),
    "Add with a constant that is no finite number": lambda net: net.node(
        "Add", "x", net.constant(-np.inf)
    ),
    "Max of values of several shapes": lambda net: net.node(
        "Max", "x", net.node("ReduceMax", "x", whole(net, 1))
    ),
}


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("words", REFUSED)
def test_what_no_rule_bounds_is_refused_by_name(words, rows):
    """Of a single row, too, where no other row is there to be mixed with."""
    net = Net(np.random.default_rng(0))
    graph = net.graph(SHAPE, REFUSED[words](net))
    with pytest.raises(NoCertificate, match=f"no certificate: {words}"):
        read(graph, Tape(torch.zeros(rows, *SHAPE).double()), "x", {})
