"""Bounds on recurrent networks, whose cells are written out step by step."""

import numpy as np
import pytest
import torch
from importer.relaxed_networks import Net
from importer.test_relaxation import check, check_second_order, points, relaxed

from audit.ground.errors import NoCertificate
from audit.importer.relaxation import Tape, read

STEPS, FEATURES, HIDDEN = 4, 2, 3
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
KINDS = {
    "RNN": ("RNN", {}),
    "GRU": ("GRU", {}),
    "GRU of torch": ("GRU", {"linear_before_reset": 1}),
    "GRU backward": ("GRU", {"direction": "reverse"}),
    "GRU both ways": ("GRU", {"direction": "bidirectional"}),
    "LSTM": ("LSTM", {}),
    "LSTM both ways, rows first": ("LSTM", {"direction": "bidirectional", "layout": 1}),
}


def recurrent(net, op, value, last, start=False, **attributes):
    """Return Y or a last state of a recurrent node of random weights."""
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    wide = GATES[op] * HIDDEN
    shapes = (*((count, wide, FEATURES), (count, wide, HIDDEN), (count, 2 * wide)),)
    weights = [net.constant(net.rng.normal(size=shape) * 0.8) for shape in shapes]
    first = [net.constant(net.rng.normal(size=(count, 3, HIDDEN)))] if start else []
    states = 3 if op == "LSTM" else 2
    given = (value, *weights, *(("", *first) if start else ()))
    return net.node(op, *given, hidden_size=HIDDEN, outputs=states, **attributes)[last]


def made(kind, last=0, steps=STEPS, **options):
    """Return seed -> (graph, shape): all steps, or a last state, and sums of these."""
    op, attributes = KINDS[kind]

    def make(seed):
        net = Net(np.random.default_rng(seed), opset=20)
        first = attributes.get("layout", 0)
        value = "x" if first else net.node("Transpose", "x", perm=[1, 0, 2])
        value = recurrent(net, op, value, last, **attributes, **options)
        if not first:
            perm = [2, 0, 1, 3] if last == 0 else [1, 0, 2]
            value = net.node("Transpose", value, perm=perm)
        value = net.node("Flatten", value, axis=1)
        shape = (steps, FEATURES)
        size = net.graph(shape, value)(torch.zeros(3, *shape).double())[0].shape[1]
        return net.graph(shape, net.dense(value, size, 2)), shape

    return make


@pytest.mark.sweep(3)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_no_point_of_a_ball_is_above_the_bound_of(kind, seed):
    check(made(kind, last=seed % 2), seed, count=60)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_a_start_that_is_given_is_where_states_begin(kind):
    """Of three rows, each with its own: their values, and points of their balls."""
    graph, shape = made(kind, last=1, start=True)(1)
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(3, *shape)))
    found, at = relaxed(graph, x, 0.2, 2.0)
    start = graph(x)[0]
    torch.testing.assert_close(found.tape.values[at], start, rtol=1e-12, atol=1e-12)
    assert float((start - graph(x.flip(0))[0].flip(0)).abs().max()) > 1e-3
    w = torch.tensor([[1.0, -2.0]]).double()
    top = found.upper(at, w[:, None]).top()[0]
    for u in points(x, 0.2, 2.0, 40, 3).unbind(1):
        moved = x + u.reshape(x.shape)
        assert bool(((graph(moved)[0] @ w.T)[:, 0] <= top).all())


@pytest.mark.parametrize("kind", ["RNN", "GRU of torch", "GRU", "LSTM"])
def test_what_is_left_beyond_the_slopes_is_of_second_order(kind):
    check_second_order(*made(kind, last=1)(3))


REFUSED = {
    "GRU with another cell": {"activations": ["Sigmoid", "Relu"]},
    "GRU with another cell than": {"clip": 1.0},
}


@pytest.mark.parametrize("words", REFUSED)
def test_other_cells_are_refused_by_name(words):
    net = Net(np.random.default_rng(0))
    value = net.node("Transpose", "x", perm=[1, 0, 2])
    value = recurrent(net, "GRU", value, 1, **REFUSED[words])
    value = net.node("Transpose", value, perm=[1, 0, 2])
    graph = net.graph((STEPS, FEATURES), value)
    with pytest.raises(NoCertificate, match=f"no certificate: {words}"):
        read(graph, Tape(torch.zeros(3, STEPS, FEATURES).double()), "x", {})


def test_a_state_that_moves_is_refused():
    net = Net(np.random.default_rng(0))
    turned = net.node("Transpose", "x", perm=[1, 0, 2])
    weights = [
        net.constant(net.rng.normal(size=shape))
        for shape in ((1, 3, FEATURES), (1, 3, HIDDEN), (1, 6))
    ]
    start = net.node("ReduceMax", turned, net.constant([0], np.int64))
    start = net.node("MatMul", start, net.constant(np.ones((FEATURES, HIDDEN))))
    value = net.node(
        *("RNN", turned, *weights, "", start), hidden_size=HIDDEN, outputs=2
    )[1]
    graph = net.graph((STEPS, FEATURES), net.node("Transpose", value, perm=[1, 0, 2]))
    with pytest.raises(NoCertificate):
        read(graph, Tape(torch.zeros(3, STEPS, FEATURES).double()), "x", {})


def test_ways_through_many_gates_are_not_counted_one_by_one():
    """Sums of gates of sums: 2⁴⁰ ways to x, each value is looked at once."""
    net = Net(np.random.default_rng(0))
    value = "x"
    for _ in range(40):
        value = net.node("Add", net.node("Tanh", value), net.node("Sigmoid", value))
    value = net.node("Mul", value, net.node("Flatten", net.dense(value, 2, 2)))
    graph = net.graph((2,), value)
    read(graph, Tape(torch.zeros(1, 2).double()), "x", {})


def test_long_sequences_are_refused():
    graph, shape = made("RNN", last=1, steps=65)(0)
    with pytest.raises(NoCertificate, match="RNN over more than 64 steps"):
        read(graph, Tape(torch.zeros(1, *shape).double()), "x", {})
