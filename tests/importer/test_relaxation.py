"""Bounds on graphs over balls: held against points of the balls, and exact cases."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from importer.relaxed_networks import (
    CURVES,
    Net,
    dense_net,
    image_net,
    pooled_net,
)
from onnx import numpy_helper

from audit.ground.errors import ConfigError, NoCertificate
from audit.importer.relaxation import (
    Ball,
    Relaxed,
    Tape,
    functions,
    gates,
    hinged,
    read,
    slopes_of,
)
from audit.importer.relaxation.affine import multiplied, product, scaled
from audit.importer.relaxation.composed import Composed
from audit.importer.relaxation.expressions import Itself, Line, Product, Through
from audit.importer.relaxation.selections import Windows
from audit.importer.relaxation.spans import Spans
from audit.importer.relaxation.standing import standing
from audit.importer.relaxation.tape import Affine

POWERS = (1.0, 2.0, math.inf)


def relaxed(graph, x, reach, power, unit=None, free=None, forms=True):
    tape = Tape(x)
    (value,) = read(graph, tape, "x", {}).values()
    count = x[0].numel()
    free = torch.arange(count) if free is None else free
    unit = torch.ones(len(free)).double() if unit is None else unit
    ball = Ball(x, torch.full((len(x),), reach, dtype=torch.float64), power, free, unit)
    slopes = slopes_of(tape, free, unit, power, value.at) if forms else None
    return Relaxed(tape, ball, slopes=slopes), value.at


def points(x, reach, power, count, seed):
    """Return points of balls [B, count, d], most of them on the surface."""
    rng = torch.Generator().manual_seed(seed)
    shape = (len(x), count, x[0].numel())
    u = torch.randn(shape, generator=rng, dtype=torch.float64)
    if power == math.inf:
        u[:, : count // 2] = u[:, : count // 2].sign()
    if power == 1.0:
        u = u * torch.rand(shape, generator=rng) ** 3
    u = u / torch.linalg.vector_norm(u, ord=power, dim=2, keepdim=True)
    return u * reach


def ascended(graph, x, reach, power, w, steps=40):
    """Return max w·y by projected sign or gradient ascent, by torch alone [B]."""
    best = torch.full((len(x),), -torch.inf).double()
    u = torch.zeros_like(x)
    for step in range(steps):
        u.requires_grad_(True)
        value = (graph(x + u)[0] * w).sum(1)
        best = torch.maximum(best, value.detach())
        (g,) = torch.autograd.grad(value.sum(), u)
        flat = g.flatten(1)
        if power == math.inf:
            to = flat.sign()
        elif power == 2.0:
            to = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-300)
        else:
            to = torch.zeros_like(flat)
            at = flat.abs().argmax(1, keepdim=True)
            to.scatter_(1, at, flat.gather(1, at).sign())
        share = 1.0 if step < steps // 2 else 0.3
        u = (1 - share) * u.detach() + share * reach * to.reshape(x.shape)
    return best


def hold_every_value(found, graph, moved):
    """Raise where a value on the way, at points [B, count, *event], is outside."""
    tape = Tape(moved.flatten(0, 1))
    read(graph, tape, "x", {})
    for (low, high), value in zip(found.intervals, tape.values, strict=True):
        v = value.reshape(*moved.shape[:2], *value.shape[1:])
        slack = 1e-11 * (1 + v.abs())
        assert bool((v >= low.unsqueeze(1) - slack).all())
        assert bool((v <= high.unsqueeze(1) + slack).all())


def check(make, seed, rows=3, count=200, largest=2.0):
    """Raise where a point of a ball is above a bound; return how tight it was."""
    graph, shape = make(seed)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(rows, *shape)))
    power, reach = POWERS[seed % 3], float(rng.choice([1e-4, 0.01, 0.1, 0.5, 2.0]))
    reach = min(reach, largest)
    found, at = relaxed(graph, x, reach, power, forms=seed % 4 > 0)
    y0 = graph(x)[0]
    w = torch.from_numpy(rng.normal(size=(4, 1, y0.shape[1])))
    planes = found.upper(at, w)
    u = points(x, reach, power, count, seed)
    moved = x[:, None] + u.reshape(rows, count, *shape)
    hold_every_value(found, graph, moved)
    y = graph(moved.flatten(0, 1))[0].reshape(rows, count, -1)
    values = torch.einsum("kp,bcp->kbc", w[:, 0], y)
    slopes = planes.slopes.expand(-1, rows, -1)
    lines = planes.level[:, :, None] + torch.einsum("kbm,bcm->kbc", slopes, u)
    slack = 1e-12 * (1 + values.abs())  # the rounding of the points themselves
    assert bool((values <= lines + slack).all())
    top = planes.top()
    for k in range(len(w)):
        best = ascended(graph, x, reach, power, w[k])
        assert bool((best <= top[k] + 1e-12 * (1 + best.abs())).all())
    return found, at, graph, x


def check_second_order(graph, shape):
    """Bound less value at x, less the slope's own maximum, falls by 100 for 10."""
    x = torch.from_numpy(np.random.default_rng(5).normal(size=(1, *shape)))
    w = torch.tensor([[[1.0, -0.5]]]).double()
    value = x.clone().requires_grad_(True)
    (graph(value)[0] * w[0]).sum().backward()
    steepest = value.grad.norm()
    left = []
    for size in (1e-3, 1e-4):
        found, at = relaxed(graph, x, size, 2.0)
        start = (graph(x)[0] * w[0]).sum()
        left.append(float(found.upper(at, w).top() - start - size * steepest))
    assert -1e-14 < left[1] <= 0.02 * left[0] + 1e-12


