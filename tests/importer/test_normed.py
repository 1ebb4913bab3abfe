"""Bounds on norms whose statistics move: closed forms, samples, what cancels."""

import math

import numpy as np
import pytest
import torch
from importer.relaxed_networks import Net
from importer.test_relaxation import points, relaxed

from audit.importer.relaxation import Tape
from audit.importer.relaxation.ball import dual_norm
from audit.importer.relaxation.normed import Normed, _largest_singular
from audit.importer.relaxation.standing import standing
from audit.importer.relaxation.surfaces import Near

POWERS = (1.0, 2.0, math.inf)
ONE = torch.ones(1, 1, 1).double()


def normed(count, epsilon, weights=None, op="RMSNormalization"):
    """Return the first number of a norm of count numbers, of x or of x·w."""
    net = Net(np.random.default_rng(0), opset=23)
    value, width = "x", count
    if weights is not None:
        value, width = net.node("MatMul", "x", net.constant(weights)), len(weights)
    given = [net.constant(np.ones(count))]
    if op == "LayerNormalization":
        given.append(net.constant(np.zeros(count)))
    value = net.node(op, value, *given, epsilon=epsilon)
    first = net.constant([0], np.int64)
    return net.graph((width,), net.node("Gather", value, first, axis=1))


@pytest.mark.parametrize("reach", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("at", [-2.0, 0.3])
def test_one_number_over_its_own_size_has_its_exact_maximum_as_its_range(at, reach):
    """v / √(v² + e) rises with v."""
    found, place = relaxed(
        normed(1, 0.5), torch.tensor([[at]], dtype=torch.float64), reach, 2.0
    )
    low, high = found.intervals[place]
    for end, v in ((low, at - reach), (high, at + reach)):
        exact = v / math.sqrt(v * v + 0.5)
        assert float(end) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("reach", [0.01, 0.5, 0.9])
def test_what_moves_a_vector_along_itself_does_nothing(reach):
    """y(a w) is the same for all a > 0, up to e: |y' a| ≤ e |y| / (2 s²)."""
    weights = np.array([[0.5, -1.0, 2.0, 0.25]])
    graph = normed(4, 1e-9, weights)
    x = torch.ones(1, 1).double()
    found, at = relaxed(graph, x, reach, 2.0)
    value = float(graph(x)[0])
    for sign in (1.0, -1.0):
        top = float(found.upper(at, sign * ONE).top()) - sign * value
        assert 0 <= top <= 1e-9 / (1 - reach) ** 3


@pytest.mark.parametrize("power", POWERS)
def test_the_second_order_is_near_the_largest_there_is(power):
    """½ D²y over ‖u‖₂ ≤ ε is at most √n (ε/N)² / √3, its maximum over all vectors."""
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(1, 6)))
    graph = normed(6, 1e-6)
    reach, value = 1e-3, x.clone().requires_grad_(True)
    y = graph(value)[0]
    (slope,) = torch.autograd.grad(y.sum(), value)
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[power]
    first = y.item() + reach * float(torch.linalg.vector_norm(slope, dual))
    found, at = relaxed(graph, x, reach, power)
    top = float(found.upper(at, ONE).top())
    far = reach / float(x.norm()) * (math.sqrt(6) if power == math.inf else 1)
    assert first - 1e-5 * reach <= top <= first + 2 * math.sqrt(6) * far**2
    u = points(x, reach, power, 500, 1)[0]
    assert bool((graph(x + u)[0] <= top).all())


@pytest.mark.parametrize("size", [0.01, 0.2, 0.6, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_rest_holds_what_the_affine_part_leaves(seed, size):
    """By random points of boxes and of balls around random vectors, no forms."""
    rng = np.random.default_rng(seed)
    c = torch.from_numpy(rng.normal(size=(3, 2, 5)))
    entry = Normed((0,), (-1,), 0.05)
    reach = torch.full((3, 1, 1), size).double()
    near = Near((c,), ((c - size, c + size),), 1e-14, reach)
    low, high = entry.rest(near)
    u = torch.from_numpy(rng.uniform(-size, size, size=(2000, 3, 2, 5)))
    u[:500] = size * u[:500].sign()
    left = entry.run(c + u) - entry.run(c) - entry.along((c,), (u,))
    assert bool((left >= low - 1e-12).all())
    assert bool((left <= high + 1e-12).all())
    y, ends = entry.run(c + u), entry.range(near.ends, 1e-14)
    assert bool(((y >= ends[0]) & (y <= ends[1])).all())


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (1, 4), (5, 5)])
def test_the_largest_singular_value_is_below_its_bound_and_near_it(shape):
    rng = np.random.default_rng(5)
    matrix = torch.from_numpy(rng.normal(size=(4, *shape)))
    exact = torch.linalg.matrix_norm(matrix, ord=2)
    found = _largest_singular(matrix)
    assert bool((found >= exact).all())
    assert bool((found <= exact * min(shape) ** (1 / 32) * (1 + 1e-9)).all())
    eye = torch.eye(5).double()
    assert 1.0 <= float(_largest_singular(eye)) <= 5 ** (1 / 32) + 1e-9
    assert float(_largest_singular(0 * eye)) < 1e-140


