"""Bounds on activations that operators or exporters spell out, norms and products."""

import math

import numpy as np
import pytest
import torch
from importer.relaxed_networks import ACTIVATIONS, Net, activated_net
from importer.test_relaxation import check, check_second_order, relaxed

from audit.ground.errors import NoCertificate
from audit.importer.relaxation import Tape, functions, read
from audit.importer.relaxation.composed import Composed
from audit.importer.relaxation.gates import TANH_GELU
from audit.importer.relaxation.tape import Bend

POWERS = (1.0, 2.0, math.inf)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_no_point_of_a_ball_is_above_the_bound_of_a_network_of(kind, seed):
    largest = 0.1 if kind == "reciprocal" else 2.0  # stay away from zero
    check(activated_net(kind), seed, count=100, largest=largest)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_what_is_left_beyond_the_slopes_is_of_second_order(kind):
    check_second_order(*activated_net(kind)(3))


def product(first, second):
    """Return x_i x_j as a graph."""
    net = Net(np.random.default_rng(0))
    one, two = (
        net.node("Gather", "x", net.constant([k], np.int64), axis=1)
        for k in (first, second)
    )
    return net.graph((2,), net.node("Mul", one, two))


@pytest.mark.parametrize(("power", "top"), [(1.0, 0.25), (2.0, 0.5), (math.inf, 1.0)])
def test_a_product_has_its_maximum_around_zero(power, top):
    """x₁ x₂ over ‖u‖_p ≤ ε: ε²/4, ε²/2 and ε²."""
    reach = 0.3
    found, at = relaxed(product(0, 1), torch.zeros(1, 2).double(), reach, power)
    one = torch.ones(1, 1, 1).double()
    assert float(found.upper(at, one).top()) == pytest.approx(top * reach**2, rel=1e-9)


def test_a_square_is_a_curve():
    """x² over |u| ≤ ½ around 2: its maximum, and the tangent's minimum 4 · 1.5 − 4."""
    net = Net(np.random.default_rng(0))
    graph = net.graph((1,), net.node("Mul", "x", "x"))
    found, at = relaxed(graph, torch.tensor([[2.0]]).double(), 0.5, 2.0)
    one = torch.ones(1, 1, 1).double()
    assert float(found.upper(at, one).top()) == pytest.approx(6.25, rel=1e-12)
    assert float(-found.upper(at, -one).top()) == pytest.approx(2.0, rel=1e-9)


@pytest.mark.parametrize("kind", ["spelled tanh gelu", "spelled mish"])
def test_what_is_spelled_out_is_one_curve_of_one_number(kind):
    net = Net(np.random.default_rng(0))
    graph = net.graph((2,), net.activation(kind, "x"))
    tape = Tape(torch.zeros(1, 2).double())
    (value,) = read(graph, tape, "x", {}).values()
    entry = tape.entries[value.at]
    assert isinstance(entry, Bend)
    assert isinstance(entry.curve, Composed)
    assert entry.input == 0


@pytest.mark.parametrize("width", [0.02, 0.5, 3.0])
def test_a_composed_curve_is_as_tight_as_the_one_of_a_table(width):
    """The tanh form of gelu differs from v Φ(v) by 5e-4 at most."""
    v = torch.linspace(-4, 4, 401).double()
    gaps = []
    for curve in (functions.GELU, TANH_GELU):
        lines = curve.lines(v - width, v + width)
        slope = lines.above - lines.below
        gaps.append(slope * v + lines.above_level - lines.below_level)
    own, other = gaps
    assert float((other - own).mean()) <= 0.03 * float(own.mean())
    assert float((other - own).max()) <= 0.05 * float(own.max())


def test_a_denominator_that_may_be_zero_has_no_finite_bound():
    net = Net(np.random.default_rng(0))
    graph = net.graph((1,), net.node("Div", net.constant(1.0), "x"))
    one = torch.ones(1, 1, 1).double()
    for x, finite in ((0.3, False), (2.0, True)):
        found, at = relaxed(graph, torch.tensor([[x]]).double(), 0.5, 2.0)
        top = found.upper(at, one).top()
        assert bool(torch.isfinite(top).all()) == finite


def test_statistics_of_rows_of_a_batch_are_refused():
    net = Net(np.random.default_rng(0))
    weight = net.constant(np.ones(3))
    graph = net.graph((3,), net.node("InstanceNormalization", "x", weight, weight))
    with pytest.raises(NoCertificate, match="without spatial axes"):
        read(graph, Tape(torch.zeros(2, 3).double()), "x", {})


@pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
def test_a_peaked_softmax_is_as_tight_as_a_flat_one(kind):
    """Of logits that are a hundred apart, two of three of about the same weight."""
    net = Net(np.random.default_rng(0))
    apart = net.node("Add", "x", net.constant([100.0, 0.0, 100.5]))
    value = net.node("Mul", net.activation(kind, apart), net.constant(2.0))
    graph = net.graph((3,), value)
    x, reach = torch.tensor([[0.3, -0.2, 0.1]]).double(), 1e-5
    found, at = relaxed(graph, x, reach, 2.0)
    w = torch.tensor([[1.0, 0.5, -2.0]]).double()
    value = x.clone().requires_grad_(True)
    start = (graph(value)[0] @ w.T)[0, 0]
    (slope,) = torch.autograd.grad(start, value)
    change = float(found.upper(at, w[:, None]).top()) - float(start)
    first = reach * float(slope.norm())
    assert first - 1e-12 <= change <= 1.001 * first
