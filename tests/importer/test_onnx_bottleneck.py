"""Cutting a graph: where, what for, and that both parts make the whole.

Cuts and counts of the small graphs are worked out by hand. Composed parts are held
against the eager module where there is one, and against the uncut graph elsewhere.
"""

import itertools
import time

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_flows import Case, LogDensity, apart, inputs
from torch import nn

from audit.ground.errors import InputError, ModelError
from audit.importer import load_graph
from audit.importer.bottleneck import find_bottleneck
from audit.importer.candidates import cost
from audit.importer.flops import multiply_adds
from audit.importer.mincut import narrowest
from audit.importer.program import Node

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
RANDOM = np.random.default_rng(0)


def node(op, reads, makes, **attributes):
    return helper.make_node(op, reads.split(), makes.split(), **attributes)


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def weight(*shape):
    return (RANDOM.standard_normal(shape) / 2).astype(np.float32)


def model(nodes, constants=None, outputs="y", x=("n", 4), theta=("n", 3), more=()):
    initializers = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in (constants or {}).items()
    ]
    declared = [value("x", x), value("theta", theta), *more]
    wanted = [value(name, None) for name in outputs.split()]
    graph = helper.make_graph(nodes, "test", declared, wanted, initializers)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def rows_of(graph, rows, seed=1):
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for info in graph.inputs:
        shape = [size if isinstance(size, int) else rows for size in info.shape]
        found[info.name] = torch.randn(shape, generator=generator)
    return found


def cut_of(proto, draws=100, rows=3, outputs=None, example=None, others=("theta",)):
    graph = load_graph(proto)
    example = example or rows_of(graph, rows)
    wanted = outputs or graph.output_names
    return graph, find_bottleneck(graph, "x", others, wanted, example, draws)


def run(graph, values):
    return graph(*[values[name] for name in graph.input_names])


def check_parts(graph, cut, rows=(1, 2, 5), draws=4, tolerance=1e-11, wanted=None):
    """The parts at N and N·S rows against the whole at N·S, in float64."""
    wanted = wanted or graph.output_names
    whole = graph.with_outputs(wanted).to(torch.float64)
    before, after = (part.to(torch.float64) for part in (cut.before, cut.after))
    assert cut.before.output_names == cut.tensors
    assert cut.after.output_names == tuple(wanted)
    assert set(cut.before.input_names).isdisjoint({"theta"})
    assert "x" in cut.tensors or "x" not in cut.after.input_names
    for count in rows:
        values = rows_of(graph, count * draws, seed=count)
        values = {name: v.double() for name, v in values.items()}
        x = values["x"][:count].clone().requires_grad_()
        once = {name: v[::draws] for name, v in values.items() if name != "theta"}
        h = run(before, once | {"x": x})
        for tensor, shape in zip(h, cut.shapes, strict=True):
            assert tensor.shape == (count, *shape)
        held = {n: v.repeat_interleave(draws, 0) for n, v in once.items()}
        flat = {"x": x.repeat_interleave(draws, 0), "theta": values["theta"]}
        leaves = [t.detach().requires_grad_() for t in h]
        spread = [leaf.repeat_interleave(draws, 0) for leaf in leaves]
        cut_here = dict(zip(cut.tensors, spread, strict=True))
        parts = run(after, held | flat | cut_here)
        expected = run(whole, held | flat)
        for a, b in zip(parts, expected, strict=True):
            assert a.shape == b.shape
            assert apart(a, b) <= tolerance
        check_chain(x, h, leaves, parts, expected, tolerance)