@pytest.mark.sweep(2)
@pytest.mark.parametrize("seed", range(24))
def test_no_point_of_a_ball_is_above_the_bound_of_a_dense_network(seed):
    check(dense_net, seed)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("seed", range(9))
def test_no_point_of_a_ball_is_above_the_bound_of_an_image_network(seed):
    check(image_net, seed, rows=2, count=60)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("seed", range(9))
def test_no_point_of_a_ball_is_above_the_bound_of_a_network_with_maxima(seed):
    check(pooled_net, seed, rows=2, count=60)


@pytest.mark.parametrize("seed", [1, 2, 3, 6, 7, 10])
def test_planes_of_maxima_are_the_way_over_their_elements(seed, monkeypatch):
    """For all rows, for some of them in groups of any size, and for row after row."""
    found, at, _, _ = check(pooled_net, seed, rows=4, count=60)
    assert found.crossings.sheets
    value = found.tape.values[at]
    rng = np.random.default_rng(seed)
    rows = torch.tensor([0, 0, 0, 1, 3])
    some = torch.from_numpy(rng.normal(size=(1, 5, value.shape[1])))
    every = torch.from_numpy(rng.normal(size=(3, 4, value.shape[1])))
    alike = every[:, :1]
    given = ((some, rows), (every, None), (alike, None))
    by_planes = [found.upper(at, *one) for one in given]
    monkeypatch.setattr(Spans, "direct", lambda *_: None)
    found.crossings.sheets.clear()
    found.crossings.narrow.clear()
    for planes, one in zip(by_planes, given, strict=True):
        other = found.upper(at, *one)
        slopes = planes.slopes.expand_as(other.slopes)
        torch.testing.assert_close(slopes, other.slopes, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(planes.level, other.level, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", [4, 6, 7, 8, 18, 20])
def test_functionals_and_their_negatives_have_one_way_to_planes(seed):
    """Of windows and of whole rows, as each by itself."""
    graph, shape = pooled_net(seed)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(3, *shape)))
    found, _ = relaxed(graph, x, 0.1, 2.0)
    carrier, rows = found.carrier, torch.tensor([0, 0, 1, 2, 2])
    tried = 0
    for start, at in found.crossings.windowed.values():
        count, *out = found.tape.values[start].shape[1:]
        if not carrier.plain(start):
            continue
        of_rows = torch.from_numpy(rng.normal(size=(1, 5, count, *out)))
        windows = Windows(at, rows, torch.arange(5) % math.prod(out))
        for a, some in ((of_rows, rows), (of_rows.flatten(3)[..., 0], windows)):
            slopes, level = carrier.both(start, a, some)
            for k, sign in enumerate((1, -1)):
                other = found.upper(start, sign * a, some)
                close = {"rtol": 1e-10, "atol": 1e-12}
                torch.testing.assert_close(slopes[k], other.slopes[0], **close)
                torch.testing.assert_close(level[k], other.level[0], **close)
            tried += 1
    assert tried == 2


@pytest.mark.parametrize("forms", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_functionals_of_windows_are_those_of_their_elements(seed, forms):
    graph, shape = pooled_net(seed)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(3, *shape)))
    found, _ = relaxed(graph, x, 0.1, 2.0, forms=forms)
    assert found.crossings.windowed
    for start, at in found.crossings.windowed.values():
        count, *out = found.tape.values[start].shape[1:]
        rows, spots = torch.arange(3).repeat(5), torch.arange(15) % math.prod(out)
        a = torch.from_numpy(rng.normal(size=(1, 15, count)))
        whole = torch.zeros(15, count, math.prod(out)).double()
        whole[torch.arange(15), :, spots] = a[0]
        one = found.upper(start, a, Windows(at, rows, spots))
        other = found.upper(start, whole.reshape(1, 15, count, *out), rows)
        torch.testing.assert_close(one.slopes, other.slopes, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(one.level, other.level, rtol=1e-10, atol=1e-12)


def test_bounds_are_the_same_in_inference_mode():
    """The transpose of an operator is that of autograd, which that mode turns off."""
    rng = np.random.default_rng(5)
    net = Net(rng)
    value = net.node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2])
    value = net.node("Relu", net.node("Flatten", value))
    graph = net.graph((1, 4, 4), net.dense(value, 4, 2))
    x = torch.from_numpy(rng.normal(size=(3, 1, 4, 4)))
    tape = Tape(x)
    (y,) = read(graph, tape, "x", {}).values()
    ball = Ball(
        x, torch.full((3,), 0.5).double(), 2.0, torch.arange(16), torch.ones(16)
    )
    w = torch.eye(2).double()[:, None]
    outside = Relaxed(tape, ball).upper(y.at, w).top()
    with torch.inference_mode():
        inside = Relaxed(tape, ball).upper(y.at, w).top()
    assert torch.equal(inside.clone(), outside)