@pytest.mark.parametrize("power", POWERS)
def test_slopes_that_are_asked_for_are_those_of_the_parallel_part(power):
    c = torch.tensor([[3.0, 4.0]]).double()
    t = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]]).double()
    entry = Normed((0,), (-1,), 0.0)
    p = torch.tensor([3.0, 8.0]).double() / 25  # z·J / N, z = (3, 4)/5 and N = 5
    expected = dual_norm(p[:, None], power)
    found = entry.crossed((c,), (t,), power)[0]
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-12, atol=0)


def test_the_value_at_the_centre_holds_more_digits_than_float64():
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(0)
    tape = Tape(torch.from_numpy(1e4 + rng.normal(size=(1, 6))))
    at = tape.surface(Normed((0,), (-1,), 1e-5), "a norm")
    low, high = standing(tape, at)
    with mpmath.workdps(40):
        c = [mpmath.mpf(float(v)) for v in tape.x[0]]
        s = mpmath.sqrt(sum(v * v for v in c) / 6 + mpmath.mpf(1e-5))
        for k in range(6):
            exact = c[k] / s
            assert (
                mpmath.mpf(float(low[0, k])) <= exact <= mpmath.mpf(float(high[0, k]))
            )
    assert float((high - low).max()) < 1e-12


def test_a_norm_of_the_input_itself_is_bounded_without_forms_too():
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 4)))
    graph = normed(4, 0.01)
    u = points(x, 0.2, 2.0, 500, 0)
    y = graph((x[:, None] + u).flatten(0, 1))[0].reshape(2, 500)
    for forms in (True, False):
        found, at = relaxed(graph, x, 0.2, 2.0, forms=forms)
        top = found.upper(at, torch.cat([ONE, -ONE])).top()
        assert bool((y <= top[0][:, None]).all())
        assert bool((-y <= top[1][:, None]).all())
        assert bool((top.sum(0) <= 4 * (y.amax(1) - y.amin(1))).all())


SPELLED = {
    "Div by Sqrt": lambda net, v, m: net.node("Div", v, net.node("Sqrt", m)),
    "Mul by a power": lambda net, v, m: net.node(
        "Mul", net.node("Pow", m, net.constant(-0.5)), v
    ),
    "Mul by 1 / Sqrt": lambda net, v, m: net.node(
        "Mul", v, net.node("Div", net.constant(1.0), net.node("Sqrt", m))
    ),
    "Mul by a Reciprocal": lambda net, v, m: net.node(
        "Mul", v, net.node("Reciprocal", net.node("Sqrt", m))
    ),
}


@pytest.mark.parametrize("kind", SPELLED)
@pytest.mark.parametrize("centred", [False, True])
def test_a_norm_that_a_graph_spells_out_has_the_bounds_of_the_operator(kind, centred):
    net = Net(np.random.default_rng(0), opset=18)
    axis, value = net.constant([1], np.int64), "x"
    if centred:
        value = net.node("Sub", "x", net.node("ReduceMean", "x", axis))
    square = net.node("Pow", value, net.constant(2.0))
    square = net.node("ReduceMean", square, axis, keepdims=1)
    square = net.node("Add", square, net.constant(2.0**-10))
    value = SPELLED[kind](net, value, square)
    first = net.constant([0], np.int64)
    spelled = net.graph((5,), net.node("Gather", value, first, axis=1))
    op = "LayerNormalization" if centred else "RMSNormalization"
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(2, 5)))
    tops = []
    for graph in (spelled, normed(5, 2.0**-10, op=op)):
        found, at = relaxed(graph, x, 0.3, 2.0)
        tops.append(found.upper(at, torch.cat([ONE, -ONE])).top())
    torch.testing.assert_close(tops[0], tops[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("wrong", ["another value", "another axis", "a sum"])
def test_what_only_looks_like_a_norm_is_a_product(wrong):
    """Over another value's size, over another axis, or without its mean."""
    net = Net(np.random.default_rng(0), opset=18)
    axis = net.constant([2 if wrong == "another axis" else 1], np.int64)
    of = net.node("Mul", "x", net.constant(0.5)) if wrong == "another value" else "x"
    square = net.node("Pow", of, net.constant(2.0))
    op = "ReduceSum" if wrong == "a sum" else "ReduceMean"
    square = net.node("Add", net.node(op, square, axis), net.constant(0.1))
    value = net.node("Div", "x", net.node("Sqrt", square))
    output = net.node("Reshape", value, net.constant([-1, 6], np.int64))
    graph = net.graph((3, 2), output)
    x = torch.from_numpy(np.random.default_rng(4).normal(size=(2, 3, 2)))
    found, at = relaxed(graph, x, 0.2, 2.0)
    kinds = [type(entry) for entry in found.tape.entries]
    assert (Normed in kinds) == (wrong == "another axis")
    w = torch.from_numpy(np.random.default_rng(5).normal(size=(4, 1, 6)))
    top = found.upper(at, w).top()
    u = points(x, 0.2, 2.0, 500, 0).reshape(2, 500, 3, 2)
    y = graph((x[:, None] + u).flatten(0, 1))[0].reshape(2, 500, 6)
    assert bool((torch.einsum("ko,bno->kbn", w[:, 0], y) <= top[..., None]).all())
