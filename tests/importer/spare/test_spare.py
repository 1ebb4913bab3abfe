"""Programs that compute each number once, against the graph itself and onnxruntime."""

from collections import Counter

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from audit.importer import load_graph
from audit.importer.spare import NotSpared, spared
from audit.importer.spare.work import Product
from audit.importer.spare.work import _product as straight_of

FLOAT = TensorProto.FLOAT
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def model_of(nodes, inputs, constants, outputs=("y",), opset=18):
    """A model in float32; `inputs` are name -> shape of a row."""
    ports = [
        helper.make_tensor_value_info(name, FLOAT, ["n", *shape])
        for name, shape in inputs.items()
    ]
    made = [helper.make_tensor_value_info(n, FLOAT, None) for n in outputs]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ports, made, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return model


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def by_onnxruntime(model, values):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = {
        port.name: value.float().numpy()
        for port, value in zip(session.get_inputs(), values, strict=True)
    }
    return [torch.from_numpy(found) for found in session.run(None, given)]


def kinds(program):
    """How often each function of a program is called."""
    return Counter(
        getattr(getattr(c.run, "func", c.run), "__name__", "") for c in program.calls
    )


def columns(program):
    """The columns of each product."""
    runs = [c.run for c in program.calls]
    return [len(r.args[0]) for r in runs if getattr(r, "func", None) is straight_of]


def compare(model, values, rows=(3, 7, 50)):
    """Hold a program against the graph in float64, and onnxruntime in float32."""
    graph = load_graph(model, dtype=torch.float64)
    double = [value.double() for value in values]
    program = spared(graph, double)
    for n in rows:
        part = [value[:n] for value in double]
        for ours, theirs in zip(program(part), graph(*part), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    single = spared(load_graph(model), values)
    for ours, theirs in zip(single(values), by_onnxruntime(model, values), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)
    return program


def slopes(function, values):
    leaves = [value.clone().requires_grad_() for value in values]
    total = sum(out.square().sum() for out in function(leaves))
    return torch.autograd.grad(total, leaves, allow_unused=True)


def masked(rng, order, hidden, context):
    """Weights of a conditioner whose coordinate i sees those that come before it."""
    n = len(order)
    degree = rng.integers(0, n, hidden)  # sees coordinates with order < degree
    first = rng.normal(size=(hidden, n + context))
    first[:, :n] *= np.asarray(order)[None] < degree[:, None]
    second = rng.normal(size=(2 * n, hidden)) / np.sqrt(hidden)
    second *= degree[None] <= np.repeat(order, 2)[:, None]
    return first, rng.normal(size=hidden), second, rng.normal(size=2 * n)


def inverse(seed, n, hidden, context, passes):
    """θ ← m(θ, x) + exp(s(θ, x)) z, so many times from zeros, as exporters write it."""
    rng = np.random.default_rng(seed)
    w1, b1, w2, b2 = masked(rng, rng.permutation(n), hidden, context)
    constants = {
        **{"w1": w1, "b1": b1, "w2": w2, "b2": b2},
        **{"zero": np.zeros(1), "three": np.int64([-1, n, 2]), "at": np.int64([2])},
    }
    constants = {
        k: v.astype(np.float32) if v.dtype == np.float64 else v
        for k, v in constants.items()
    }
    nodes = [node("Mul", "z zero", "t0")]
    for k in range(passes):
        nodes += [
            node("Concat", f"t{k} x", f"in{k}", axis=-1),
            node("Gemm", f"in{k} w1 b1", f"h{k}", transB=1),
            node("Tanh", f"h{k}", f"a{k}"),
            node("Gemm", f"a{k} w2 b2", f"p{k}", transB=1),
            node("Reshape", f"p{k} three", f"q{k}"),
            node("Split", f"q{k}", f"m{k} s{k}", axis=2, num_outputs=2),
            node("Squeeze", f"m{k} at", f"mm{k}"),
            node("Squeeze", f"s{k} at", f"ss{k}"),
            node("Sin", f"ss{k}", f"c{k}"),
            node("Exp", f"c{k}", f"e{k}"),
            node("Mul", f"e{k} z", f"ez{k}"),
            node("Add", f"mm{k} ez{k}", f"t{k + 1}"),
        ]
    nodes.append(node("Identity", f"t{passes}", "y"))
    return model_of(nodes, {"x": (context,), "z": (n,)}, constants)


def normal(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(50, *shape, generator=generator) for shape in shapes]


@quick
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 6),
    hidden=st.integers(1, 12),
    context=st.integers(1, 3),
    fewer=st.integers(0, 2),
)
def test_an_inverse_of_masked_passes(seed, n, hidden, context, fewer):
    passes = max(1, n - fewer)
    model = inverse(seed, n, hidden, context, passes)
    compare(model, normal(seed, (context,), (n,)))


