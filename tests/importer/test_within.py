"""Branches that a Where inside an If, a Loop or a Scan does not take."""

import numpy as np
import onnx.parser
import pytest
import torch

from audit.importer import load_graph

X = np.array([[0.5, -0.5, 2.0], [-3.0, 0.25, 9.0]])
ROOT = "p = Greater({0}, zero) q = Sqrt({0}) w = Neg({0}) {1} = Where(p, q, w)"
IN_IF = """
m = ReduceMax<keepdims=0>({0})
c = Greater(m, zero)
y = If(c)<
  then_branch = t() => (double[n, 3] o) {{ {1} }},
  else_branch = e() => (double[n, 3] o) {{ o = Identity(x) }}
>
"""
IN_LOOP = """
k = Constant<value_int = 3>()
go = Constant<value = bool {{1}}>()
y, all = Loop(k, go, x, x)<
  body = b(int64 i, bool on, {2} s, double[n, 3] t)
      => (bool more, {2} next, double[n, 3] out) {{
    more = Identity(on) next = {0} {1}
  }}
>
last = Identity(all)
"""
IN_SCAN = """
z = Constant<value_floats = [0.0, 0.0]>()
none = CastLike(z, x)
r = Transpose<perm = [1, 0]>(x)
last, a = Scan(none, r)<
  num_scan_inputs = 1,
  body = b(double[n] s, double[n] e) => (double[n] next, double[n] o) {{
    next = Add(s, e) {0}
  }}
>
y = Transpose<perm = [1, 0]>(a)
"""
ZERO = "zero = Constant<value = double {0.0}>()"


def slopes(text):
    """Return y of X and the derivative of its sum."""
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> '
        f"g (double[n, 3] x) => (double[n, 3] y) {{ {ZERO} {text} }}"
    )
    x = torch.tensor(X, requires_grad=True)
    (y,) = load_graph(model)(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    return y.detach().numpy(), slope.numpy()


def root(x):
    """Return √x where x > 0 and −x elsewhere, and its slope."""
    up = np.abs(x)
    return np.where(x > 0, np.sqrt(up), -x), np.where(x > 0, 0.5 / np.sqrt(up), -1.0)


def test_in_an_if_of_what_is_around_it():
    y, slope = slopes(IN_IF.format("x", ROOT.format("x", "o")))
    np.testing.assert_allclose(y, root(X)[0])
    np.testing.assert_allclose(slope, root(X)[1])


def test_in_an_if_in_an_if():
    inner = IN_IF.format("x", ROOT.format("x", "o")).replace("y =", "o =")
    y, slope = slopes(IN_IF.replace("t()", "tt()").format("x", inner))
    np.testing.assert_allclose(y, root(X)[0])
    np.testing.assert_allclose(slope, root(X)[1])


def test_in_a_loop_of_a_state():
    """s = x, x − ½, x − 1; y = the root of the last one before it is made less."""
    step = "Sub(s, half)"
    half = "half = Constant<value = double {0.5}>()"
    text = half + IN_LOOP.format(step, ROOT.format("s", "out"), "double[n, 3]")
    y, slope = slopes(text.replace("y, all", "end, all").replace("last", "y"))
    np.testing.assert_allclose(y, root(X - 1)[0])
    np.testing.assert_allclose(slope, root(X - 1)[1])


def test_in_a_scan_of_a_state_and_of_what_it_goes_over():
    """y_j = the root of x_j times that of x_0 + ... + x_{j − 1} + 4."""
    text = f"""
    {ROOT.format("e", "f")}
    four = Constant<value = double {{4.0}}>()
    u = Add(s, four) p2 = Greater(u, zero) q2 = Sqrt(u) w2 = Neg(u)
    g = Where(p2, q2, w2)
    o = Mul(f, g)
    """
    y, slope = slopes(IN_SCAN.format(text))
    sums = np.cumsum(X, axis=1) - X + 4
    (own, by_own), (past, by_past) = root(X), root(sums)
    np.testing.assert_allclose(y, own * past)
    moved = own * by_past
    later = np.cumsum(moved[:, ::-1], axis=1)[:, ::-1] - moved
    np.testing.assert_allclose(slope, by_own * past + later)


@pytest.mark.parametrize("around", ["j = Floor(x)", "j = Identity(x)"])
def test_what_jumps_around_a_body_holds_nothing(around):
    """Where(j > 0, √x, −x) in an If: at x < 0 the root is NaN."""
    text = "p = Greater(j, zero) q = Sqrt(x) w = Neg(x) o = Where(p, q, w)"
    _, slope = slopes(around + IN_IF.format("x", text))
    assert np.isnan(slope[X < 0]).all() == ("Floor" in around)


def test_a_condition_from_around_a_body_holds_nothing():
    text = "b = Greater(x, zero)" + IN_IF.format("x", "q = Sqrt(x) o = Where(b, q, x)")
    _, slope = slopes(text)
    assert np.isnan(slope[X < 0]).all()


def test_a_state_that_the_body_makes_jump_holds_nothing():
    """At x = ½ the state is 1 or 0: the branches meet there."""
    text = IN_LOOP.format(
        "Floor(s)",
        "h = Add(t, s) p = Greater(s, zero) q = Sqrt(s) r = Mul(q, t) "
        "out = Where(p, t, r)",
        "double[n, 3]",
    )
    _, slope = slopes(text.replace("y, all", "end, y").replace("last", "end2"))
    assert np.isnan(slope[X < 0]).all()
