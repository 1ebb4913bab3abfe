"""Numbers of few bits: every operator on them is refused or has a real derivative."""

import re

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_operators import operators
from torch.autograd import grad
from torch.fx import Graph as TorchGraph

from audit.importer import load_graph
from audit.models.exported_census import exported_census

MS = "com.microsoft"
QUANTISED = r"[Qq]uanti|Integer|^Q[A-Z]"
PASSES_THROUGH = {"FakeQuantize"}  # on request, and held against its twin below


def rng():
    return np.random.default_rng(3)


def real(*shape):
    return rng().normal(size=shape).astype(np.float32)


def whole(*shape, kind=np.uint8):
    return rng().integers(0, 100, shape).astype(kind)


S, Z = np.float32(0.05), np.uint8(60)
Q = [S, Z]
CONV = [whole(1, 2, 5, 5), S, Z, whole(3, 2, 3, 3), S, Z, np.float32(2), Z]
LSTM = [
    real(3, 2, 4), whole(1, 4, 12), whole(1, 3, 12), real(1, 24), None, None, None,
    None, np.full(1, 0.02, np.float32), np.full(1, 50, np.uint8),
    np.full(1, 0.02, np.float32), np.full(1, 50, np.uint8),
]  # fmt: skip
EXAMPLES = {
    ("", "QuantizeLinear"): [real(3, 4), *Q],
    ("", "DequantizeLinear"): [whole(3, 4), *Q],
    ("", "DynamicQuantizeLinear"): [real(3, 4)],
    ("", "MatMulInteger"): [whole(3, 4), whole(4, 5), Z, Z],
    ("", "ConvInteger"): [whole(1, 2, 5, 5), whole(3, 2, 3, 3), Z],
    ("", "QLinearMatMul"): [whole(3, 4), *Q, whole(4, 5), *Q, np.float32(2), Z],
    ("", "QLinearConv"): CONV,
    (MS, "QuantizeLinear"): [real(3, 4), *Q],
    (MS, "DequantizeLinear"): [whole(3, 4), *Q],
    (MS, "QLinearAdd"): [whole(3, 4), *Q, whole(3, 4), *Q, *Q],
    (MS, "QLinearMul"): [whole(3, 4), *Q, whole(3, 4), *Q, *Q],
    (MS, "QLinearSigmoid"): [whole(3, 4), *Q, np.float32(1 / 256), Z],
    (MS, "QLinearLeakyRelu"): [whole(3, 4), *Q, *Q],
    (MS, "QLinearConcat"): [*Q, whole(3, 4), *Q, whole(3, 4), *Q],
    (MS, "QLinearGlobalAveragePool"): [whole(1, 2, 4, 4), *Q, *Q],
    (MS, "QLinearAveragePool"): [whole(1, 2, 4, 4), *Q, *Q],
    (MS, "QLinearSoftmax"): [whole(3, 4), *Q, np.float32(1 / 256), Z],
    (MS, "QLinearWhere"): [whole(3, 4) > 50, whole(3, 4), *Q, whole(3, 4), *Q, *Q],
    (MS, "MatMulIntegerToFloat"): [whole(3, 4), whole(4, 5), S, S, Z, Z, real(5)],
    (MS, "DynamicQuantizeMatMul"): [real(3, 4), whole(4, 5), S, Z, real(5)],
    (MS, "DynamicQuantizeLSTM"): LSTM,
    (MS, "QGemm"): [whole(3, 4), *Q, whole(4, 5), *Q, whole(5, kind=np.int32)],
}
ATTRIBUTES = {
    "QLinearConcat": {"axis": 1},
    "QLinearAveragePool": {"kernel_shape": [2, 2]},
    "QLinearSoftmax": {"axis": -1, "opset": 13},
    "DynamicQuantizeLSTM": {"hidden_size": 3},
}
OUTPUTS = {"DynamicQuantizeLinear": 3, "DynamicQuantizeLSTM": 3}


