"""Laws by programs that compute each number once: where they are, and where not."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.importer import load_graph
from audit.importer.spare import clips, sums
from audit.models.implicit.sparing import LEAST, Sparing
from audit.models.network import calling

FLOAT = TensorProto.FLOAT


def graph_of(*nodes, **constants):
    """A graph (x [n, 3], z [n, 3]) -> y in float32."""
    ports = [helper.make_tensor_value_info(n, FLOAT, ["n", 3]) for n in ("x", "z")]
    made = [helper.make_tensor_value_info("y", FLOAT, None)]
    nodes = [
        helper.make_node(op, i.split(), o.split(), **attributes)
        for op, i, o, attributes in nodes
    ]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ports, made, stored),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    model.ir_version = 10
    return load_graph(model)


def values(rows=LEAST, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(rows, 3, generator=generator) for n in ("x", "z")}


class Counted:
    """A call that counts how often it is asked."""

    def __init__(self, call):
        self.call, self.rows = call, []

    def __call__(self, given):
        self.rows.append(len(given["x"]))
        return self.call(given)


def sparing(graph, call=None):
    counted = Counted(call or calling(graph))
    return Sparing(counted, lambda: graph), counted


PRODUCT = ("Mul", "x z", "t", {}), ("Exp", "t", "y", {})


def test_many_rows_go_through_the_program():
    law, own = sparing(graph_of(*PRODUCT))
    given = values()
    expected = (given["x"] * given["z"]).exp()
    for _ in range(3):
        assert torch.equal(law(given)["y"], expected)
    assert max(own.rows) < LEAST  # asked on the first rows alone


def test_few_rows_are_the_file_s_own():
    law, own = sparing(graph_of(*PRODUCT))
    law(values(LEAST - 1))
    assert own.rows == [LEAST - 1]


def test_where_a_number_is_not_finite_the_file_says_how():
    law, own = sparing(graph_of(*PRODUCT))
    law(values())
    given = values()
    given["x"][5, 1], given["z"][5, 1] = 1e3, 1e3
    before = len(own.rows)
    assert torch.isposinf(law(given)["y"][5, 1])
    assert own.rows[before:] == [1]


def test_a_row_that_is_not_finite_changes_no_other():
    weight = np.arange(9).reshape(3, 3).astype(np.float32)
    graph = graph_of(
        ("Exp", "x", "e", {}),
        ("Gemm", "e w", "g", {}),
        ("Mul", "g z", "y", {}),
        w=weight,
    )
    law, _ = sparing(graph)

    def slopes(given):
        x = given["x"].clone().requires_grad_()
        y = law({**given, "x": x})["y"]
        return y.detach(), torch.autograd.grad(y.sum(), x)[0]

    given = values()
    y, slope = slopes(given)
    given["x"][5] = 1e3
    with_one, slope_with_one = slopes(given)
    others = torch.arange(LEAST) != 5
    assert torch.equal(with_one[others], y[others])
    assert torch.equal(slope_with_one[others], slope[others])
    assert not with_one[5].isfinite().any()


def test_a_zero_weight_that_meets_an_infinity_is_left_to_the_file():
    """0 · ∞ = NaN in the second column of the file; the other columns are finite."""
    weight = np.diag([1.0, 1.0, 1.0]).astype(np.float32)
    graph = graph_of(("Exp", "x", "e", {}), ("Gemm", "e w", "y", {}), w=weight)
    law, _ = sparing(graph)
    law(values())
    given = values()
    given["x"][7, 0] = 1e3
    (theirs,) = graph(*given.values())
    torch.testing.assert_close(law(given)["y"], theirs, equal_nan=True)


def test_a_program_that_does_not_agree_is_not_used():
    graph = graph_of(*PRODUCT)
    law, own = sparing(graph, lambda v: {"y": 1.1 * calling(graph)(v)["y"]})
    given = values()
    first, second = law(given), law(given)
    assert torch.equal(first["y"], second["y"])
    assert own.rows[-2:] == [LEAST, LEAST]


def test_derivatives_that_do_not_agree_are_noticed():
    graph = graph_of(*PRODUCT)

    def doubled(v):
        y = calling(graph)(v)["y"]
        return {"y": 2 * y - y.detach()}

    law, own = sparing(graph, doubled)
    given = values()
    for _ in range(2):
        law(given)
    assert own.rows[-2:] == [LEAST, LEAST]


def test_derivatives_are_those_of_the_file():
    law, _ = sparing(graph_of(*PRODUCT))
    given = values()
    x = given["x"].requires_grad_()
    (found,) = torch.autograd.grad(law(given)["y"].sum(), x)
    expected = given["z"] * (x * given["z"]).exp()
    torch.testing.assert_close(found, expected.detach())


def test_a_transform_of_torch_is_left_to_the_file():
    law, own = sparing(graph_of(*PRODUCT))
    given = values()
    law(given)
    x = given["x"].expand(2, -1, -1)
    found = torch.func.vmap(lambda v: law({"x": v, "z": given["z"]})["y"])(x)
    assert torch.equal(found[1], (given["x"] * given["z"]).exp())
    assert own.rows[-1] == LEAST


def test_a_graph_that_is_not_followed_is_run_as_it_is():
    mean = ("ReduceMean", "x rows", "m", {}), ("Add", "z m", "y", {})
    law, own = sparing(graph_of(*mean, rows=np.array([0], np.int64)))
    given = values()
    found = [law(given)["y"] for _ in range(2)]
    torch.testing.assert_close(found[0], given["z"] + given["x"].mean(0))
    assert own.rows == [LEAST, LEAST]


@pytest.mark.parametrize("c", [1.0, 0.3])
def test_a_clip_and_its_derivatives(c):
    """v / (c + k |v|) has the slope c / (c + k |v|)²; the second one is tried too."""
    k, v = 0.7, torch.linspace(-3, 3, 20, dtype=torch.float64).requires_grad_()
    y = clips.clip(k, c, v)
    torch.testing.assert_close(y, v / (c + k * v.abs()))
    (slope,) = torch.autograd.grad(y.sum(), v)
    torch.testing.assert_close(slope, c / (c + k * v.detach().abs()) ** 2)
    assert torch.autograd.gradcheck(lambda t: clips.clip(k, c, t), v)
    assert torch.autograd.gradgradcheck(lambda t: clips.clip(k, c, t), v)


def spline_parts(last="Sub"):
    """Knots as splines have them: shares of a clipped v, behind a zero, scaled."""
    return (
        ("Mul", "x two", "a", {}),
        ("Abs", "a", "b", {}),
        ("Add", "b one", "d", {}),
        ("Div", "x d", "v", {}),
        ("Softmax", "v", "s", {"axis": -1}),
        ("Pad", "s pads", "p", {}),
        ("CumSum", "p axis", "k", {}),
        ("Mul", "k ten", "m", {}),
        (last, "m five", "y", {}),
    )


SPLINE = {
    "two": np.float32(2),
    "one": np.float32(1),
    "ten": np.float32(10),
    "five": np.float32(5),
    "pads": np.array([0, 1, 0, 0], np.int64),
    "axis": np.int64(1),
}


@pytest.mark.parametrize("last", ["Sub", "Add", "Div"])
def test_knots_of_a_spline(last):
    graph = graph_of(*spline_parts(last), **SPLINE)
    law, _ = sparing(graph)
    given = values()
    x = given["x"].requires_grad_()
    y = law(given)["y"]
    shares = (x / (1 + 2 * x.abs())).softmax(-1).cumsum(-1)
    shares = torch.cat([torch.zeros(LEAST, 1), shares], dim=-1) * 10
    expected = {"Sub": shares - 5, "Add": shares + 5, "Div": shares / 5}[last]
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    weight = torch.arange(4.0)
    (ours,) = torch.autograd.grad((y * weight).sum(), x)
    (theirs,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    calls = [getattr(c.run, "func", c.run) for c in law._program.calls]
    assert clips.clip in calls
    assert sums.running in calls


def test_a_running_sum_of_what_may_be_infinite_stays_one():
    """A product would make NaN of what comes before an infinity."""
    graph = graph_of(
        ("Exp", "x", "e", {}),
        ("CumSum", "e axis", "s", {}),
        ("Min", "s z", "y", {}),
        axis=np.int64(1),
    )
    law, _ = sparing(graph)
    law(values())
    calls = [getattr(c.run, "func", c.run) for c in law._program.calls]
    assert sums.running not in calls
    given = values()
    given["x"][3, 2] = 1e3
    expected = torch.minimum(given["x"].exp().cumsum(-1), given["z"])
    torch.testing.assert_close(law(given)["y"], expected)


def test_threads_wait_for_the_program():
    """Else the first of them would round as the file does, and the next as ours."""
    law, own = sparing(graph_of(*PRODUCT))
    given = values()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: law(given)["y"], range(8)))
    assert all(torch.equal(y, found[0]) for y in found)
    assert max(own.rows) < LEAST