def test_a_pruned_tape_has_the_value_and_nothing_beside_it():
    net = Net(np.random.default_rng(1))
    inner = net.dense("x", 3, 5)
    net.node("Tanh", inner)  # which nobody reads
    graph = net.graph((3,), net.dense(net.node("Relu", inner), 5, 2))
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(4, 3)))
    tape = Tape(x)
    (value,) = read(graph, tape, "x", {}).values()
    tape.bend(value.at, functions.TANH)
    pruned = tape.pruned(value.at)
    assert len(pruned.entries) == len(tape.ancestors(value.at)) < len(tape.entries)
    assert torch.equal(pruned.values[-1], tape.values[value.at])
    ball = Ball(
        x, torch.full((4,), 0.2).double(), 2.0, torch.arange(3), torch.ones(3).double()
    )
    w = torch.eye(2).double()[:, None]
    one = Relaxed(tape, ball).upper(value.at, w).top()
    other = Relaxed(pruned, ball).upper(len(pruned.entries) - 1, w).top()
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_point_of_a_ball_is_above_the_bound_of_80_networks_with_maxima():
    for seed in range(100, 180):
        check(pooled_net, seed, rows=4, count=300)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_point_of_a_ball_is_above_the_bound_of_200_networks():
    for seed in range(100, 300):
        make = image_net if seed % 5 == 0 else dense_net
        check(make, seed, rows=4, count=400)


@pytest.mark.parametrize("power", POWERS)
def test_an_affine_network_is_bounded_by_its_own_maximum(power):
    rng = np.random.default_rng(3)
    net = Net(rng)
    graph = net.graph((5,), net.dense(net.dense("x", 5, 7), 7, 2))
    x = torch.from_numpy(rng.normal(size=(4, 5)))
    found, at = relaxed(graph, x, 0.3, power)
    w = torch.tensor([[1.0, -2.0]]).double()
    matrix = torch.autograd.functional.jacobian(lambda v: graph(v[None])[0][0], x[0])
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[power]
    size = 0.3 * torch.linalg.vector_norm(w @ matrix, ord=dual)
    expected = (graph(x)[0] @ w.T)[:, 0] + size
    top = found.upper(at, w[:, None]).top()[0]
    assert bool((top >= expected - 1e-15).all())
    torch.testing.assert_close(top, expected, rtol=1e-12, atol=1e-12)


def test_units_and_masked_features_shape_the_ball():
    graph, shape = next(
        (g, s) for g, s in (dense_net(k) for k in range(50)) if s[0] >= 3
    )
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(3, *shape)))
    free, unit = (
        torch.tensor([0, 2]),
        torch.tensor([0.5, 3.0]).double(),
    )  # exact in float32
    found, at = relaxed(graph, x, 0.1, 2.0, unit, free)
    w = torch.ones(1, 1, 2).double()
    planes = found.upper(at, w)
    assert planes.slopes.shape[-1] == 2
    u = points(x[:, :2], 0.1, 2.0, 300, 5)
    delta = torch.zeros(3, 300, shape[0]).double()
    delta[..., free] = u * unit
    y = graph((x[:, None] + delta).flatten(0, 1))[0].sum(1).reshape(3, 300)
    assert bool((y <= planes.top()[0][:, None] + 1e-12).all())
    widest = y.amax(1) - graph(x)[0].sum(1)
    assert bool((planes.top()[0] - graph(x)[0].sum(1) < 3 * widest).all())


def test_what_is_left_of_a_linear_function_is_of_second_order():
    net = Net(np.random.default_rng(5))
    value = net.curve("Tanh", net.dense("x", 3, 6))
    graph = net.graph((3,), net.dense(net.curve("silu", net.dense(value, 6, 6)), 6, 1))
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 3)))
    w, left = torch.ones(1, 1, 1).double(), []
    for reach in (1e-2, 1e-3):
        found, at = relaxed(graph, x, reach, 2.0)
        j = found.derivative(at, w)
        left.append(found.upper(at, w).top(j)[0] - graph(x)[0][:, 0])
        own = torch.func.vmap(torch.func.jacrev(lambda v: graph(v[None])[0][0]))(x)
        torch.testing.assert_close(j[0], own[:, 0], rtol=1e-10, atol=1e-12)
    assert bool((left[0] > 20 * left[1]).all())
    assert bool((left[1] > 0).all())


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((3, 5), (4, 3, 2), {"strides": [2], "pads": [1, 0]}),
        ((3, 4, 3), (2, 3, 3, 2), {"pads": [1, 1, 1, 0]}),
        ((4, 4, 3), (6, 2, 2, 2), {"group": 2, "dilations": [2, 1]}),
        ((1, 2, 3, 2), (2, 1, 2, 2, 1), {}),
    ],
)
def test_a_convolution_of_few_elements_is_its_matrix(shape, weight, attributes):
    """By torch's own, of images of whole numbers: there is no rounding."""
    rng = np.random.default_rng(0)
    net, kernel = Net(rng), rng.integers(-9, 9, size=weight).astype(np.float64)
    value = net.node("Conv", "x", net.constant(kernel), **attributes)
    graph = net.graph(shape, value)
    x = torch.from_numpy(rng.integers(-9, 9, size=(5, *shape)).astype(np.float64))
    tape = Tape(x)
    (found,) = read(graph, tape, "x", {}).values()
    assert tape.entries[found.at].across is not None
    assert torch.equal(tape.values[found.at], graph(x)[0])