def test_each_coordinate_and_hidden_unit_is_computed_once():
    n, hidden = 5, 16
    model = inverse(3, n, hidden, 2, n)
    program = compare(model, normal(3, (2,), (n,)))
    assert sum(columns(program)) <= hidden + 2 * n
    assert kinds(program)["exp"] <= n


def test_without_zeros_among_the_weights_nothing_is_left_out():
    n, passes = 3, 3
    model = inverse(4, n, 8, 2, passes)
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "w2"):
            dense = np.abs(numpy_helper.to_array(tensor)) + np.float32(0.1)
            tensor.CopyFrom(numpy_helper.from_array(dense, tensor.name))
    program = compare(model, normal(4, (2,), (n,)))
    assert sum(columns(program)) == passes * (8 + 2 * n)


def test_a_weight_that_is_nearly_zero_is_no_zero():
    """The second unit sees x₂ by 10⁻³⁰: what it makes of it is there."""
    weight = np.array([[1.0, 0.0], [0.0, 1e-30]], np.float32)
    model = model_of(
        [node("Gemm", "x w", "h", transB=1), node("Mul", "h big", "y")],
        {"x": (2,)},
        {"w": weight, "big": np.float32(1e30)},
    )
    (x,) = normal(5, (2,))
    (y,) = spared(load_graph(model), [x])([x])
    torch.testing.assert_close(y[:, 1], x[:, 1], rtol=1e-5, atol=0)


@quick
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 14))
def test_random_programs(seed, steps):
    """Movements, pointwise operators, sums along axes and products in any order."""
    rng = np.random.default_rng(seed)
    nodes, constants, outputs = random_nodes(rng, steps)
    model = model_of(nodes, {"x": (4, 3), "z": (4, 3)}, constants, outputs)
    values = normal(seed, (4, 3), (4, 3))
    compare(model, values)
    graph = load_graph(model, dtype=torch.float64)
    double = [value.double() for value in values]
    program = spared(graph, double)
    ours = slopes(program, double)
    theirs = slopes(lambda v: graph(*v), double)
    for mine, other in zip(ours, theirs, strict=True):
        if other is not None and mine is not None:
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
        else:
            assert all(g is None or not g.any() for g in (mine, other))


def random_nodes(rng, steps):
    """Nodes over values [n, 4, 3], each from values before it."""
    names, nodes, constants = ["x", "z"], [], {}

    def constant(array):
        name = f"c{len(constants)}"
        constants[name] = array
        return name

    def pick():
        return names[rng.integers(len(names))]

    def ints(*numbers):
        return constant(np.array(numbers, np.int64))

    for k in range(steps):
        a, b, y, t = pick(), pick(), f"v{k}", f"t{k}"
        match rng.integers(11):
            case 0:
                nodes.append(
                    node(str(rng.choice(["Add", "Sub", "Mul"])), f"{a} {b}", y)
                )
            case 1:
                nodes.append(node(str(rng.choice(["Tanh", "Sin", "Relu"])), a, y))
            case 2:
                at = ints(0, -1) if rng.integers(2) else ints(0, 12)
                nodes.append(node("Reshape", f"{a} {at}", f"{t}f"))
                zeros = rng.normal(size=(12, 12)) * (rng.random((12, 12)) < 0.3)
                w = constant(zeros.astype(np.float32))
                nodes.append(node("Gemm", f"{t}f {w}", f"{t}g", transB=1))
                nodes.append(node("Reshape", f"{t}g {ints(-1, 4, 3)}", y))
            case 3:
                nodes.append(node("Softmax", a, y, axis=int(rng.integers(1, 3))))
            case 4:
                nodes.append(node("CumSum", f"{a} {ints(rng.integers(1, 3))}", y))
            case 5:
                axis = int(rng.integers(1, 3))
                keep = ints(axis)
                nodes.append(node("ReduceSum", f"{a} {keep}", f"{t}r", keepdims=0))
                nodes.append(node("Unsqueeze", f"{t}r {keep}", f"{t}u"))
                nodes.append(node("Sub", f"{b} {t}u", y))
            case 6:
                nodes.append(node("Transpose", a, f"{t}p", perm=[0, 2, 1]))
                nodes.append(node("Reshape", f"{t}p {ints(0, 4, 3)}", y))
            case 7:
                nodes.append(node("Split", f"{a} {ints(1, 2)}", f"{t}a {t}b", axis=2))
                nodes.append(node("Concat", f"{t}b {t}a", y, axis=2))
            case 8:
                edge = [ints(0), ints(3), ints(1)]
                nodes.append(node("Slice", f"{a} {' '.join(edge)}", f"{t}s"))
                nodes.append(node("Pad", f"{t}s {ints(0, 1, 0, 0, 0, 0)}", y))
            case 9:
                where = rng.integers(0, 4, 4)
                nodes.append(node("Gather", f"{a} {ints(*where)}", y, axis=1))
            case _:
                nodes.append(node("Less", f"{a} {b}", f"{t}l"))
                nodes.append(node("Where", f"{t}l {a} {b}", y))
        names.append(y)
    outputs = [names[-1], names[rng.integers(len(names) - 1)]]
    nodes += [node("Identity", n, f"y{k}") for k, n in enumerate(outputs)]
    return nodes, constants, ["y0", "y1"]


