"""Bounds on products of two matrices that move, and on rows that are elsewhere."""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from importer.relaxed_networks import Net, attention_net
from importer.test_relaxation import check, check_second_order, points, relaxed

from audit.ground.errors import NoCertificate
from audit.importer.relaxation import Tape, read
from audit.importer.relaxation.standing import standing

ROWS_SECOND = partial(attention_net, moved=True)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("seed", range(18))
def test_no_point_of_a_ball_is_above_the_bound_of_an_attention_network(seed):
    check(attention_net, seed, count=100, largest=0.5)


def test_what_is_left_beyond_the_slopes_is_of_second_order():
    check_second_order(*attention_net(3))


def contraction(count, left=None):
    """Return Σ_k a_k b_k of x = (a, b) as a product of a row and a column."""
    net = Net(np.random.default_rng(0))
    axis, step = net.constant([1], np.int64), net.constant([1], np.int64)
    ends = [net.constant([k * count], np.int64) for k in range(3)]
    a, b = (net.node("Slice", "x", *ends[k : k + 2], axis, step) for k in range(2))
    one, two = net.constant([-1, 1, count], np.int64), [-1, count, 1]
    a = net.node("Reshape", a, one)
    b = net.node("Reshape", b, net.constant(two, np.int64))
    flat = net.constant([-1, 1], np.int64)
    output = net.node("Reshape", net.node("MatMul", a, b), flat)
    return net.graph((2 * count,), output)


@pytest.mark.parametrize(("power", "top"), [(1.0, 1.0), (2.0, 0.5), (math.inf, 1.0)])
def test_one_product_around_zero_is_within_half_of_its_square(power, top):
    """x₁ x₂ reaches ε²/2 on ‖u‖₂ ≤ ε, and ε² on ‖u‖_∞ ≤ ε: the bound is that."""
    found, at = relaxed(contraction(1), torch.zeros(1, 2).double(), 0.3, power)
    one = torch.ones(1, 1, 1).double()
    for sign in (1.0, -1.0):
        found_top = float(found.upper(at, sign * one).top())
        assert found_top == pytest.approx(top * 0.09, rel=1e-9)


@pytest.mark.parametrize("power", [1.0, 2.0, math.inf])
def test_a_sum_of_products_of_a_point_has_the_slopes_of_both_factors(power):
    """a·b + b₀·Δa + a₀·Δb + Δa·Δb: within ε² k of the maximum of its first order."""
    x = torch.tensor([[1.0, -2.0, 0.5, 0.25, 3.0, -1.0]]).double()
    size = 0.01
    found, at = relaxed(contraction(3), x, size, power)
    slope = torch.cat([x[0, 3:], x[0, :3]])
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[power]
    first = float(x[0, :3] @ x[0, 3:] + size * torch.linalg.vector_norm(slope, dual))
    top = float(found.upper(at, torch.ones(1, 1, 1).double()).top())
    u = points(x, size, power, 4000, 0)[0]
    moved = ((x + u)[:, :3] * (x + u)[:, 3:]).sum(1).max()
    assert float(moved) <= top
    assert first - 1e-12 <= top <= first + 3 * size**2 + 1e-11


def test_the_value_at_the_centre_is_within_its_own_rounding():
    """Σ a_k b_k in fractions: nine products that all but cancel."""
    a = [1e8 + 0.1, -1e8, 0.3, 1 / 3, 7e-3, 1e5 / 7, -1.1, 2.2, 1e-9]
    b = [1.1, 1.1, -2.7, 0.1, 1e3, 1e-3, 1e7 / 3, 5e6 / 3, 1e9 / 3]
    x = torch.tensor([a + b], dtype=torch.float64)
    tape = Tape(x)
    (value,) = read(contraction(9), tape, "x", {}).values()
    low, high = standing(tape, value.at)
    exact = sum(Fraction(p) * Fraction(q) for p, q in zip(a, b, strict=True))
    assert Fraction(float(low)) <= exact <= Fraction(float(high))
    assert float(high - low) < 1e-4


@pytest.mark.parametrize("seed", range(4))
def test_rows_on_another_axis_on_the_way_have_the_same_bounds(seed):
    graph, shape = attention_net(seed)
    other, _ = ROWS_SECOND(seed)
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, *shape)))
    torch.testing.assert_close(graph(x)[0], other(x)[0], rtol=1e-12, atol=1e-12)
    w = torch.eye(2).double().unsqueeze(1)
    one, two = (relaxed(g, x, 0.05, 2.0) for g in (graph, other))
    tops = [found.upper(at, w).top() for found, at in (one, two)]
    torch.testing.assert_close(tops[0], tops[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_no_point_is_above_the_bound_with_rows_on_another_axis(seed):
    check(ROWS_SECOND, seed, count=60, largest=0.1)


def displaced(write):
    """Return the words of the refusal of a network that reads x [B, 2] as [2, B]."""
    net = Net(np.random.default_rng(0))
    turned = net.node("Transpose", "x", perm=[1, 0])
    graph = net.graph((2,), write(net, turned))
    with pytest.raises(NoCertificate) as error:
        read(graph, Tape(torch.randn(3, 2).double()), "x", {})
    return error.value.given.removeprefix("no certificate: ")


def test_vectors_over_the_rows_are_refused():
    back = {"perm": [1, 0]}
    said = displaced(lambda net, v: net.node("Transpose", net.node("Relu", v), **back))
    assert said == "a vector of elements of several rows"
    said = displaced(lambda net, v: net.node("Softmax", v, axis=-1))
    assert said == "Softmax of values whose rows are not first"
    assert displaced(lambda net, v: v) == "Transpose moves the axis of the rows"


def test_constants_of_rows_that_are_elsewhere_are_refused():
    """[2, B, 1] plus a number for each of the first axis, and a norm over two axes."""

    def shifted(net, value):
        value = net.node("Unsqueeze", value, net.constant([2], np.int64))
        return net.node("Add", value, net.constant([[[1.0]], [[2.0]]]))

    assert displaced(shifted) == "Add with a constant for each of the rows"

    def normed(net, value):
        value = net.node("Unsqueeze", value, net.constant([2], np.int64))
        weights = net.constant(np.ones((3, 1)))
        return net.node("LayerNormalization", value, weights, axis=1)

    assert displaced(normed) == "LayerNormalization of values whose rows are not first"


def test_products_of_other_axes_are_refused():
    net = Net(np.random.default_rng(0))
    graph = net.graph((2, 2), net.node("MatMul", net.node("Flatten", "x"), "x"))
    with pytest.raises(NoCertificate, match="MatMul"):
        read(graph, Tape(torch.zeros(4, 2, 2).double()), "x", {})