@pytest.mark.parametrize("dense", [False, True])
def test_tangents_that_move_few_elements_have_the_same_product(dense):
    """Directions with a support of their own, one that moves nothing among them."""
    rng = np.random.default_rng(0)
    moved = rng.random((4, 30)) < (0.9 if dense else 0.2)
    moved[3] = False
    t = rng.normal(size=(9, 20, 30)) * moved[rng.integers(4, size=9)][:, None]
    matrix = rng.normal(size=(30, 2, 7))
    tape = Tape(torch.zeros(20, 30).double())
    at = multiplied(tape, 0, torch.from_numpy(matrix), None, "product")
    found = tape.entries[at].along(torch.from_numpy(t))
    expected = np.einsum("mrn,nab->mrab", t, matrix)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_slopes_are_those_of_autograd_and_save_backward_passes(seed):
    graph, shape = (image_net if seed % 4 == 0 else dense_net)(seed)
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, *shape)))
    found, at = relaxed(graph, x, 1e-13, 2.0)  # no knot is within
    own = torch.func.vmap(torch.func.jacrev(lambda v: graph(v[None])[0][0]))(x)
    ours = found.slopes.jacobian.permute(1, 2, 0).expand(3, -1, -1)
    torch.testing.assert_close(ours, own.flatten(2), rtol=1e-6, atol=1e-9)
    norms = own.flatten(2).norm(dim=2).expand_as(found.slopes.norms[at])
    torch.testing.assert_close(found.slopes.norms[at], norms, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("seed", [1, 2, 3, 6, 7, 10])
def test_slopes_of_windows_are_differences_of_values(seed, power):
    """Of what a tournament reads and of all behind it: norms, and J at the end."""
    graph, shape = pooled_net(seed)
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, *shape)))
    found, at = relaxed(graph, x, 1e-13, power)  # no knot is within
    assert found.slopes.local
    count, step = x[0].numel(), 1e-5
    moves = step * torch.eye(count).double().reshape(1, count, *shape)
    ends = []
    for sign in (1, -1):
        tape = Tape((x[:, None] + sign * moves).flatten(0, 1))
        read(graph, tape, "x", {})
        ends.append([v.unflatten(0, (3, count)).movedim(1, -1) for v in tape.values])
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[power]
    for index, norms in found.slopes.norms.items():
        exact = (ends[0][index] - ends[1][index]) / (2 * step)
        size = torch.linalg.vector_norm(exact, ord=dual, dim=-1)
        torch.testing.assert_close(norms.expand_as(size), size, rtol=1e-6, atol=1e-8)
        if index == at:
            ours = found.slopes.jacobian.movedim(0, -1).expand_as(exact)
            torch.testing.assert_close(ours, exact, rtol=1e-6, atol=1e-8)


def test_forms_leave_a_smooth_network_no_backward_pass_at_small_sizes(monkeypatch):
    passes = []
    whole = Relaxed.upper
    monkeypatch.setattr(
        Relaxed, "upper", lambda self, *a: passes.append(a) or whole(self, *a)
    )
    net = Net(np.random.default_rng(5))
    value = net.curve("Tanh", net.dense("x", 3, 6))
    graph = net.graph((3,), net.dense(net.curve("silu", net.dense(value, 6, 6)), 6, 1))
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 3)))
    with_forms, at = relaxed(graph, x, 1e-3, 2.0)
    assert not passes
    without, _ = relaxed(graph, x, 1e-3, 2.0, forms=False)
    assert len(passes) == 2
    w = torch.ones(1, 1, 1).double()
    one, other = (found.upper(at, w).top() for found in (with_forms, without))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