def check_chain(x, h, leaves, parts, expected, tolerance):
    """∂/∂x of all outputs in one direction: through the cut, and through the whole."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(a.shape, generator=generator) for a in expected]
    total = sum((w * a).sum() for w, a in zip(weights, expected, strict=True))
    (direct,) = torch.autograd.grad(total, x, retain_graph=True)
    total = sum((w * a).sum() for w, a in zip(weights, parts, strict=True))
    slopes = torch.autograd.grad(total, leaves, allow_unused=True)
    pairs = [(t, g) for t, g in zip(h, slopes, strict=True) if g is not None]
    (chained,) = torch.autograd.grad([t for t, _ in pairs], x, [g for _, g in pairs])
    assert direct.abs().max() > 0
    assert apart(chained, direct) <= 10 * tolerance


# --- hand-made graphs with a known answer ---------------------------------------------

EMBEDDING = [
    node("MatMul", "x w1", "a"),
    node("Tanh", "a", "b"),
    node("MatMul", "b w2", "h"),
]
HEAD = [
    node("Concat", "h theta", "c", axis=1),
    node("MatMul", "c w3", "d"),
    node("ReduceSum", "d one", "y", keepdims=0),
]
WEIGHTS = {
    "w1": weight(4, 8),
    "w2": weight(8, 2),
    "w3": weight(5, 6),
    "one": np.array([1]),
}


def test_the_cut_and_the_counts_of_a_small_network():
    graph, cut = cut_of(model(EMBEDDING + HEAD, WEIGHTS))
    assert cut.tensors == ("h",)
    assert cut.shapes == ((2,),)
    assert cut.width == 2
    assert cut.flops_before == 4 * 8 + 8 + 8 * 2
    assert cut.flops_after == 5 + 5 * 6 + 6
    assert cut.before.input_names == ("x",)
    assert cut.after.input_names == ("h", "theta")
    check_parts(graph, cut)


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_the_same_cut_from_any_example(rows):
    proto = model(EMBEDDING + HEAD, WEIGHTS)
    example = rows_of(load_graph(proto), rows, seed=rows)
    _, cut = cut_of(proto, example=example)
    assert cut.tensors == ("h",)


def test_cost():
    assert cost(1000, 10, 4, 100) == 1000 * 9 + 3 * 100 * 10 + 400
    assert cost(1000, 10, 400, 100) == 1000 * 201 + 3 * 100 * 10 + 40_000


def test_a_single_draw_is_not_worth_a_cut():
    assert cut_of(model(EMBEDDING + HEAD, WEIGHTS), draws=1)[1] is None


def test_none_when_theta_enters_at_the_first_node():
    nodes = [
        node("Concat", "x theta", "a", axis=1),
        node("MatMul", "a w", "b"),
        node("Tanh", "b", "y"),
    ]
    assert cut_of(model(nodes, {"w": weight(7, 5)}))[1] is None


def test_none_when_the_outputs_do_not_depend_on_x():
    nodes = [node("Shape", "x", "s"), node("Tanh", "theta", "y")]
    assert cut_of(model(nodes))[1] is None
    nodes = [node("Shape", "x", "s"), node("Reshape", "theta s", "y")]
    assert cut_of(model(nodes, theta=("n", 4)))[1] is None


def test_none_for_a_file_of_one_row():
    nodes = [
        node("MatMul", "x w1", "a"),
        node("Reshape", "a eight", "b"),
        node("MatMul", "b w2", "h"),
        node("Concat", "h t", "c", axis=0),
        node("ReduceSum", "c", "y"),
    ]
    nodes.insert(3, node("Reshape", "theta three", "t"))
    more = {"eight": np.array([8]), "three": np.array([3])}
    assert cut_of(model(nodes, WEIGHTS | more))[1] is None


def test_a_skip_connection_takes_x_along():
    nodes = [*EMBEDDING, node("Concat", "h theta x", "c", axis=1)]
    nodes += [node("MatMul", "c w3", "y")]
    constants = WEIGHTS | {"w1": weight(4, 80), "w2": weight(80, 2), "w3": weight(9, 6)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("x", "h")
    assert cut.width == 6
    assert cut.after.input_names == ("x", "h", "theta")
    check_parts(graph, cut)


def test_a_skip_connection_of_a_mean_is_narrow():
    nodes = [
        *EMBEDDING,
        node("ReduceMean", "x", "m", axes=[1], keepdims=1),
        node("Concat", "h theta m", "c", axis=1),
        node("MatMul", "c w3", "y"),
    ]
    graph, cut = cut_of(model(nodes, WEIGHTS | {"w3": weight(6, 6)}))
    assert cut.tensors == ("h", "m")
    assert cut.flops_before == 32 + 8 + 16 + 4
    check_parts(graph, cut)


def test_a_narrow_tensor_is_preferred_to_a_wide_frontier():
    """Ten layers that read the context apart: each is 50 wide, the context 2."""
    nodes = list(EMBEDDING)
    last = "t0"
    nodes += [node("MatMul", "theta w3", "t0")]
    for i in range(10):
        nodes += [
            node("MatMul", "h v", f"g{i}"),
            node("Add", f"{last} g{i}", f"s{i}"),
            node("Tanh", f"s{i}", f"t{i + 1}"),
        ]
        last = f"t{i + 1}"
    nodes += [node("Identity", last, "y")]
    constants = WEIGHTS | {"w3": weight(3, 50), "v": weight(2, 50)}
    constants |= {"w1": weight(4, 300), "w2": weight(300, 2)}
    graph, cut = cut_of(model(nodes, constants), draws=50)
    assert cut.tensors == ("h",)
    assert cut.flops_before == 4 * 300 + 300 + 600
    check_parts(graph, cut)


def test_a_later_cut_when_x_is_narrower_than_the_embedding():
    """x has 4 numbers, h has 40: the narrowest place is x, which saves nothing."""
    constants = WEIGHTS | {"w1": weight(4, 400), "w2": weight(400, 40)}
    constants |= {"w3": weight(43, 6)}
    graph, cut = cut_of(model(EMBEDDING + HEAD, constants))
    assert cut.tensors == ("h",)
    check_parts(graph, cut)


def test_a_cut_in_the_middle_is_found():
    """2 numbers early, 400 at the end; 20 in the middle, behind most of the work."""
    nodes = [
        node("MatMul", "x w1", "early"),
        node("MatMul", "early w2", "a"),
        node("Tanh", "a", "b"),
        node("MatMul", "b w3", "h"),
        *[node("Mul", f"h k{i}", f"g{i}") for i in range(20)],
        node("Concat", "theta " + " ".join(f"g{i}" for i in range(20)), "c", axis=1),
        node("ReduceSum", "c one", "y", keepdims=0),
    ]
    constants = {f"k{i}": weight(20) for i in range(20)} | {"one": np.array([1])}
    constants |= {"w1": weight(4, 2), "w2": weight(2, 900), "w3": weight(900, 20)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("h",)
    assert cut.flops_before == 4 * 2 + 2 * 900 + 900 + 900 * 20
    check_parts(graph, cut)


def test_two_embeddings_one_after_the_other_in_the_file():
    """Both are 2 wide and then 100; the first is 100 wide when the second begins."""
    nodes = []
    for i in "12":
        nodes += [
            node("MatMul", f"x v{i}", f"a{i}"),
            node("Tanh", f"a{i}", f"b{i}"),
            node("MatMul", f"b{i} w{i}", f"h{i}"),
            node("MatMul", f"h{i} wide", f"f{i}"),
        ]
    nodes += [node("Concat", "f1 f2 theta", "c", axis=1)]
    nodes += [node("ReduceSumSquare", "c", "y", axes=[1], keepdims=0)]
    constants = {f"v{i}": weight(4, 600) for i in "12"}
    constants |= {f"w{i}": weight(600, 2) for i in "12"} | {"wide": weight(2, 100)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("h1", "h2")
    assert cut.flops_before == 2 * (4 * 600 + 600 + 600 * 2)
    check_parts(graph, cut)


def test_work_behind_an_integer_is_not_left_to_the_draws():
    """h chooses among the numbers of θ, and goes on through a wide layer to 40."""
    nodes = [
        *EMBEDDING,
        node("ArgMax", "h", "i", axis=1, keepdims=1),
        node("GatherElements", "theta i", "picked", axis=1),
        node("MatMul", "h v1", "e"),
        node("Tanh", "e", "f"),
        node("MatMul", "f v2", "k"),
        node("Add", "k picked", "y"),
    ]
    constants = WEIGHTS | {"v1": weight(2, 500), "v2": weight(500, 40)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("h", "k")
    assert cut.flops_after == 2 + 1 + 40
    check_parts(graph, cut)


def test_two_streams_of_x_are_cut_together():
    nodes = [
        *EMBEDDING[:2],
        node("MatMul", "b w2", "mean"),
        node("MatMul", "b w2b", "raw"),
        node("Exp", "raw", "scale"),
        node("Sub", "theta mean", "r"),
        node("Div", "r scale", "z"),
        node("ReduceSumSquare", "z", "y", axes=[1], keepdims=0),
    ]
    constants = {"w1": weight(4, 8), "w2": weight(8, 3), "w2b": weight(8, 3)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("mean", "scale")
    check_parts(graph, cut)


def test_an_output_of_x_alone_passes_the_cut():
    graph, cut = cut_of(model(EMBEDDING + HEAD, WEIGHTS, outputs="h y b"))
    assert set(cut.tensors) <= {"b", "h"}
    check_parts(graph, cut)
    graph, cut = cut_of(model(EMBEDDING + HEAD, WEIGHTS, outputs="h"))
    assert cut.tensors == ("h",)
    assert cut.flops_after == 0
    check_parts(graph, cut)


def test_outputs_that_are_not_asked_for_do_not_count():
    nodes = EMBEDDING + HEAD + [node("MatMul", "a theta", "other", name="wrong")]
    graph, cut = cut_of(model(nodes, WEIGHTS, outputs="y other"), outputs=["y"])
    assert cut.tensors == ("h",)
    check_parts(graph, cut, wanted=["y"])


# --- shapes of the other side ---------------------------------------------------------


def with_shape(asked, constants=None):
    """The embedding, a part that asks for a shape of it and makes t, and the head."""
    nodes = [*EMBEDDING, *asked, node("Concat", "h t", "c", axis=1), *HEAD[1:]]
    return model(nodes, WEIGHTS | (constants or {}))


@pytest.mark.parametrize("asked", ["x", "a", "b", "h"])
def test_rows_of_x_for_an_expand(asked):
    """θ is expanded to [rows, 3] with the rows taken from a tensor of the embedding."""
    shape = [
        node("Shape", asked, "s"),
        node("Gather", "s zero", "rows"),
        node("Concat", "rows three", "to", axis=0),
        node("Expand", "bias to", "e"),
        node("Add", "theta e", "t"),
    ]
    constants = {"zero": np.array([0]), "three": np.array([3]), "bias": weight(3)}
    graph, cut = cut_of(with_shape(shape, constants))
    assert cut.tensors == ("h",)
    assert cut.after.input_names == ("h", "theta")
    check_parts(graph, cut)


def test_a_fixed_size_of_the_embedding():
    """θ divided by the width 8 of a hidden layer and by its last size alone."""
    shape = [
        node("Shape", "b", "s"),
        node("Gather", "s one", "eight"),
        node("Cast", "eight", "f", to=FLOAT),
        node("Div", "theta f", "t"),
    ]
    graph, cut = cut_of(with_shape(shape))
    assert cut.tensors == ("h",)
    check_parts(graph, cut)
    whole = graph.with_outputs(["t"])
    values = rows_of(graph, 5)
    assert torch.allclose(run(whole, values)[0], values["theta"] / 8)


@pytest.mark.parametrize(
    "span", [{}, {"start": 1}, {"end": 1}, {"start": -1}, {"start": 2}]
)
def test_spans_of_a_shape_and_a_size(span):
    shape = [
        node("Shape", "a", "s", **span),
        node("ReduceProd", "s", "p", keepdims=1),
        node("Size", "b", "q"),
        node("Add", "p q", "r"),
        node("Cast", "r", "f", to=FLOAT),
        node("Div", "theta f", "t"),
    ]
    graph, cut = cut_of(with_shape(shape))
    assert cut.tensors == ("h",)
    check_parts(graph, cut)


def test_a_shape_that_holds_many_rows_for_each():
    """[rows, 8] folded to [2 rows, 4]: its size is asked for on the other side."""
    shape = [
        node("Reshape", "b fold", "u"),
        node("Shape", "u", "s"),
        node("Gather", "s zero", "twice"),
        node("Cast", "twice", "f", to=FLOAT),
        node("Div", "theta f", "t"),
    ]
    constants = {"fold": np.array([-1, 4]), "zero": np.array([0])}
    graph, cut = cut_of(with_shape(shape, constants))
    assert cut.tensors == ("h",)
    check_parts(graph, cut)


def test_rows_of_theta_in_the_part_before():
    nodes = [
        node("Shape", "theta", "s"),
        node("Gather", "s zero", "rows"),
        node("Concat", "rows four", "to", axis=0),
        node("Expand", "bias to", "e"),
        node("Add", "x e", "x1"),
        node("MatMul", "x1 w1", "a"),
        *EMBEDDING[1:],
        *HEAD,
    ]
    constants = {"zero": np.array([0]), "four": np.array([4]), "bias": weight(4)}
    graph, cut = cut_of(model(nodes, WEIGHTS | constants))
    assert cut.tensors == ("h",)
    assert cut.before.input_names == ("x",)
    check_parts(graph, cut)


def test_a_shape_made_of_numbers_is_no_shape():
    """The count of positive numbers in x moves θ: it depends on every row of x."""
    shape = [
        node("Greater", "x nought", "g"),
        node("NonZero", "g", "where"),
        node("Shape", "where", "s"),
        node("Gather", "s one", "count"),
        node("Cast", "count", "f", to=FLOAT),
        node("Add", "theta f", "t"),
    ]
    graph, cut = cut_of(with_shape(shape, {"nought": np.float32(0)}))
    assert cut.tensors == ("x", "h")
    check_parts(graph, cut)


def test_rows_counted_by_another_rule_are_refused():
    """max(rows, 3) looks fixed at two and at three rows; the trial at six tells."""
    shape = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "rows"),
        node("Max", "rows three", "m"),
        node("ReduceMean", "x", "mean"),
        node("Expand", "mean wide", "e"),
        node("Expand", "e to", "e2"),
        node("Concat", "m three", "to", axis=0),
        node("Shape", "e2", "s2"),
        node("Gather", "s2 zero", "big"),
        node("Cast", "big", "f", to=FLOAT),
        node("Div", "theta f", "t"),
    ]
    constants = {
        "zero": np.array([0]),
        "three": np.array([3]),
        "wide": np.array([1, 3]),
    }
    assert cut_of(with_shape(shape, constants))[1] is None


# --- rows, integers, captured tensors -------------------------------------------------


def test_none_when_rows_mix_in_the_embedding():
    nodes = [
        node("ReduceMean", "x", "m", axes=[0], keepdims=1),
        node("Sub", "x m", "centred"),
        node("MatMul", "centred w1", "a"),
        *EMBEDDING[1:],
        *HEAD,
    ]
    assert cut_of(model(nodes, WEIGHTS))[1] is None


def test_none_when_a_row_depends_on_its_place():
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "rows"),
        node("Range", "zero rows unit", "r"),
        node("Cast", "r", "f", to=FLOAT),
        node("Unsqueeze", "f one", "column"),
        node("Add", "x column", "x1"),
        node("MatMul", "x1 w1", "a"),
        *EMBEDDING[1:],
        *HEAD,
    ]
    constants = {"zero": np.array(0), "unit": np.array(1)}
    assert cut_of(model(nodes, WEIGHTS | constants))[1] is None


def test_a_table_looked_up_by_x_is_cut_after_the_look_up():
    nodes = [
        node("ArgMax", "x", "i", axis=1, keepdims=0),
        node("Gather", "table i", "g"),
        node("Tanh", "x", "u"),
        node("ReduceSum", "u one", "v", keepdims=1),
        node("Concat", "g v", "k", axis=1),
        node("MatMul", "k w1", "a"),
        *EMBEDDING[1:],
        *HEAD,
    ]
    constants = WEIGHTS | {"table": weight(4, 3)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("h",)
    check_parts(graph, cut)


def test_an_integer_that_meets_theta_is_cut_before_it():
    """The largest of eight numbers of the embedding picks among those of θ."""
    nodes = [
        *EMBEDDING,
        node("ArgMax", "h", "i", axis=1, keepdims=1),
        node("MatMul", "theta w3", "d"),
        node("GatherElements", "d i", "picked", axis=1),
        node("Add", "picked h", "y"),
    ]
    constants = {"w1": weight(4, 200), "w2": weight(200, 8), "w3": weight(3, 8)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("h",)
    assert cut.flops_after == 8 + 3 * 8 + 1 + 8
    check_parts(graph, cut)


def test_an_integer_of_x_that_meets_theta_takes_x_along():
    nodes = [
        *EMBEDDING,
        node("ArgMax", "x", "i", axis=1, keepdims=1),
        node("MatMul", "theta w3", "d"),
        node("GatherElements", "d i", "picked", axis=1),
        node("Add", "picked h", "y"),
    ]
    constants = {"w1": weight(4, 200), "w2": weight(200, 8), "w3": weight(3, 8)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("x", "h")
    check_parts(graph, cut)


def body(nodes, outputs, takes=()):
    outs = [value(name, None, kind) for name, kind in outputs]
    return helper.make_graph(nodes, "body", list(takes), outs)


def test_an_if_that_captures_the_embedding():
    """The branch is chosen by θ; both branches read h, one of them b too."""
    then = body([node("Add", "h h", "h2"), node("Tanh", "h2", "p")], [("p", FLOAT)])
    other = body([node("MatMul", "b w2", "q")], [("q", FLOAT)])
    nodes = [
        *EMBEDDING,
        node("ReduceSum", "theta", "total", keepdims=0),
        node("Less", "total nought", "choice"),
        node("If", "choice", "k", then_branch=then, else_branch=other),
        node("Concat", "k theta", "c", axis=1),
        *HEAD[1:],
    ]
    wide = WEIGHTS | {"nought": np.float32(0), "w0": weight(4, 400)}
    wide |= {"w1": weight(400, 8)}
    nodes = [node("MatMul", "x w0", "x0"), node("MatMul", "x0 w1", "a"), *nodes[1:]]
    graph, cut = cut_of(model(nodes, wide))
    assert cut.tensors in (("b",), ("b", "h"))
    check_parts(graph, cut)


def test_a_loop_that_captures_the_embedding():
    """θ goes three times through t -> tanh(t + h k)."""
    inner = [
        node("MatMul", "h k", "u"),
        node("Add", "t u", "v"),
        node("Tanh", "v", "t2"),
        node("Identity", "go", "on"),
    ]
    takes = [value("i", [], INT64), value("go", [], BOOL), value("t", ("n", 3))]
    loop = body(inner, [("on", BOOL), ("t2", FLOAT)], takes)
    nodes = [
        *EMBEDDING,
        node("Loop", "three yes theta", "end", body=loop),
        node("ReduceSum", "end one", "y", keepdims=0),
    ]
    constants = WEIGHTS | {"three": np.array(3), "yes": np.array(True)}
    constants |= {"k": weight(2, 3), "w1": weight(4, 200), "w2": weight(200, 2)}
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("h",)
    check_parts(graph, cut)


def test_held_inputs_are_there_on_both_sides():
    nodes = [
        node("Add", "x held", "x1"),
        node("MatMul", "x1 w1", "a"),
        *EMBEDDING[1:],
        node("Concat", "h theta held", "c", axis=1),
        node("MatMul", "c w3", "y"),
    ]
    more = [value("held", ("n", 4)), value("spare", ("n", 4))]
    proto = model(nodes, WEIGHTS | {"w3": weight(9, 6)}, more=more)
    graph, cut = cut_of(proto)
    assert cut.tensors == ("h",)
    assert cut.before.input_names == ("x", "held")
    assert cut.after.input_names == ("h", "theta", "held")
    check_parts(graph, cut)


def test_a_masked_softmax_stays_guarded_when_the_cut_is_behind_it():
    """A fully masked softmax is NaN; the Where that drops it must not hand NaN back."""
    nodes = [
        node("MatMul", "x w1", "a"),
        node("Add", "a mask", "scores"),
        node("Softmax", "scores", "p", axis=-1),
        node("ReduceSum", "theta one", "t", keepdims=1),
        node("Less", "t far", "never"),
        node("Where", "never p nought", "q"),
        node("Tanh", "a", "b"),
        node("Add", "b q", "k"),
        node("Mul", "k t", "y"),
    ]
    constants = {
        "w1": weight(4, 8),
        "one": np.array([1]),
        "mask": np.full(8, -np.inf, np.float32),
        "far": np.float32(-1e9),
        "nought": np.float32(0),
    }
    graph, cut = cut_of(model(nodes, constants))
    assert cut.tensors == ("p", "b")
    check_parts(graph, cut)


@pytest.mark.parametrize(
    ("condition", "others"), [("nobody", ["theta"]), ("x", ["nobody"])]
)
def test_unknown_inputs(condition, others):
    graph = load_graph(model(EMBEDDING + HEAD, WEIGHTS))
    with pytest.raises(InputError, match="nobody"):
        find_bottleneck(graph, condition, others, ["y"], rows_of(graph, 3), 10)


def test_unknown_outputs_and_an_example_without_rows():
    graph = load_graph(model(EMBEDDING + HEAD, WEIGHTS))
    with pytest.raises(ModelError, match="nobody"):
        find_bottleneck(graph, "x", ["theta"], ["nobody"], rows_of(graph, 3), 10)
    bad = rows_of(graph, 3) | {"x": torch.zeros(())}
    with pytest.raises(InputError, match="no rows"):
        find_bottleneck(graph, "x", ["theta"], ["y"], bad, 10)


# --- counts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "shapes", "expected"),
    [
        (node("Gemm", "a b c", "y"), [(2, 5), (5, 7), (7,), (2, 7)], 2 * 7 * 5),
        (node("Gemm", "a b", "y", transA=1), [(5, 2), (5, 7), (2, 7)], 2 * 7 * 5),
        (node("MatMul", "a b", "y"), [(3, 2, 5), (5, 7), (3, 2, 7)], 3 * 2 * 7 * 5),
        (node("MatMul", "a b", "y"), [(5,), (5, 7), (7,)], 35),
        (
            node("Conv", "a b", "y", group=2),
            [(1, 4, 8, 8), (6, 2, 3, 3), (1, 6, 6, 6)],
            6 * 36 * 2 * 9,
        ),
        (
            node("ConvTranspose", "a b", "y"),
            [(1, 4, 8, 8), (4, 6, 3, 3), (1, 6, 10, 10)],
            4 * 64 * 6 * 9,
        ),
        (
            node("LSTM", "a b c", "y"),
            [(10, 2, 3), (1, 16, 3), (1, 16, 4), (10, 1, 2, 4)],
            10 * 2 * 16 * 7,
        ),
        (
            node("Einsum", "a b", "y", equation="bij, bjk -> bik"),
            [(2, 3, 4), (2, 4, 5), (2, 3, 5)],
            2 * 3 * 4 * 5,
        ),
        (
            node("Einsum", "a b", "y", equation="...j,kj->...k"),
            [(2, 3, 4), (5, 4), (2, 3, 5)],
            2 * 3 * 4 * 5,
        ),
        (node("Tanh", "a", "y"), [(2, 3), (2, 3)], 6),
        (node("ReduceSum", "a", "y"), [(2, 3), (2,)], 6),
        (node("Reshape", "a b", "y"), [(2, 3), (1,), (6,)], 0),
    ],
)
def test_multiply_adds(call, shapes, expected):
    attributes = {a.name: helper.get_attribute_value(a) for a in call.attribute}
    attributes = {
        k: v.decode() if type(v) is bytes else v for k, v in attributes.items()
    }
    made = Node(call.op_type, tuple(call.input), tuple(call.output), attributes)
    known = dict(zip([*call.input, *call.output], shapes, strict=True))
    assert multiply_adds(made, known) == expected


def test_a_convolution_network_counts_as_it_should():
    """[n, 1, 8, 8] -> 4 channels of 6x6 -> max of 3x3 -> 16 numbers -> 2."""
    nodes = [
        node("Conv", "x k", "a"),
        node("Relu", "a", "b"),
        node("MaxPool", "b", "m", kernel_shape=[3, 3], strides=[3, 3]),
        node("Flatten", "m", "f"),
        node("MatMul", "f w", "h"),
        *HEAD,
    ]
    constants = WEIGHTS | {"k": weight(4, 1, 3, 3), "w": weight(16, 2)}
    graph, cut = cut_of(model(nodes, constants, x=("n", 1, 8, 8)))
    assert cut.tensors == ("h",)
    assert cut.flops_before == 144 * 9 + 144 + 144 + 16 * 2
    check_parts(graph, cut)


def test_work_that_no_row_adds_to_is_free():
    """A weight made of weights on the way is there once, for any number of rows."""
    nodes = [node("Shape", "x", "s"), node("Gather", "s one", "four")]
    nodes += [node("Cast", "four", "f", to=FLOAT), node("Div", "w0 f", "w1")]
    _, cut = cut_of(model(nodes + EMBEDDING + HEAD, _renamed(WEIGHTS)))
    assert cut.flops_before == 4 * 8 + 8 + 8 * 2


def _renamed(constants):
    constants = dict(constants)
    return {"w0": constants.pop("w1")} | constants


# --- the narrowest cut ----------------------------------------------------------------


@st.composite
def networks(draw):
    size = draw(st.integers(2, 7))
    pairs = list(itertools.combinations(range(size), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=14))
    widths = draw(st.lists(st.none() | st.integers(1, 9), min_size=size, max_size=size))
    sinks = draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True))
    return edges, widths, sinks


def separated(edges, sinks, cut):
    reached, queue = set(), [0]
    for vertex in queue:
        if vertex in cut or vertex in reached:
            continue
        reached.add(vertex)
        queue += [b for a, b in edges if a == vertex]
    return reached.isdisjoint(sinks)


@given(networks())
def test_the_narrowest_cut_is_the_narrowest_of_all(network):
    edges, widths, sinks = network
    free = [v for v, width in enumerate(widths) if width is not None]
    cuts = [
        cut
        for count in range(len(free) + 1)
        for cut in itertools.combinations(free, count)
        if separated(edges, sinks, cut)
    ]
    found = narrowest(edges, widths, 0, sinks)
    if not cuts:
        assert found is None
        return
    assert separated(edges, sinks, found)
    assert sum(widths[v] for v in found) == min(sum(widths[v] for v in c) for c in cuts)


def test_the_cut_nearest_to_the_sinks():
    chain = [(i, i + 1) for i in range(5)]
    assert narrowest(chain, [3, 2, 2, 5, 2, 4], 0, [5]) == [4]


# --- size and time --------------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_nodes_in_a_chain():
    nodes = [node("Tanh", f"t{i}" if i else "x", f"t{i + 1}") for i in range(10_000)]
    nodes += [node("MatMul", "t10000 w", "h"), node("Add", "h theta", "y")]
    graph = load_graph(model(nodes, {"w": weight(4, 3)}))
    start = time.perf_counter()
    cut = find_bottleneck(graph, "x", ["theta"], ["y"], rows_of(graph, 3), 100)
    assert time.perf_counter() - start < 60
    assert cut.tensors == ("h",)


@pytest.mark.slow
def test_ten_thousand_nodes_side_by_side():
    """x splits into 2,500 branches that all meet θ: no cut but a wide one."""
    nodes, sums = [], []
    for i in range(2500):
        nodes += [
            node("Tanh", "x", f"a{i}", name=f"a{i}"),
            node("Mul", f"a{i} k{i}", f"b{i}"),
            node("Mul", f"b{i} theta", f"c{i}"),
        ]
        sums.append(f"c{i}")
    nodes += [node("Sum", " ".join(sums), "y")]
    constants = {f"k{i}": np.float32(i) for i in range(2500)}
    graph = load_graph(model(nodes, constants, theta=("n", 4)))
    start = time.perf_counter()
    find_bottleneck(graph, "x", ["theta"], ["y"], rows_of(graph, 3), 100)
    assert time.perf_counter() - start < 60


# --- random graphs --------------------------------------------------------------------


@st.composite
def graphs(draw):
    """A DAG of [n, 4] tensors: sums, products, tanh, weights, slices, shapes."""
    names = ["x", "theta"]
    nodes, constants = [], {"first": np.array([0]), "four": np.array([4])}
    for i in range(draw(st.integers(2, 14))):
        kind = draw(st.sampled_from(["Add", "Mul", "Tanh", "MatMul", "Low", "Expand"]))
        a, b = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        if kind in ("Add", "Mul"):
            nodes.append(node(kind, f"{a} {b}", f"v{i}"))
        elif kind == "Tanh":
            nodes.append(node(kind, a, f"v{i}"))
        elif kind == "MatMul":
            constants[f"w{i}"] = weight(4, 4)
            nodes.append(node(kind, f"{a} w{i}", f"v{i}"))
        elif kind == "Low":
            constants |= {f"p{i}": weight(4, 1), f"q{i}": weight(1, 4)}
            nodes.append(node("MatMul", f"{a} p{i}", f"low{i}"))
            nodes.append(node("MatMul", f"low{i} q{i}", f"v{i}"))
        else:
            constants[f"c{i}"] = weight(4)
            nodes += [
                node("Shape", a, f"s{i}"),
                node("Expand", f"c{i} s{i}", f"e{i}"),
                node("Sub", f"e{i} {b}", f"v{i}"),
            ]
        names.append(f"v{i}")
    outputs = draw(st.lists(st.sampled_from(names[2:]), min_size=1, max_size=2))
    outputs = list(dict.fromkeys([names[-1], *outputs]))
    nodes += [node("Tanh", name, f"out{i}") for i, name in enumerate(outputs)]
    wanted = " ".join(f"out{i}" for i in range(len(outputs)))
    return model(nodes, constants, outputs=wanted, theta=("n", 4))


@settings(max_examples=150, deadline=None)
@given(graphs(), st.sampled_from([3, 30, 1000]))
def test_parts_of_a_random_graph_make_the_whole(proto, draws):
    graph, cut = cut_of(proto, draws)
    event("cut" if cut else "whole")
    if cut is None:
        return
    width = sum(int(np.prod(shape)) for shape in cut.shapes)
    assert cut.width == width
    values = rows_of(graph, 6)
    h = run(cut.before, {"x": values["x"][::2]})
    h = dict(zip(cut.tensors, (t.repeat_interleave(2, 0) for t in h), strict=True))
    whole = values | {"x": values["x"][::2].repeat_interleave(2, 0)}
    for a, b in zip(run(cut.after, values | h), run(graph, whole), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    check_gradient(graph, cut)


def check_gradient(graph, cut):
    values = {name: v.double() for name, v in rows_of(graph, 3).items()}
    x = values["x"].requires_grad_()
    whole = sum(y.sum() for y in run(graph.to(torch.float64), values))
    h = run(cut.before.to(torch.float64), values)
    h = dict(zip(cut.tensors, h, strict=True))
    parts = sum(y.sum() for y in run(cut.after.to(torch.float64), values | h))
    (direct,) = torch.autograd.grad(whole, x)
    (chained,) = torch.autograd.grad(parts, x)
    assert torch.allclose(direct, chained, rtol=1e-9, atol=1e-12)


# --- networks and flows as torch exports them -----------------------------------------


class Embedded(nn.Module):
    """An embedding of 5 numbers in 3, and a small network of [h, θ]."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Sequential(
            nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 3)
        )
        self.head = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, x, theta):
        return self.head(torch.cat([self.embedding(x), theta], 1))