def test_picking_at_computed_places():
    """The bin of a histogram that z falls into, as splines find it."""
    nodes = [
        node("Softmax", "x", "share", axis=-1),
        node("CumSum", "share last", "knots"),
        node("Unsqueeze", "z last1", "zz"),
        node("Less", "knots zz", "below"),
        node("Cast", "below", "ones", to=TensorProto.INT64),
        node("ReduceSum", "ones last1", "bin", keepdims=1),
        node("Min", "bin six", "held"),
        node("GatherElements", "knots held", "picked", axis=-1),
        node("Squeeze", "picked last1", "y"),
    ]
    constants = {
        "last": np.int64(2),
        "last1": np.array([2], np.int64),
        "six": np.int64(6),
    }
    model = model_of(nodes, {"x": (4, 7), "z": (4,)}, constants)
    x, z = normal(6, (4, 7), (4,))
    z = torch.sigmoid(z)
    compare(model, [x, z])
    graph = load_graph(model)
    knots = x.softmax(-1).cumsum(-1)
    index = (knots < z[..., None]).sum(-1, keepdim=True).clamp(max=6)
    (y,) = spared(graph, [x, z])([x, z])
    torch.testing.assert_close(y, knots.gather(-1, index)[..., 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("ReduceMean", "x rows", "y")], {"rows": np.array([0], np.int64)}),
        ([node("CumSum", "x rows", "y")], {"rows": np.int64(0)}),
        ([node("Transpose", "x", "t", perm=[1, 0]), node("Gemm", "x t", "y")], {}),
        ([node("NonZero", "x", "i"), node("Cast", "i", "y", to=FLOAT)], {}),
        ([node("Gather", "x last", "y")], {"last": np.array([1, 0], np.int64)}),
        ([node("Reshape", "x flat", "y")], {"flat": np.array([-1, 1], np.int64)}),
        ([node("Det", "x", "y")], {}),
    ],
    ids=[
        "mean of rows",
        "along rows",
        "rows by rows",
        "shapes of numbers",
        "rows moved",
        "rows mixed",
        "unknown",
    ],
)
def test_what_is_not_followed_is_refused(nodes, constants):
    shape = (3, 3) if nodes[0].op_type == "Det" else (3,)
    graph = load_graph(model_of(nodes, {"x": shape}, constants))
    with pytest.raises(NotSpared):
        spared(graph, normal(7, shape))


def test_too_few_rows_to_look_at():
    graph = load_graph(model_of([node("Exp", "x", "y")], {"x": (3,)}, {}))
    with pytest.raises(NotSpared, match="few rows"):
        spared(graph, [torch.zeros(2, 3)])


def test_a_product_needs_what_meets_a_weight():
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])
    work = Product(None, None, {}, (), weight=weight)
    assert work.met(None).tolist() == [0, 2]
    assert work.met((-1, np.array([1]))).tolist() == [2]