ROOT = mpmath.mpf(math.sqrt(2 / math.pi))
EXACT = {
    "sigmoid": (functions.SIGMOID, lambda v: 1 / (1 + mpmath.exp(-v))),
    "tanh": (functions.TANH, mpmath.tanh),
    "erf": (functions.ERF, mpmath.erf),
    "exp": (functions.EXP, mpmath.exp),
    "softplus": (functions.SOFTPLUS, lambda v: mpmath.log1p(mpmath.exp(v))),
    "log_softplus": (
        functions.LOG_SOFTPLUS,
        lambda v: mpmath.log(mpmath.log1p(mpmath.exp(v))),
    ),
    "silu": (functions.SILU, lambda v: v / (1 + mpmath.exp(-v))),
    "gelu": (functions.GELU, lambda v: v * mpmath.ncdf(v)),
    "square": (functions.SQUARE, lambda v: v * v),
    "relu": (functions.RELU, lambda v: max(v, mpmath.mpf(0))),
    "abs": (functions.ABS, abs),
    "clip": (
        functions.clipped(-0.4, 0.9),
        lambda v: min(max(v, mpmath.mpf(-0.4)), mpmath.mpf(0.9)),
    ),
    "leaky": (functions.leaky(0.1), lambda v: v if v > 0 else v * mpmath.mpf(0.1)),
    "switched": (
        functions.switched(1.0),
        lambda v: v if v > 1 else mpmath.log1p(mpmath.exp(v)),
    ),
    "log_switched": (
        functions.log_of(functions.switched(1.0)),
        lambda v: mpmath.log(v if v > 1 else mpmath.log1p(mpmath.exp(v))),
    ),
    "log": (functions.LOG, mpmath.log),
    "sqrt": (functions.SQRT, mpmath.sqrt),
    "elu": (hinged.elu(0.25), lambda v: v if v > 0 else mpmath.expm1(v) / 4),
    "steep elu": (
        hinged.elu(1.75),
        lambda v: v if v > 0 else mpmath.mpf(1.75) * mpmath.expm1(v),
    ),
    "celu": (hinged.celu(0.5), lambda v: v if v > 0 else mpmath.expm1(2 * v) / 2),
    "softsign": (hinged.SOFTSIGN, lambda v: v / (1 + abs(v))),
    "hard_swish": (
        hinged.HARD_SWISH,
        lambda v: v * min(max(v + 3, mpmath.mpf(0)), mpmath.mpf(6)) / 6,
    ),
    "cube": (hinged.power(3), lambda v: v**3),
    "fourth": (hinged.power(4), lambda v: v**4),
    "reciprocal": (hinged.RECIPROCAL, lambda v: 1 / v),
    "root_reciprocal": (hinged.ROOT_RECIPROCAL, lambda v: 1 / mpmath.sqrt(v)),
    "mish": (gates.MISH, lambda v: v * mpmath.tanh(mpmath.log1p(mpmath.exp(v)))),
    "tanh_gelu": (
        gates.TANH_GELU,
        lambda v: v * (1 + mpmath.tanh(ROOT * (v + mpmath.mpf(0.044715) * v**3))) / 2,
    ),
    "spelled softsign": (
        Composed.of(
            Product(
                Itself(),
                Through(
                    Line(Through(Itself(), functions.ABS), 1.0, 1.0),
                    hinged.RECIPROCAL,
                ),
            )
        ),
        lambda v: v / (1 + abs(v)),
    ),
    "logit": (functions.LOGIT, lambda v: mpmath.log(v / (1 - v))),
}
POSITIVE = ("log", "sqrt", "reciprocal", "root_reciprocal")
INSIDE = dict.fromkeys(POSITIVE, (1e-6, 5.0)) | {"logit": (1e-6, 1 - 1e-6)}


@pytest.mark.parametrize("name", EXACT)
def test_lines_hold_in_exact_arithmetic_and_touch(name):
    curve, exact = EXACT[name]
    mpmath.mp.dps = 40
    rng = np.random.default_rng(7)
    least, most = INSIDE.get(name, (-30.0, 30.0))
    for _ in range(60):
        width = 10 ** rng.uniform(-9, 1.5)
        low = rng.uniform(-4, 4) if name not in INSIDE else rng.uniform(least, most)
        low, high = max(low, least), min(low + width, most)
        ends = torch.tensor([[low], [high]], dtype=torch.float64)
        s, t, r, q = (mpmath.mpf(float(part)) for part in curve.lines(*ends))
        gaps = []
        for share in np.linspace(0, 1, 41):
            v = mpmath.mpf(low) + (mpmath.mpf(high) - mpmath.mpf(low)) * share
            gaps.append((s * v + t - exact(v), exact(v) - r * v - q))
        above, below = zip(*gaps, strict=True)
        assert min(above) >= 0, (low, high)
        assert min(below) >= 0, (low, high)
        rise = abs(exact(mpmath.mpf(high)) - exact(mpmath.mpf(low)))
        near = 1e-13 * (1 + abs(float(exact(mpmath.mpf(high)))))
        near += 3e-2 * float(rise)
        if "switched" not in name:
            assert float(min(above)) <= near
            assert float(min(below)) <= near


RELATIVE = [name for name, (curve, _) in EXACT.items() if curve.relative]


@pytest.mark.parametrize("name", RELATIVE)
def test_lines_hold_and_touch_far_from_one(name):
    """What is between the lines and the curve is small beside the curve's own rise.

    An attention weight of 1e-15 is one over a sum of 1e15: room of a few units of the
    sum itself would be a weight of one.
    """
    curve, exact = EXACT[name]
    mpmath.mp.dps = 60
    rng = np.random.default_rng(11)
    for _ in range(20):
        low = 10 ** rng.uniform(-14, 14)
        if name == "exp":
            low = rng.uniform(-600, 600)
        high = low + abs(low) * 10 ** rng.uniform(-6, -1)
        ends = torch.tensor([[low], [high]], dtype=torch.float64)
        s, t, r, q = (mpmath.mpf(float(part)) for part in curve.lines(*ends))
        least, most = (
            mpmath.mpf(float(end))
            for end in curve.range(*ends, lambda ends=ends: curve.lines(*ends))
        )
        gaps = []
        for share in np.linspace(0, 1, 9):
            v = mpmath.mpf(low) + (mpmath.mpf(high) - mpmath.mpf(low)) * share
            f = exact(v)
            assert least <= f <= most
            gaps += [s * v + t - f, f - r * v - q]
        assert min(gaps) >= 0, (low, high)
        rise = abs(exact(mpmath.mpf(high)) - exact(mpmath.mpf(low)))
        room = 1e-13 * max(abs(exact(mpmath.mpf(end))) for end in (low, high))
        assert max(gaps) <= rise + room + 1e-13 * mpmath.mpf(high) * abs(s), (low, high)
        share = 1.001 if curve.rising or curve.falling else 1.3
        assert most - least <= share * rise + 2 * room