class Recurrent(nn.Module):
    """The last state of a GRU over 5 steps, and a small network of it and θ."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cells = nn.GRU(1, 16, batch_first=True)
        self.last = nn.Linear(16, 3)
        self.head = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, x, theta):
        h = self.last(self.cells(x.unsqueeze(2))[0][:, -1])
        return self.head(torch.cat([h, theta], 1))


class EmbeddedFlow(nn.Module):
    """log q(θ | x) of a flow of zuko whose context is an embedding of x."""

    def __init__(self, kind):
        super().__init__()
        import zuko

        torch.manual_seed(0)
        self.embedding = nn.Sequential(
            nn.Linear(5, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, 4),
        )
        self.flow = getattr(zuko.flows, kind)(
            3, 4, transforms=2, hidden_features=[16, 16]
        )

    def forward(self, x, theta):
        return self.flow(self.embedding(x)).log_prob(theta)


MAKERS = {
    "network": Embedded,
    "GRU": Recurrent,
    "MAF": lambda: EmbeddedFlow("MAF"),
    "NSF": lambda: EmbeddedFlow("NSF"),
}


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "dynamo",
    [
        pytest.param(False, id="legacy"),
        pytest.param(True, id="dynamo", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", MAKERS)
def test_an_exported_model_with_an_embedding(name, dynamo, tmp_path):
    path = tmp_path / "model.onnx"
    module = Case(name, lambda: MAKERS[name]().eval(), dynamo).export(path)
    graph = load_graph(path)
    x, theta = inputs(3)
    example = {"x": x, "theta": theta}
    cut = find_bottleneck(graph, "x", ["theta"], graph.output_names, example, 64)
    width = {"network": 3, "GRU": 3}.get(name, 4)
    weights = {
        "network": 5 * 64 + 64 * 64 + 64 * 3,
        "GRU": 5 * (3 * 16 * 1 + 3 * 16 * 16) + 16 * 3,
    }
    assert cut.shapes == ((width,),)
    assert cut.before.input_names == ("x",)
    assert cut.after.input_names == (*cut.tensors, "theta")
    least = weights.get(name, 5 * 128 + 128 * 128 + 128 * 4)
    assert least <= cut.flops_before <= 1.1 * least
    for rows in (1, 5):
        check_against_eager(module, graph, cut, rows)


def check_against_eager(module, graph, cut, rows, draws=6):
    """Four rows with six draws each, values and both Jacobians."""
    x, _ = inputs(rows)
    _, theta = inputs(rows * draws)

    def parts(x, theta):
        h = cut.before(x)
        assert len(h[0]) == rows
        spread = [t.repeat_interleave(draws, 0) for t in h]
        return cut.after(*spread, theta)[0]

    def eager(x, theta):
        return module(x.repeat_interleave(draws, 0), theta)

    def whole(x, theta):
        return graph(x.repeat_interleave(draws, 0), theta)[0]

    assert apart(parts(x, theta), eager(x, theta)) < 1e-5
    weights = torch.randn(rows * draws, generator=torch.Generator().manual_seed(0))

    def summed(function):
        def call(x, theta):
            values = function(x, theta).reshape(rows * draws, -1).sum(1) * weights
            return values.reshape(rows, draws).sum(1)

        return call

    for function in (eager, whole):
        expected = gradient(summed(function), x, theta)
        assert apart(gradient(summed(parts), x, theta), expected) < 2e-5


def gradient(function, x, theta):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x, theta).sum(), x)[0]


def test_a_flow_with_the_context_given_is_not_cut(tmp_path):
    """Without an embedding there is nothing before θ comes in."""
    from onnx_flows import zuko_flow

    path = tmp_path / "model.onnx"
    Case("MAF", lambda: LogDensity(zuko_flow("MAF")), False).export(path)
    graph = load_graph(path)
    x, theta = inputs(3)
    example = {"x": x, "theta": theta}
    assert (
        find_bottleneck(graph, "x", ["theta"], graph.output_names, example, 64) is None
    )
