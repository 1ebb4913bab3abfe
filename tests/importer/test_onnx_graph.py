"""The loaded graph: its face, its paths, its cuts, and what it refuses."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.func import jacrev

from audit.ground.errors import InputError, ModelError, UnsupportedOperator
from audit.importer import limits, load_graph

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name, kind=FLOAT, shape=("n", 3)):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs=None, outputs=None, constants=None, opset=17, **more):
    """A ModelProto of text-like pieces; y = f(x) by default."""
    initializers = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in (constants or {}).items()
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        inputs or [value("x")],
        outputs or [value("y", shape=None)],
        initializers,
    )
    imports = more.pop("imports", [helper.make_opsetid("", opset)])
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **more)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


# --- face -----------------------------------------------------------------------------


def test_face():
    proto = model([node("Tanh", ["x"], ["y"])], opset=13)
    helper.set_model_props(proto, {"robaudit": "family: normal"})
    graph = load_graph(proto)
    assert graph.input_names == ("x",)
    assert graph.output_names == ("y",)
    assert graph.opset == 13
    assert graph.metadata == {"robaudit": "family: normal"}
    (info,) = graph.inputs
    assert (info.dtype, info.shape) == (torch.float32, ("n", 3))
    assert graph.outputs[0].shape is None
    assert "Graph(['x'] -> ['y']" in repr(graph)
    assert torch.equal(graph(X)[0], X.tanh())


def test_float64_reaches_weights_constants_and_casts():
    nodes = [
        node("Constant", [], ["c"], value_float=0.5),
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Cast", ["h"], ["f"], to=FLOAT),
        node("Shape", ["x"], ["s"]),
        node("ConstantOfShape", ["s"], ["o"]),
        node("Mul", ["f", "w"], ["m"]),
        node("Add", ["m", "o"], ["p"]),
        node("Add", ["p", "c"], ["y"]),
    ]
    graph = load_graph(model(nodes, constants={"w": np.float32(3)}), torch.float64)
    (y,) = graph(X.double())
    assert y.dtype is torch.float64
    assert torch.allclose(y, X.double() * 3 + 0.5, rtol=1e-15, atol=1e-15)
    assert graph.inputs[0].dtype is torch.float64
    assert graph.to(dtype=torch.float32)(X)[0].dtype is torch.float32
    assert graph(X)[0].dtype is torch.float64  # a float32 input is widened


def test_constants_live_where_the_graph_runs():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Reshape", ["x", "s"], ["r"]),
        node("Gather", ["r", "i"], ["g"], axis=1),
        node("Mul", ["g", "w"], ["y"]),
    ]
    constants = {"i": np.array([0, 2]), "w": np.ones(2, np.float32)}
    graph = load_graph(model(nodes, constants=constants)).to(device="meta")
    (y,) = graph(X.to("meta"))
    assert y.device.type == "meta"
    assert y.shape == (4, 2)


@pytest.mark.parametrize(
    ("op", "arrays"),
    [
        ("HannWindow", [np.array(4)]),
        ("ConstantOfShape", [np.array([2, 3])]),
        ("Range", [np.float32(0), np.float32(3), np.float32(1)]),
        ("Range", [np.array(0), np.array(3), np.array(1)]),
        ("MelWeightMatrix", [np.array(v) for v in (4, 16, 8000, 20, 3000)]),
    ],
)
def test_made_tensors_are_where_the_graph_runs(op, arrays):
    names = [f"c{i}" for i in range(len(arrays))]
    constants = dict(zip(names, arrays, strict=True))
    for name in ("c3", "c4"):
        if name in constants:
            constants[name] = np.float32(constants[name])
    proto = model([node(op, names, ["y"])], constants=constants)
    for simplify in (True, False):
        graph = load_graph(proto, device="meta", simplify=simplify)
        (y,) = graph(X.to("meta"))
        assert y.device.type == "meta"


def test_no_global_state_changes():
    before = (torch.get_default_dtype(), torch.is_grad_enabled())
    graph = load_graph(model([node("Exp", ["x"], ["y"])]), torch.float64)
    graph(X)
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == before


def test_an_output_may_be_changed_in_place():
    constants = {"w": np.arange(3, dtype=np.float32)}
    nodes = [node("Identity", ["w"], ["c"]), node("Shape", ["x"], ["s"])]
    outputs = [value("c"), value("s", INT64)]
    graph = load_graph(model(nodes, outputs=outputs, constants=constants))
    for out in graph(X):
        out.zero_()
    assert [out.tolist() for out in graph(X)] == [[0, 1, 2], [4, 3]]


def test_initializers_among_the_inputs_are_not_asked_for():
    proto = model(
        [node("Mul", ["x", "w"], ["y"])],
        inputs=[value("w", shape=(3,)), value("x")],
        constants={"w": np.float32([1, 2, 3])},
        opset=7,
    )
    proto.ir_version = 3
    graph = load_graph(proto)
    assert graph.input_names == ("x",)
    assert torch.equal(graph(X)[0], X * torch.tensor([1.0, 2.0, 3.0]))


def test_an_opset_newer_than_the_installed_onnx_is_refused():
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(UnsupportedOperator, match=f"opset {newest + 1}"):
        load_graph(model([node("Exp", ["x"], ["y"])], opset=newest + 1))


def test_default_domain_listed_twice_and_names_with_marks():
    imports = [helper.make_opsetid("", 12), helper.make_opsetid("ai.onnx", 13)]
    nodes = [node("Relu", ["x"], ["a/b:0"]), node("Neg", ["a/b:0"], ["y"])]
    graph = load_graph(model(nodes, imports=imports))
    assert torch.equal(graph(X)[0], -X.relu())
    assert graph.opset == 13


def test_absent_optional_input():
    nodes = [node("Clip", ["x", "", "top"], ["y"])]
    graph = load_graph(model(nodes, constants={"top": np.float32(0.5)}))
    assert torch.equal(graph(X)[0], X.clamp(max=0.5))


def test_nodes_in_any_order_run():
    nodes = [node("Neg", ["h"], ["y"]), node("Exp", ["x"], ["h"])]
    assert torch.equal(load_graph(model(nodes))(X)[0], -X.exp())


# --- paths and cuts -------------------------------------------------------------------


def path(nodes, **more):
    graph = load_graph(model(nodes, **more))
    steps = graph.path_ops("x", "y")
    return [(s.op, s.zero_derivative) for s in steps], graph.reaches("x", "y")


def test_path_in_order_without_what_is_beside_it():
    nodes = [
        node("Exp", ["x"], ["a"]),
        node("Shape", ["x"], ["dead"]),
        node("Mul", ["a", "x"], ["y"]),
    ]
    assert path(nodes) == ([("Exp", False), ("Mul", False)], True)


@pytest.mark.parametrize(
    "op", ["Round", "Floor", "Ceil", "Sign", "ArgMax", "IsNaN", "Hardmax", "NonZero"]
)
def test_a_step_function_blocks(op):
    steps, open_ = path([node(op, ["x"], ["r"]), node("Cast", ["r"], ["y"], to=FLOAT)])
    assert steps[0] == (op, True)
    assert not open_


def test_cast_to_integers_blocks_and_to_floats_does_not():
    nodes = [
        node("Cast", ["x"], ["i"], to=INT64),
        node("Cast", ["i"], ["y"], to=FLOAT),
    ]
    assert path(nodes) == ([("Cast", True), ("Cast", False)], False)
    assert path([node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)])[1]


def test_condition_and_index_block_but_values_do_not():
    nodes = [node("Less", ["x", "z"], ["c"]), node("Where", ["c", "z", "z"], ["y"])]
    zero = {"z": np.float32(0)}
    assert path(nodes, constants=zero) == ([("Less", True), ("Where", True)], False)
    nodes = [node("Less", ["x", "z"], ["c"]), node("Where", ["c", "x", "z"], ["y"])]
    assert path(nodes, constants=zero) == ([("Less", True), ("Where", False)], True)


def test_top_k_passes_values_and_blocks_indices():
    constants = {"k": np.array([1])}
    assert path([node("TopK", ["x", "k"], ["y", "i"])], constants=constants)[1]
    nodes = [
        node("TopK", ["x", "k"], ["v", "i"]),
        node("Cast", ["i"], ["y"], to=FLOAT),
    ]
    assert not path(nodes, constants=constants)[1]


def test_marked_operators_have_no_derivative_and_others_do():
    """Every marked operator gives an output without gradient, or a zero one."""
    for op in ("Round", "Floor", "Ceil", "Sign"):
        graph = load_graph(model([node(op, ["x"], ["y"])]))
        assert not jacrev(lambda x, g=graph: g(x)[0])(X).any()


def test_cut_at_an_internal_tensor_equals_onnxruntime():
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Exp", ["r"], ["y"]),
    ]
    proto = model(nodes, constants={"w": np.eye(3, 5, dtype=np.float32) * 2})
    cut = load_graph(proto).with_outputs(["h", "y", "x"])
    assert cut.output_names == ("h", "y", "x")
    proto.graph.output.append(value("h", shape=None))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    y, h = session.run(None, {"x": X.numpy()})
    for got, want in zip(cut(X), (h, y, X.numpy()), strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)
    with pytest.raises(ModelError, match="no tensor 'nope'"):
        load_graph(proto).with_outputs(["nope"])


# --- cleaning up ----------------------------------------------------------------------


def test_constants_fold_equal_calls_merge_and_dead_nodes_go():
    nodes = [
        node("Exp", ["w"], ["e"]),  # folds
        node("Identity", ["x"], ["i"]),  # looked through
        node("Dropout", ["i"], ["d"]),  # looked through
        node("Tanh", ["d"], ["a"]),
        node("Tanh", ["x"], ["b"]),  # the same call
        node("Sin", ["x"], ["dead"]),
        node("Mul", ["a", "b"], ["m"]),
        node("Mul", ["m", "e"], ["y"]),
    ]
    proto = model(nodes, constants={"w": np.float32([0, 1, 2])})
    clean, plain = load_graph(proto), load_graph(proto, simplify=False)
    assert "3 steps" in repr(clean)
    assert torch.equal(clean(X)[0], plain(X)[0])


def test_shape_arithmetic_follows_the_batch():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "first"], ["n1"]),
        node("Concat", ["n1", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"zero": np.array(0), "first": np.array([0]), "rest": np.array([3, 1])}
    graph = load_graph(model(nodes, constants=constants))
    for rows in (4, 2, 4, 1):
        assert graph(torch.ones(rows, 3))[0].shape == (rows, 3, 1)


# --- control flow and functions -------------------------------------------------------


def branch(name, nodes, outputs):
    return helper.make_graph(nodes, name, [], [value(o, shape=None) for o in outputs])


def test_if_sees_the_values_around_it():
    then = branch("then", [node("Mul", ["x", "w"], ["t"])], ["t"])
    other = branch("else", [node("Exp", ["h"], ["e"])], ["e"])
    nodes = [
        node("Neg", ["x"], ["h"]),
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    constants = {"w": np.float32([1, 2, 3]), "zero": np.float32(0)}
    graph = load_graph(model(nodes, constants=constants))
    up, down = X.abs(), -X.abs()
    assert torch.equal(graph(up)[0], up * torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(graph(down)[0], (-down).exp())
    slope = jacrev(lambda x: graph(x)[0].sum())(down)
    assert torch.allclose(slope, -(-down).exp())


def loop_model(trips):
    body = helper.make_graph(
        [
            node("Mul", ["h_in", "x"], ["h_out"]),
            node("Identity", ["c_in"], ["c_out"]),
            node("Sin", ["h_out"], ["seen"]),
        ],
        "body",
        [value("i", INT64, ()), value("c_in", TensorProto.BOOL, ()), value("h_in")],
        [value("c_out", TensorProto.BOOL, ()), value("h_out"), value("seen")],
    )
    nodes = [node("Loop", ["n", "", "x"], ["y", "scan"], body=body)]
    outputs = [value("y"), value("scan", shape=None)]
    return model(nodes, outputs=outputs, constants={"n": np.array(trips)})


@pytest.mark.parametrize(
    ("inside", "open_"), [("Sin", True), ("Round", False), ("Sign", False)]
)
def test_path_looks_into_branches(inside, open_):
    then = branch("then", [node(inside, ["x"], ["t"])], ["t"])
    other = branch("else", [node("Shape", ["x"], ["e"])], ["e"])
    nodes = [node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    graph = load_graph(model(nodes, constants={"c": np.array(True)}), simplify=False)
    assert graph.reaches("x", "y") == open_
    assert graph.path_ops("x", "y")[0].zero_derivative != open_


def test_path_looks_into_loops():
    graph = load_graph(loop_model(3))
    assert graph.reaches("x", "y")
    assert graph.reaches("x", "scan")
    proto = loop_model(3)
    proto.graph.node[0].attribute[0].g.node[2].op_type = "Sign"
    graph = load_graph(proto)
    assert graph.reaches("x", "y")
    assert not graph.reaches("x", "scan")


def test_loop_is_differentiable_and_stacks():
    graph = load_graph(loop_model(3), torch.float64)
    x = X.double()
    y, scan = graph(x)
    assert torch.allclose(y, x**4)
    assert torch.allclose(scan, torch.stack([(x**k).sin() for k in (2, 3, 4)]))
    slope = jacrev(lambda x: graph(x)[0].sum())(x)
    assert torch.allclose(slope, 4 * x**3)


@pytest.mark.parametrize("trips", [3000, pytest.param(None, marks=pytest.mark.slow)])
def test_a_huge_loop_is_stopped(trips, monkeypatch):
    if trips is not None:  # the bound itself takes seconds
        monkeypatch.setattr(limits, "MAX_TRIPS", trips)
    graph = load_graph(loop_model(10**12))
    with pytest.raises(ModelError, match=f"would run {limits.MAX_TRIPS + 1} times"):
        graph(torch.zeros(0, 3))


@pytest.mark.parametrize("trips", [5000, pytest.param(None, marks=pytest.mark.slow)])
def test_nested_loops_share_one_budget(trips, monkeypatch):
    if trips is not None:  # the bound itself takes seconds
        monkeypatch.setattr(limits, "MAX_TRIPS", trips)
    each = 6 * limits.MAX_TRIPS // 10

    def body(tag, nodes):
        kinds = ((INT64, ()), (TensorProto.BOOL, ()), (FLOAT, ("n", 3)))
        names = [f"{part}_{tag}" for part in ("i", "c", "h")]
        inputs = [value(a, *kind) for a, kind in zip(names, kinds, strict=True)]
        outputs = [value(f"cc_{tag}", TensorProto.BOOL, ()), value(f"hh_{tag}")]
        keep = node("Identity", [f"c_{tag}"], [f"cc_{tag}"])
        return helper.make_graph([keep, *nodes], tag, inputs, outputs)

    inner = body("in", [node("Neg", ["h_in"], ["hh_in"])])
    again = node("Loop", ["n", "", "h_out"], ["hh_out"], body=inner)
    nodes = [node("Loop", ["n", "", "x"], ["y"], body=body("out", [again]))]
    graph = load_graph(model(nodes, constants={"n": np.array(each)}))
    with pytest.raises(ModelError, match=f"would run {limits.MAX_TRIPS + 1} times"):
        graph(torch.zeros(0, 3))


def test_a_registered_operator_of_another_domain_is_used():
    from audit.importer.registry import _OPERATORS, operator

    @operator("Cube", domain="com.example")
    def cube(x, *, scale=1.0):
        return scale * x**3

    try:
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
        nodes = [node("Cube", ["x"], ["y"], domain="com.example", scale=2.0)]
        graph = load_graph(model(nodes, imports=imports))
        assert torch.equal(graph(X)[0], 2 * X**3)
    finally:
        del _OPERATORS["com.example", "Cube"]


def test_local_functions_nest_and_take_attributes():
    domain = "local"
    inner = helper.make_function(
        domain,
        "Scale",
        ["a"],
        ["b"],
        [
            helper.make_node("Constant", [], ["k"]),
            helper.make_node("Mul", ["a", "k"], ["b"]),
        ],
        [helper.make_opsetid("", 17)],
        ["factor"],
    )
    reference = inner.node[0].attribute.add()
    reference.name, reference.ref_attr_name = "value_float", "factor"
    reference.type = onnx.AttributeProto.FLOAT
    outer = helper.make_function(
        domain,
        "Twice",
        ["p"],
        ["q"],
        [
            helper.make_node("Scale", ["p"], ["h"], domain=domain, factor=2.0),
            helper.make_node("Scale", ["h"], ["q"], domain=domain, factor=5.0),
        ],
        [helper.make_opsetid(domain, 1)],
    )
    nodes = [node("Twice", ["x"], ["h"], domain=domain), node("Neg", ["h"], ["y"])]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    proto = model(nodes, imports=imports, functions=[inner, outer])
    assert torch.allclose(load_graph(proto)(X)[0], -10 * X)


def test_a_function_that_calls_itself_is_refused():
    domain = "local"
    body = [helper.make_node("Me", ["a"], ["b"], domain=domain)]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    me = helper.make_function(domain, "Me", ["a"], ["b"], body, imports)
    nodes = [node("Me", ["x"], ["y"], domain=domain)]
    with pytest.raises(ModelError, match="more than 50 deep"):
        load_graph(model(nodes, imports=imports, functions=[me]))


# --- refusals -------------------------------------------------------------------------

REFUSED = {
    "unknown operator": (node("Frobnicate", ["x"], ["y"]), "Frobnicate"),
    "unknown domain": (node("Foo", ["x"], ["y"], domain="com.acme"), "com.acme.Foo"),
    "unknown attribute": (node("Relu", ["x"], ["y"], slope=0.1), "'slope' is unknown"),
    "random": (node("RandomNormalLike", ["x"], ["y"]), "draws random numbers"),
    "training": (
        node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y"], training_mode=1),
        "training_mode=1",
    ),
    "missing attribute": (node("Concat", ["x", "x"], ["y"]), None),
}


@pytest.mark.parametrize("what", [k for k, v in REFUSED.items() if v[1]])
def test_refused_with_the_name_of_the_node(what):
    bad, words = REFUSED[what]
    bad.name = "here"
    proto = model([bad], constants={"w": np.ones(3, np.float32)})
    with pytest.raises(UnsupportedOperator, match="node 'here'") as caught:
        load_graph(proto)(X)
    assert words in str(caught.value)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("op", "bad"),
    [
        ("Gather", [9]),
        ("Gather", [-9]),
        ("GatherElements", [[9, 0, 0]]),
        ("GatherND", [[0, 3]]),
        ("GatherND", [[0, -4]]),
        ("ScatterND", [[0, 3]]),
        ("ScatterElements", [[9, 0, 0]]),
    ],
)
def test_an_index_outside_is_an_error_not_a_neighbour(op, bad, constant):
    index = np.array(bad)
    updates = np.ones((1, 3) if op == "ScatterElements" else 1, np.float32)
    inputs = ["x", "i", "u"] if op.startswith("Scatter") else ["x", "i"]
    constants = {"u": updates} | ({"i": index} if constant else {})
    given = [value("x")] + ([] if constant else [value("i", INT64, index.shape)])
    graph = load_graph(
        model([node(op, inputs, ["y"])], given, constants=constants, opset=18)
    )
    fed = [X] if constant else [X, torch.from_numpy(index)]
    with pytest.raises(ModelError, match=op):
        graph(*fed)


def test_training_dropout_is_refused():
    nodes = [node("Dropout", ["x", "r", "t"], ["y"])]
    constants = {"r": np.float32(0.5), "t": np.array(True)}
    with pytest.raises(UnsupportedOperator, match="training mode"):
        load_graph(model(nodes, constants=constants))(X)


def test_wrong_calls():
    graph = load_graph(model([node("Exp", ["x"], ["y"])]))
    with pytest.raises(InputError, match="called with 2 inputs"):
        graph(X, X)
    with pytest.raises(InputError, match=r"Expected torch\.float32"):
        graph(torch.zeros(4, 3, dtype=torch.int64))
    with pytest.raises(InputError, match="from_numpy"):
        graph(X.numpy())


def test_a_failing_operator_names_itself_and_its_shapes():
    proto = model([node("MatMul", ["x", "w"], ["y"])], constants={"w": np.eye(5)})
    with pytest.raises(ModelError, match=r"node 'MatMul_0'.*float32\[4, 3\]"):
        load_graph(proto)(X)


# --- quantised graphs -----------------------------------------------------------------


def quantised_model():
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("MatMul", ["d", "w"], ["y"]),
    ]
    weights = np.arange(6, dtype=np.float32).reshape(3, 2)
    constants = {"s": np.float32(0.02), "z": np.uint8(128), "w": weights}
    return model(nodes, constants=constants), torch.from_numpy(weights)


def test_exact_derivative_of_a_quantised_graph_is_marked_zero():
    graph = load_graph(quantised_model()[0])
    assert not graph.reaches("x", "y")
    first = graph.path_ops("x", "y")[0]
    assert (first.op, first.zero_derivative) == ("QuantizeLinear", True)


def test_straight_through_keeps_the_numbers_and_passes_inside_the_range():
    proto, weights = quantised_model()
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    x = X.clone()
    x[0] = 100.0  # saturates
    graph = load_graph(proto, quantised="straight_through")
    (expected,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(graph(x)[0].numpy(), expected, rtol=1e-5)
    assert graph.reaches("x", "y")
    slope = jacrev(lambda x: graph(x)[0].sum())(x)
    assert not slope[0].any()
    assert torch.allclose(slope[1:], weights.sum(1).expand(3, 3))


# --- NaN-safe derivatives -------------------------------------------------------------


def test_a_masked_row_picked_away_has_a_finite_derivative():
    nodes = [
        node("Where", ["mask", "x", "low"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("IsNaN", ["p"], ["bad"]),
        node("Where", ["bad", "zero", "p"], ["y"]),
    ]
    mask = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1]], bool)
    constants = {"mask": mask, "low": np.float32(-np.inf), "zero": np.float32(0)}
    graph = load_graph(model(nodes, constants=constants))
    (y,) = graph(X)
    assert torch.equal(y[1], torch.zeros(3))
    slope = jacrev(lambda x: (graph(x)[0] ** 2).sum())(X)
    assert slope.isfinite().all()
    assert not slope[1].any()
    assert slope[3].any()