def exactly(matrix, bias, v):
    """Return M v + b as numbers of mpmath."""
    rows = zip(matrix.tolist(), bias.tolist(), strict=True)
    return [mpmath.fdot(row, v) + shift for row, shift in rows]


def test_a_ball_of_size_0_encloses_the_value_in_exact_arithmetic():
    mpmath.mp.dps = 60
    rng = np.random.default_rng(2)
    net = Net(rng)
    far = net.node("Add", net.curve("Tanh", net.dense("x", 3, 5)), net.constant(3e7))
    value = net.node("Sub", far, net.constant(3e7))
    graph = net.graph((3,), net.dense(value, 5, 2))
    x = torch.from_numpy(rng.normal(size=(4, 3)))
    tape = Tape(x)
    (y,) = read(graph, tape, "x", {}).values()
    own = torch.arange(3), torch.ones(3).double()
    found = Relaxed(tape, Ball(x, torch.zeros(4).double(), 2.0, *own), tight=False)
    w = torch.eye(2).double()[:, None]
    top, bottom = found.upper(y.at, w).top(), -found.upper(y.at, -w).top()
    bias, matrix, _, _, last_bias, last = (numpy_helper.to_array(v) for v in net.stored)
    missed = 0
    for row in range(4):
        inner = exactly(matrix, bias, x[row].tolist())
        exact = exactly(last, last_bias, [mpmath.tanh(v) for v in inner])
        for k in range(2):
            low, high = (mpmath.mpf(float(end[k, row])) for end in (bottom, top))
            assert low <= exact[k] <= high
            assert float(high - low) < 1e-5
            rounded = mpmath.mpf(float(tape.values[y.at][row, k]))
            missed += abs(rounded - exact[k]) > 1e-10  # which is not the value itself
    assert missed > 0


@pytest.mark.parametrize(
    ("name", "exact"),
    [("Tanh", mpmath.tanh), ("Relu", lambda v: max(v, 0)), ("Abs", abs)],
)
def test_where_a_value_stands_is_known_in_exact_arithmetic(name, exact):
    """Large numbers that cancel: what is rounded on the way is not the value."""
    mpmath.mp.dps = 60
    rng = np.random.default_rng(5)
    net = Net(rng)
    far = net.node("Add", net.node(name, net.dense("x", 3, 5)), net.constant(3e7))
    value = net.node("Sub", far, net.constant(3e7))
    graph = net.graph((3,), net.dense(value, 5, 2))
    x = torch.from_numpy(rng.normal(size=(4, 3)))
    tape = Tape(x)
    (y,) = read(graph, tape, "x", {}).values()
    low, high = standing(tape, y.at)
    bias, matrix, _, _, last_bias, last = (numpy_helper.to_array(v) for v in net.stored)
    missed = 0
    for row in range(4):
        inner = exactly(matrix, bias, x[row].tolist())
        for k, true in enumerate(exactly(last, last_bias, [exact(v) for v in inner])):
            ends = (mpmath.mpf(float(end[row, k])) for end in (low, high))
            assert next(ends) <= true <= next(ends)
            missed += abs(mpmath.mpf(float(tape.values[y.at][row, k])) - true) > 1e-10
    assert missed > 0
    assert bool((high - low < 1e-5).all())


@pytest.mark.parametrize("kind", [dense_net, image_net, pooled_net])
@pytest.mark.parametrize("seed", range(4))
def test_a_tape_around_other_inputs_is_the_one_that_is_read_there(kind, seed):
    graph, shape = kind(seed)
    rng = np.random.default_rng(seed)
    one, other = (torch.from_numpy(rng.normal(size=(3, *shape))) for _ in range(2))
    known, expected = Tape(one), Tape(other)
    for tape in (known, expected):
        read(graph, tape, "x", {})
    found = known.around(other)
    assert len(found.entries) == len(expected.entries)
    for value, own in zip(found.values, expected.values, strict=True):
        assert torch.equal(value, own)


def beside(seed):
    """Return (graph, shape): what is affine in x side by side with what is not."""
    net = Net(np.random.default_rng(seed))
    inner = net.dense("x", 4, 5)
    bent = net.node("Relu", inner)
    both = net.node("Concat", inner, bent, "x", axis=1)
    value = net.node("Tanh", net.dense(both, 14, 6))
    value = net.node("Concat", value, inner, axis=1)
    return net.graph((4,), net.dense(value, 11, 2)), (4,)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_affine_stands_beside_what_is_not(seed):
    check(beside, seed)