def model(nodes, inputs, outputs, constants=(), opset=19):
    """A graph of nodes; the inputs are named arrays, the outputs names."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in inputs}
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(name, kinds[name], list(np.shape(array)))
            for name, array in inputs
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def one_node(domain, op):
    arrays = EXAMPLES[domain, op]
    names = ["" if a is None else f"i{k}" for k, a in enumerate(arrays)]
    outputs = [f"o{k}" for k in range(OUTPUTS.get(op, 1))]
    more = ATTRIBUTES.get(op, {})
    node = helper.make_node(op, names, outputs, domain=domain, **more)
    given = [
        (name, np.asarray(a)) for name, a in zip(names, arrays, strict=True) if name
    ]
    return model([node], given, outputs), dict(given)


def marked():
    return {(o.domain, o.name) for o in operators() if o.quantised}


def test_every_operator_whose_name_says_so_is_marked():
    named = {(o.domain, o.name) for o in operators() if re.search(QUANTISED, o.name)}
    assert {key for key in named if key[1] not in PASSES_THROUGH} == marked()


def test_every_marked_operator_has_an_example():
    assert set(EXAMPLES) == marked()


def direction(array):
    return np.linspace(1, 2, array.size, dtype=np.float32).reshape(array.shape)


def slope(graph, values, source, output):
    """The derivative of the sum of an output along a direction of one input."""
    torched = {name: torch.from_numpy(np.array(a)) for name, a in values.items()}
    leaf = torched[source].double().requires_grad_()
    wide = graph.to(torch.float64)
    found = wide(*[leaf if n == source else torched[n] for n in graph.input_names])
    y = found[graph.output_names.index(output)]
    if not y.requires_grad:
        return 0.0
    (gradient,) = grad(y.sum(), leaf, allow_unused=True)
    v = torch.from_numpy(direction(values[source]))
    return 0.0 if gradient is None else float((gradient * v).sum())


def difference(proto, values, source, output, step=1e-2):
    """The same by central differences of onnxruntime."""
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    v = np.float32(step) * direction(values[source])

    def total(sign):
        moved = values | {source: np.asarray(values[source] + sign * v)}
        return float(session.run([output], moved)[0].astype(np.float64).sum())

    return (total(1) - total(-1)) / (2 * step)


@pytest.mark.parametrize(("domain", "op"), EXAMPLES, ids=lambda key: key or "onnx")
def test_an_edge_is_refused_or_has_the_derivative_of_onnxruntime(domain, op):
    proto, values = one_node(domain, op)
    graph = load_graph(proto)
    refused = 0
    for source, array in values.items():
        for output in graph.output_names:
            found = [node.op for node in graph.quantised_nodes(source, output)]
            refused += found == [op]
            if array.dtype != np.float32:
                assert found == [op], f"{source} -> {output}"
            elif found:
                assert slope(graph, values, source, output) == 0.0
            else:
                ours = slope(graph, values, source, output)
                theirs = difference(proto, values, source, output)
                assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-5), source
                assert ours, f"{source} -> {output} has no derivative to speak of"
    assert refused


def test_the_first_input_of_each_is_refused_beside_a_smooth_way():
    """However the numbers of few bits came about, and whatever goes around them."""
    for (domain, op), arrays in EXAMPLES.items():
        proto, values = one_node(domain, op)
        first = next(k for k, a in enumerate(arrays) if np.ndim(a) and a.dtype != bool)
        kind = helper.np_dtype_to_tensor_dtype(arrays[first].dtype)
        nodes = [
            helper.make_node("Cast", ["x"], [f"i{first}"], to=kind),
            *proto.graph.node,
            helper.make_node("Cast", ["o0"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["real"], ["part"], keepdims=0),
            helper.make_node("ReduceSum", ["x"], ["smooth"], keepdims=0),
            helper.make_node("Add", ["part", "smooth"], ["y"]),
        ]
        x = arrays[first].astype(np.float32)
        constants = [(n, a) for n, a in values.items() if n != f"i{first}"]
        graph = load_graph(model(nodes, [("x", x)], ["y"], constants))
        assert graph.reaches("x", "y")
        assert [node.op for node in graph.quantised_nodes("x", "y")] == [op]


# --- inside subgraphs -----------------------------------------------------------------


def rounding(name_in, name_out):
    return [
        helper.make_node("QuantizeLinear", [name_in, "s", "z"], ["q"], name="deep"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Add", ["d", name_in], [name_out]),
    ]


def body(nodes, inputs, outputs):
    def info(name):
        kind = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "on": TensorProto.BOOL}
        return helper.make_tensor_value_info(
            name, kind.get(name, TensorProto.FLOAT), None
        )

    return helper.make_graph(
        nodes, "body", [info(n) for n in inputs], [info(n) for n in outputs]
    )


def in_if():
    then = body(rounding("x", "a"), [], ["a"])
    other = body([helper.make_node("Identity", ["x"], ["b"])], [], ["b"])
    return [helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other)]


def in_loop():
    """The state is rounded where it goes into the next round only."""
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        *rounding("u", "u2"),
        helper.make_node("Add", ["v", "u"], ["v2"]),
    ]
    inner = body(nodes, ["i", "go", "u", "v"], ["on", "u2", "v2"])
    return [helper.make_node("Loop", ["three", "yes", "x", "x"], ["", "y"], body=inner)]


def in_scan():
    inner = body(rounding("row", "out"), ["row"], ["out"])
    return [helper.make_node("Scan", ["x"], ["y"], body=inner, num_scan_inputs=1)]


def in_nested():
    then = body(in_scan()[:1], [], ["y"])
    then.node[0].output[0] = "inner"
    then.output[0].name = "inner"
    other = body([helper.make_node("Identity", ["x"], ["b"])], [], ["b"])
    return [helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other)]


CONSTANTS = [("s", S), ("z", Z), ("yes", np.array(True)), ("three", np.array(3))]
X = real(4, 3)


@pytest.mark.parametrize("nodes", [in_if, in_loop, in_scan, in_nested])
def test_a_rounding_deep_inside_is_found(nodes):
    graph = load_graph(model(nodes(), [("x", X)], ["y"], CONSTANTS))
    assert graph.reaches("x", "y")
    found = [node.op for node in graph.quantised_nodes("x", "y")]
    assert found == ["QuantizeLinear", "DequantizeLinear"]


@pytest.mark.parametrize("nodes", [in_if, in_loop, in_scan, in_nested])
def test_straight_through_goes_inside_too(nodes):
    proto = model(nodes(), [("x", X)], ["y"], CONSTANTS)
    graph = load_graph(proto, quantised="straight_through")
    assert graph.quantised_nodes("x", "y") == ()
    x = torch.full((4, 3), 2.01, requires_grad=True)
    (gradient,) = grad(graph(x)[0].sum(), x)
    # u -> q(u) + u doubles what comes in; the loop adds u, 2u and 4u to v = x
    expected = 8.0 if nodes is in_loop else 2.0
    torch.testing.assert_close(gradient, torch.full((4, 3), expected))


# --- what is no quantisation of the input ---------------------------------------------


def test_weights_of_few_bits_are_no_matter():
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["real"]),
        helper.make_node("MatMul", ["x", "real"], ["y"]),
    ]
    constants = [("w", whole(3, 2)), ("s", S), ("z", Z)]
    graph = load_graph(model(nodes, [("x", X)], ["y"], constants))
    assert graph.quantised_nodes("x", "y") == ()
    assert graph.reaches("x", "y")


def test_a_scale_alone_may_depend_on_the_input():
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("DequantizeLinear", ["w", "top", "z"], ["y"]),
    ]
    constants = [("w", whole(3, 2)), ("z", Z)]
    graph = load_graph(model(nodes, [("x", X)], ["y"], constants))
    assert graph.quantised_nodes("x", "y") == ()


def test_quantised_outputs_that_are_not_asked_for_are_no_matter():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("Mul", ["x", "scale"], ["y"]),
    ]
    graph = load_graph(model(nodes, [("x", X)], ["y", "q"]))
    assert graph.quantised_nodes("x", "y") == ()
    assert [node.op for node in graph.quantised_nodes("x", "q")] == [
        "DynamicQuantizeLinear"
    ]


@pytest.mark.parametrize("kind", ["FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT4E2M1"])
def test_a_cast_to_a_few_bits_and_back_is_quantisation(kind):
    nodes = [
        helper.make_node("Cast", ["x"], ["few"], to=getattr(TensorProto, kind)),
        helper.make_node("Cast", ["few"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["real", "x"], ["y"]),
    ]
    graph = load_graph(model(nodes, [("x", X)], ["y"], opset=23))
    assert [node.op for node in graph.quantised_nodes("x", "y")] == ["Cast"]
    x = torch.from_numpy(X).requires_grad_()
    (gradient,) = grad(graph(x)[0].sum(), x)
    assert torch.equal(gradient, torch.ones(4, 3))  # of the way around alone


# --- straight-through: the derivative of the twin without rounding --------------------

GRIDS = {
    "UINT8": (0, 255), "INT8": (-128, 127), "UINT16": (0, 65535),
    "INT16": (-32768, 32767), "UINT4": (0, 15), "INT4": (-8, 7),
    "FLOAT8E4M3FN": (-448, 448), "FLOAT8E5M2": (-57344, 57344),
    "FLOAT4E2M1": (-6, 6),
}  # fmt: skip


@pytest.mark.parametrize("granularity", ["tensor", "axis", "block"])
@pytest.mark.parametrize("kind", GRIDS)
def test_straight_through_has_the_derivative_of_clipping(kind, granularity):
    """The twin without rounding is scale · clip(x / scale, low − z, high − z)."""
    low, high = GRIDS[kind]
    shape = {"tensor": (), "axis": (4,), "block": (3, 2)}[granularity]
    scale = np.full(shape, 0.5, np.float32) * (1 + np.arange(4).reshape(-1)[:1])
    scale = (scale * np.linspace(1, 2, scale.size).reshape(shape)).astype(np.float32)
    how = {"axis": 1} | ({"block_size": 2} if granularity == "block" else {})
    target = getattr(TensorProto, kind)
    nodes = [
        helper.make_node(
            "QuantizeLinear", ["x", "s"], ["q"], output_dtype=target, **how
        ),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], **how),
        helper.make_node("Tanh", ["d"], ["y"]),
    ]
    per_entry = {
        "tensor": lambda: np.full((3, 4), scale),
        "axis": lambda: np.tile(scale, (3, 1)),
        "block": lambda: scale.repeat(2, 1),
    }[granularity]()
    inside = np.linspace(low * 0.9, high * 0.9, 6)
    outside = [high * 1.2 + 2, low - 2 - 0.2 * high] * 3
    steps = np.array([*inside, *outside]).reshape(3, 4)
    x = torch.from_numpy((steps * per_entry).astype(np.float32)).requires_grad_()
    proto = model(nodes, [("x", x.detach().numpy())], ["d"], [("s", scale)], opset=23)
    graph = load_graph(proto, quantised="straight_through")
    assert graph.quantised_nodes("x", "d") == ()
    (gradient,) = grad(graph(x)[0].sum(), x)
    expected = torch.from_numpy(np.array([1.0] * 6 + [0.0] * 6, np.float32))
    assert torch.equal(gradient.reshape(-1), expected)


def test_straight_through_is_of_eight_bits_where_no_type_is_written():
    """The standard's default: x / 0.5 is rounded and kept within 0 to 255."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
    ]
    steps = np.array([-3.0, 0.4, 7.3, 254.6, 300.0], np.float32)
    x = torch.from_numpy(0.5 * steps).requires_grad_()
    scale = np.array(0.5, np.float32)
    proto = model(nodes, [("x", x.detach().numpy())], ["d"], [("s", scale)], opset=23)
    found = load_graph(proto, quantised="straight_through")(x)[0]
    assert found.tolist() == [0.0, 0.0, 3.5, 127.5, 127.5]
    (gradient,) = grad(found.sum(), x)
    assert gradient.tolist() == [0, 1, 1, 1, 0]


def test_the_census_of_pt2_tells_quantisation_from_other_steps():
    graph = TorchGraph()
    x = graph.placeholder("x")
    quantised = graph.call_function(
        torch.ops.aten.fake_quantize_per_tensor_affine.default, (x, 0.1, 0, 0, 255)
    )
    rounded = graph.call_function(torch.ops.aten.round.default, (x,))
    total = graph.call_function(torch.ops.aten.add.Tensor, (quantised, rounded))
    graph.output(total)
    for node in graph.nodes:
        node.meta["val"] = torch.zeros(2)
    found = exported_census(graph, "x", ())
    assert [name.partition(" ")[0] for name in found.quantised] == [
        "fake_quantize_per_tensor_affine"
    ]
    assert [stop.partition(" ")[0] for stop in found.stops] == ["round"]