@pytest.mark.parametrize("forms", [False, True])
def test_rows_with_factors_of_their_own_have_bounds_of_their_own(forms):
    """What a held input multiplies; most rows have functionals of their own."""
    rng = np.random.default_rng(2)
    first, last = (torch.from_numpy(rng.normal(size=s)) for s in ((4, 7), (7, 2)))
    factor = torch.from_numpy(rng.normal(size=(5, 7)) * 3)
    x = torch.from_numpy(rng.normal(size=(5, 4)))
    tape = Tape(x)
    at = product(tape, 0, first, None, "first")
    at = tape.bend(scaled(tape, at, factor, factor.square(), "held"), functions.RELU)
    at = product(tape, tape.bend(at, functions.TANH), last, None, "last")
    free, unit = torch.arange(4), torch.ones(4).double()
    ball = Ball(x, torch.linspace(0.05, 0.6, 5).double(), 2.0, free, unit)
    slopes = slopes_of(tape, free, unit, 2.0, at) if forms else None
    top = Relaxed(tape, ball, slopes=slopes).upper(at, torch.eye(2)[:, None].double())
    u = points(x, 1.0, 2.0, 500, 1) * ball.reach[:, None, None]
    hidden = torch.relu(
        (x[:, None] + u) @ first * factor[:, None] + factor.square()[:, None]
    )
    y = torch.tanh(hidden) @ last
    lines = top.level[:, :, None] + torch.einsum("kbm,bcm->kbc", top.slopes, u)
    assert bool((y.permute(2, 0, 1) <= lines + 1e-12).all())


@pytest.mark.parametrize("reach", [0.0, 1e-18])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("planes", "alone"), [(False, False), (True, False), (True, True)]
)
def test_rounding_of_maxima_is_within_their_bounds(
    planes, alone, wide, reach, monkeypatch
):
    """Exact rational numbers, for a convolution as a matrix and as itself."""
    rng = np.random.default_rng(8)
    side = 12 if wide else 4
    net = Net(rng)
    kernels = [rng.normal(size=(2, c, 3, 3)) * 1e3 for c in (1, 2)]
    biases = [rng.normal(size=2) * 1e4 for _ in kernels]
    value = "x"
    for kernel, bias in zip(kernels, biases, strict=True):
        ends = net.constant(kernel), net.constant(bias)
        value = net.node("Conv", value, *ends, pads=[1, 1, 1, 1])
        value = net.node("Relu", value)
        windows = {"kernel_shape": [2, 2], "strides": [2, 2]}
        value = net.node("MaxPool", value, **windows)
    value = net.node("GlobalMaxPool", value)
    last = rng.normal(size=(2, 2))
    value = net.node("Flatten", value)
    value = net.node("Gemm", value, net.constant(last), transB=1)
    graph = net.graph((1, side, side), value)
    x = torch.from_numpy(rng.normal(size=(3, 1, side, side)))
    if not planes:
        monkeypatch.setattr(Spans, "direct", lambda *_: None)
    found, at = relaxed(graph, x, reach, 2.0)
    eye = torch.eye(2).double().unsqueeze(1)
    ends = torch.cat([eye, -eye])
    if alone:  # one functional of each row at a time
        every = torch.arange(3)
        tops = [found.upper(at, w.expand(1, 3, -1), every).top() for w in ends]
    else:
        tops = [found.upper(at, ends).top()]
    assert len(found.crossings.sheets) == planes
    top = torch.cat(tops)
    assert len(found.crossings.funnels) == (3 if wide else 2)
    missed = 0
    for row in range(3):
        image = [[[Fraction(float(v)) for v in line] for line in x[row, 0]]]
        for kernel, bias in zip(kernels, biases, strict=True):
            image = halved(convolved(image, kernel, bias))
        peaks = [max(v for line in plane for v in line) for plane in image]
        for k in range(2):
            exact = sum(
                Fraction(float(w)) * v for w, v in zip(last[k], peaks, strict=True)
            )
            assert -Fraction(float(top[2 + k, row])) <= exact
            assert exact <= Fraction(float(top[k, row]))
            assert float(top[k, row] + top[2 + k, row]) < 1e-9 * abs(exact) + 1e-3
            missed += Fraction(float(found.tape.values[at][row, k])) != exact
    assert missed > 0


def convolved(image, kernel, bias):
    """Return relu(image * kernel + bias) [c][h][w] in rational numbers, padded by 1."""
    height, width, found = len(image[0]), len(image[0][0]), []
    for weights, shift in zip(kernel, bias, strict=True):
        plane = [[Fraction(float(shift))] * width for _ in range(height)]
        for i, j in itertools.product(range(height), range(width)):
            for c, p, q in itertools.product(range(len(image)), range(3), range(3)):
                y, z = i + p - 1, j + q - 1
                if 0 <= y < height and 0 <= z < width:
                    plane[i][j] += Fraction(float(weights[c, p, q])) * image[c][y][z]
            plane[i][j] = max(plane[i][j], Fraction(0))
        found.append(plane)
    return found


def halved(image):
    """Return the largest of each two by two [c][h/2][w/2]."""
    return [
        [
            [
                max(plane[i + p][j + q] for p in (0, 1) for q in (0, 1))
                for j in range(0, len(plane[0]), 2)
            ]
            for i in range(0, len(plane), 2)
        ]
        for plane in image
    ]


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "gelu", "erf", "relu"])
def test_lines_are_not_chosen_by_rounding(name):
    curve, _ = EXACT[name]
    rng = torch.Generator().manual_seed(3)
    low = -3 * torch.rand(400, 1, generator=rng, dtype=torch.float64)
    high = low + 4 * torch.rand(400, 1, generator=rng, dtype=torch.float64) + 0.1
    low[:5], high[:5] = -1.0, 1.0  # where lines of several slopes are as near
    one = curve.lines(low, high)
    step = 1e-14 * torch.randn(400, 1, generator=rng, dtype=torch.float64)
    two = curve.lines(low + step, high - step)
    moved = [(a - b).abs().max() for a, b in zip(one, two, strict=True)]
    assert float(torch.stack(moved).max()) < 1e-6


def test_a_piece_of_a_curve_is_its_own_line():
    """In float64: where no knot is inside there is nothing between the lines."""
    low = torch.tensor([[-3.0, 0.25, 0.0]], dtype=torch.float64)
    lines = functions.leaky(0.1).lines(low, low + 1.5)
    one = torch.tensor([[0.1, 1.0, 1.0]], dtype=torch.float64)
    assert torch.equal(lines.above, one)
    assert torch.equal(lines.below, one)
    assert float((lines.above_level - lines.below_level).max()) < 1e-13


@pytest.mark.parametrize("switch", [1.0, 20.0])
def test_a_switch_at_the_very_end_of_an_interval_is_inside(switch):
    ends = torch.tensor([[switch - 2.0], [switch]], dtype=torch.float64)
    lines = functions.switched(switch).lines(*ends)
    assert float(lines.below * switch + lines.below_level) <= switch  # of v ≥ switch


def test_every_curve_of_a_graph_is_in_the_random_networks():
    assert {"gelu", "quick_gelu", "silu", "softplus"} <= set(CURVES)


REFUSED = {
    "Sin": lambda net: net.node("Sin", "x"),
    "Pow with the exponent 2.5": lambda net: net.node("Pow", "x", net.constant(2.5)),
    "Pow with an operand 2": lambda net: net.node("Pow", net.constant(2.0), "x"),
    "Elu with an alpha": lambda net: net.node("Elu", "x", alpha=-0.5),
    "Transpose m": lambda net: net.node("Transpose", "x", perm=[1, 0]),
    "ReduceMean m": lambda net: net.node(
        "ReduceMean", "x", net.constant([0], np.int64), keepdims=1
    ),
    "Where": lambda net: net.node(
        "Where", net.node("Greater", "x", net.constant(0.5)), "x", net.constant(0.0)
    ),
}


def test_a_part_of_no_columns_leaves_the_bound_as_it_is():
    """x and nothing, side by side: the largest coordinate of a ball is known."""
    net = Net(np.random.default_rng(0))
    axis = net.constant([1], np.int64)
    begin = net.constant([2], np.int64)
    nothing = net.node("Slice", "x", begin, begin, axis)
    graph = net.graph((3,), net.node("Concat", nothing, "x", nothing, axis=1))
    x = torch.tensor([[0.5, -1.0, 2.0]]).double()
    found, at = relaxed(graph, x, 0.25, 2.0)
    top = found.upper(at, torch.eye(3).double().unsqueeze(1)).top()
    np.testing.assert_allclose(top.squeeze(1), x[0] + 0.25, rtol=1e-9)


@pytest.mark.parametrize("words", REFUSED)
def test_what_has_no_rule_is_refused_by_name(words):
    net = Net(np.random.default_rng(0))
    graph = net.graph((3,), REFUSED[words](net))
    name = words.rpartition(": ")[2]
    with pytest.raises(NoCertificate, match=f"no certificate: {name}"):
        read(graph, Tape(torch.zeros(3, 3).double()), "x", {})


def test_a_norm_that_is_none_of_three_is_refused():
    x = torch.zeros(1, 2).double()
    with pytest.raises(ConfigError, match="p=3"):
        Ball(x, torch.ones(1).double(), 3.0, torch.arange(2), torch.ones(2).double())


def test_what_overflows_has_the_bound_infinity():
    net = Net(np.random.default_rng(0))
    graph = net.graph((1,), net.node("Exp", net.node("Exp", "x")))
    found, at = relaxed(graph, torch.tensor([[6.0]]).double(), 1.0, 2.0)
    top = found.upper(at, torch.ones(1, 1, 1).double()).top()
    assert torch.isposinf(top).all()


@pytest.mark.parametrize("size", [1.0, 1e-12])
def test_what_mixes_rows_is_refused_however_small_its_terms_are(size):
    """x_i + x_{i−1} around the batch, and x_i + x_i, which is of its own row."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3)))

    def entry(turn):
        def run(v):
            return size * (v + v.roll(turn, 0))

        return Affine((0,), run, run, lambda a, *_: (a,), run)

    assert Tape(x).affine(entry(0), "the sum") == 1
    with pytest.raises(NoCertificate, match="the sum mixes the rows of a batch"):
        Tape(x).affine(entry(1), "the sum")
