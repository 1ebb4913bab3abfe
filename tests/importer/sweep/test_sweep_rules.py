"""Every rule of the sweep against autograd, in float64."""

import mpmath
import numpy as np
import pytest
import torch
from onnx import TensorProto
from sweep_graphs import by_autograd, compare, graph_of, node, normal, pushed, swept
from torch.nn import functional

from audit.importer.sweep import NotSwept, pointwise, products, way

W = normal(1, 6, 4).numpy()
V = normal(2, 3, 6).numpy()
INT = np.int64


def case(event, *nodes, inputs=(), opset=18, alone=(), **constants):
    return {
        "event": event,
        "nodes": nodes,
        "inputs": inputs,
        "constants": constants,
        "alone": alone,
        "opset": opset,
    }


def unary(op, **attributes):
    """An operator between two products, where its derivative is used."""
    return case(
        (4,),
        node("Gemm", "x w", "a", transB=1),
        node(op, "a", "b", **attributes),
        node("Gemm", "b v", "y", transB=1),
        w=W,
        v=V,
    )


def image(*nodes, event=(2, 7, 6), **more):
    return case(event, *nodes, **more)


CONV = normal(3, 4, 2, 3, 2).numpy()
DEEP = normal(4, 3, 4, 2, 2).numpy()
HALF = np.array(0.5)
CASES = {
    "gemm": case((4,), node("Gemm", "x w b", "y", transB=1), w=W, b=W[:, 0]),
    "gemm alpha": case((4,), node("Gemm", "x w", "y", alpha=0.3), w=W.T.copy()),
    "matmul": case((3, 4), node("MatMul", "x w", "y"), w=W.T.copy()),
    "matmul from the left": case((4, 3), node("MatMul", "w x", "y"), w=W),
    "matmul of a stack": case(
        (2, 3, 4), node("MatMul", "x w", "y"), w=normal(5, 2, 4, 5).numpy()
    ),
    "matmul of two": case(
        (3, 4),
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("MatMul", "x t", "y"),
    ),
    "all rows on one axis": case(
        (4,),
        node("Reshape", "x all", "r"),
        node("Tanh", "r", "t"),
        node("Reshape", "t four", "s"),
        node("Gemm", "s w", "y", transB=1),
        w=W,
        all=np.array([-1], INT),
        four=np.array([-1, 4], INT),
    ),
    "two layers": case(
        (4,),
        node("Gemm", "x w b", "a", transB=1),
        node("Relu", "a", "h"),
        node("Gemm", "h v", "y", transB=1),
        w=W,
        v=V,
        b=W[:, 0],
    ),
    **{
        op: unary(op)
        for op in (
            *("Relu", "Neg", "Exp", "Tanh", "Sigmoid", "Softplus", "Erf", "Abs"),
            *("Elu", "LeakyRelu", "Selu", "HardSigmoid", "Sin", "Softsign", "Celu"),
            *("HardSwish", "Mish", "Atan", "Identity", "Reciprocal", "ThresholdedRelu"),
        )
    },
    "gelu": case((4,), node("Gelu", "x", "y"), opset=20),
    "swish": case(
        (4,),
        node("Gemm", "x w", "a", transB=1),
        node("Sigmoid", "a", "s"),
        node("Mul", "a s", "y"),
        w=W,
    ),
    "clip": case(
        (4,),
        node("Clip", "x low high", "y"),
        low=np.array(-0.3),
        high=np.array(0.4),
    ),
    "pow": case((4,), node("Exp", "x", "e"), node("Pow", "e p", "y"), p=np.array(1.7)),
    "prelu": case((4,), node("PRelu", "x s", "y"), s=W[0]),
    "constants": case(
        (4,),
        node("Add", "x b", "a"),
        node("Mul", "s a", "m"),
        node("Sub", "b m", "t"),
        node("Div", "t d", "y"),
        b=W[0],
        s=HALF,
        d=np.abs(W[1]) + 1,
    ),
    "residual": case(
        (4,),
        node("Tanh", "x", "t"),
        node("MatMul", "t w", "m"),
        node("Add", "x m", "a"),
        node("Sub", "a t", "y"),
        w=normal(6, 4, 4).numpy(),
    ),
    "product and ratio of two": case(
        (4,),
        node("Exp", "x", "e"),
        node("Mul", "x e", "m"),
        node("Sin", "x", "s"),
        node("Div", "s e", "q"),
        node("Max", "m q", "y"),
    ),
    "stretched": case(
        (3, 4),
        node("ReduceMean", "x axes", "m", keepdims=1),
        node("Sub", "x m", "c"),
        node("Mul", "c m", "p"),
        node("Add", "p x", "y"),
        axes=np.array([2], INT),
    ),
    "held": case(
        (4,),
        node("Mul", "x h", "m"),
        node("Where", "c m h", "y"),
        inputs=(("h", (4,)),),
        c=np.array([True, False, True, True]),
    ),
    "where by the input": case(
        (4,),
        node("Greater", "x z", "c"),
        node("Exp", "x", "e"),
        node("Where", "c e x", "y"),
        z=np.array(0.1),
    ),
    "moved": case(
        (4, 3),
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("Reshape", "t shape", "r"),
        node("Slice", "r one five axis two", "s"),
        node("Concat", "s r s", "y", axis=1),
        shape=np.array([0, -1], INT),
        one=np.array([1], INT),
        five=np.array([8], INT),
        axis=np.array([1], INT),
        two=np.array([2], INT),
    ),
    "batch in the middle": case(
        (4, 3),
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("MatMul", "t w", "m"),
        node("Tanh", "m", "h"),
        node("Gather", "h last", "y", axis=0),
        w=W.T.copy()[:3],
        last=np.array(3, INT),
    ),
    "split": case(
        (6,),
        node("Split", "x", "a b", axis=1, num_outputs=2),
        node("Exp", "b", "e"),
        node("Mul", "a e", "y"),
    ),
    "two heads of one": case(
        (4,),
        node("Gemm", "x w", "a", transB=1),
        node("Split", "a", "b c", axis=1, num_outputs=2),
        node("Exp", "c", "e"),
        node("Concat", "e b", "y", axis=1),
        w=W,
    ),
    "padded": case(
        (3,),
        node("Pad", "x pads value", "y"),
        pads=np.array([0, 2, 0, 1], INT),
        value=np.array(7.0),
    ),
    "with constants": case(
        (3,), node("Concat", "x h x", "y", axis=1), inputs=(("h", (2,)),)
    ),
    "repeated": case(
        (1, 3),
        node("Tile", "x times", "t"),
        node("Gather", "t index", "y", axis=2),
        times=np.array([1, 2, 1], INT),
        index=np.array([[0, -1], [1, 1]], INT),
    ),
    "softmax": case((3, 4), node("Softmax", "x", "y", axis=1)),
    "log softmax": case((3, 4), node("LogSoftmax", "x", "y")),
    "layer norm": case(
        (3, 4),
        node("LayerNormalization", "x s b", "n"),
        node("Tanh", "n", "y"),
        s=W[0],
        b=W[1],
    ),
    "conv": image(node("Conv", "x k", "y", pads=[1, 1, 1, 1], strides=[2, 1]), k=CONV),
    "conv uneven": image(
        node("Conv", "x k b", "y", pads=[0, 1, 2, 0], dilations=[1, 2]),
        k=CONV,
        b=W[:4, 0].copy(),
    ),
    "conv same": image(
        node("Conv", "x k", "y", auto_pad="SAME_UPPER", strides=[2, 2]), k=CONV
    ),
    "conv groups": image(
        node("Conv", "x k", "y", group=2), k=normal(7, 4, 1, 3, 3).numpy()
    ),
    "conv of a line": case(
        (2, 9), node("Conv", "x k", "y", strides=[2]), k=normal(8, 3, 2, 3).numpy()
    ),
    "convolutional network": image(
        node("Conv", "x k b", "a", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a s b m v", "n"),
        node("Relu", "n", "r"),
        node("Conv", "r deep", "c"),
        node("Sigmoid", "c", "d"),
        node("Flatten", "d", "f"),
        node("Gemm", "f w", "y", transB=1),
        k=CONV,
        b=W[:4, 0].copy(),
        s=W[:4, 1].copy(),
        m=W[:4, 2].copy(),
        v=np.abs(W[:4, 3]) + 0.1,
        deep=DEEP,
        w=normal(9, 5, 3 * 3 * 3).numpy(),
    ),
    "pools": image(
        node("Conv", "x k", "a"),
        node("MaxPool", "a", "b", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        node("AveragePool", "b", "c", kernel_shape=[3, 2], strides=[2, 1]),
        node("GlobalAveragePool", "c", "y"),
        k=CONV,
    ),
    "transposed conv": image(
        node("ConvTranspose", "x k", "y", strides=[2, 2]),
        k=normal(10, 2, 3, 3, 3).numpy(),
    ),
    "cumulated": case(
        (2, 3),
        node("CumSum", "x axis", "c", reverse=1, exclusive=1),
        node("Tanh", "c", "y"),
        axis=np.array(-1, INT),
    ),
    "scattered": case(
        (2, 3),
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("Slice", "t zero one", "s"),
        node("Exp", "s", "e"),
        node("ScatterND", "t place e", "w"),
        node("Transpose", "w", "y", perm=[1, 0, 2]),
        zero=np.array([0], INT),
        one=np.array([1], INT),
        place=np.array([[1]], INT),
    ),
    "picked by an index that changes": case(
        (2, 3),
        node("ArgMax", "x", "i", axis=2),
        node("Exp", "x", "e"),
        node("GatherElements", "e i", "y", axis=2),
    ),
    **{
        op: case(
            (2, 3, 2),
            node("Exp", "x", "e"),
            node(op, "e axes", "r", keepdims=keep),
            node("Tanh", "r", "y"),
            axes=np.array([1, -1], INT),
        )
        for op, keep in (
            *(("ReduceSum", 1), ("ReduceMean", 0), ("ReduceMax", 0), ("ReduceMin", 1)),
            *(("ReduceL1", 0), ("ReduceL2", 0), ("ReduceSumSquare", 1)),
            *(("ReduceLogSum", 0), ("ReduceLogSumExp", 1), ("ReduceProd", 0)),
        )
    },
    "steps as a batch": case(
        (3, 4),
        node("Reshape", "x flat", "f"),
        node("Gemm", "f w b", "g", transB=1),
        node("LayerNormalization", "g s s", "l"),
        node("Softmax", "l", "p", axis=1),
        node("ReduceSum", "p one", "q"),
        node("Mul", "p q", "m"),
        node("Reshape", "m back", "y"),
        flat=np.array([-1, 4], INT),
        back=np.array([-1, 18], INT),
        one=np.array([1], INT),
        w=W,
        b=W[:, 0],
        s=normal(14, 6).numpy(),
    ),
    "steps in stripes": case(
        (3, 4),
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("Reshape", "t flat", "f"),
        node("Gemm", "f w b", "g", transB=1),
        node("Tanh", "g", "h"),
        node("Reshape", "h apart", "r"),
        node("Transpose", "r", "y", perm=[1, 2, 0]),
        flat=np.array([-1, 4], INT),
        apart=np.array([3, -1, 6], INT),
        w=W,
        b=W[:, 0],
    ),
    "attention with heads as a batch": case(
        (5, 6),
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("MatMul", "t w", "h"),
        node("Reshape", "h apart", "r"),
        node("Transpose", "r", "q", perm=[1, 0, 2]),
        node("Transpose", "q", "k", perm=[0, 2, 1]),
        node("MatMul", "q k", "s"),
        node("Add", "s mask", "m"),
        node("Softmax", "m", "a", axis=-1),
        node("MatMul", "a q", "v"),
        node("Transpose", "v", "u", perm=[1, 0, 2]),
        node("Reshape", "u together", "o"),
        node("Transpose", "o", "e", perm=[1, 0, 2]),
        node("ReduceMean", "e axes", "y", keepdims=0),
        apart=np.array([5, -1, 3], INT),
        together=np.array([5, -1, 6], INT),
        axes=np.array([1], INT),
        mask=normal(15, 5, 5).numpy(),
        w=normal(16, 6, 6).numpy(),
    ),
    "alone": case((6,), node("Hardmax", "x", "h"), node("Mul", "h x", "y")),
    "alone indeed": case(
        (6,), node("LpNormalization", "x", "y", axis=1), alone=("LpNormalization",)
    ),
    "alone with two results": case(
        (6,),
        node("TopK", "x k", "v i"),
        node("LpNormalization", "x", "n", axis=1),
        node("Concat", "v n", "y", axis=1),
        k=np.array([3], INT),
        alone=("TopK", "LpNormalization"),
    ),
    "softmax of old": case(
        (6,), node("Softmax", "x", "y"), opset=11, alone=("Softmax",)
    ),
}


def recurrence(op, gates, *, last=True, layout=0, **attributes):
    """A recurrence over five steps of two features, three hidden units.

    Its result is one step of Y, or the last state beside all of Y.
    """
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    nodes = [] if layout else [node("Transpose", "x", "t", perm=[1, 0, 2])]
    made = "Y Yh Yc" if op == "LSTM" else "Y Yh"
    source = "x" if layout else "t"
    if layout:
        attributes["layout"] = 1
    nodes.append(node(op, f"{source} w r b", made, hidden_size=3, **attributes))
    states, all_steps = (
        ([0, 1, 2], [0, 1, 2, 3]) if layout else ([1, 0, 2], [2, 0, 1, 3])
    )
    if last:
        nodes += [
            node("Gather", "Y step", "s", axis=0),
            node("Tanh", "s", "c"),
            node("Transpose", "c", "f", perm=states),
            node("Exp", "f", "y"),
        ]
    else:
        nodes += [
            node("Transpose", "Yc" if op == "LSTM" else "Yh", "z", perm=states),
            node("Flatten", "z", "h"),
            node("Transpose", "Y", "m", perm=all_steps),
            node("Flatten", "m", "f"),
            node("Concat", "h f", "y", axis=1),
        ]
    return case(
        (5, 2),
        *nodes,
        w=0.5 * normal(11, count, gates * 3, 2).numpy(),
        r=0.5 * normal(12, count, gates * 3, 3).numpy(),
        b=0.5 * normal(13, count, 2 * gates * 3).numpy(),
        step=np.array(3, INT),
    )


for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
    for last in (True, False):
        word = "one step" if last else "all steps"
        CASES[f"{op} {word}"] = recurrence(op, gates, last=last)
        CASES[f"{op} back {word}"] = recurrence(
            op, gates, last=last, direction="reverse"
        )
        CASES[f"{op} both ways {word}"] = recurrence(
            op, gates, last=last, direction="bidirectional"
        )
    CASES[f"{op} batch first"] = recurrence(op, gates, last=False, layout=1)
CASES["GRU as torch has it"] = recurrence("GRU", 3, last=False, linear_before_reset=1)
CASES["GRU as torch, both ways"] = recurrence(
    "GRU", 3, linear_before_reset=1, direction="bidirectional"
)


def built(name):
    """A case's graph, and the shapes of a row of each of its inputs."""
    made = CASES[name]
    given = made["nodes"], made["event"], made["constants"], made["inputs"]
    graph = graph_of(*given, opset=made["opset"])
    return graph, [made["event"], *(shape for _, shape in made["inputs"])]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_rule_is_what_autograd_gives(name, rows):
    made = CASES[name]
    graph = graph_of(
        made["nodes"],
        made["event"],
        made["constants"],
        made["inputs"],
        opset=made["opset"],
    )
    shapes = [made["event"], *(shape for _, shape in made["inputs"])]
    inputs = [normal(20 + k, rows, *shape) for k, shape in enumerate(shapes)]
    sweep = compare(graph, inputs)
    assert sweep.alone == made["alone"]


RECURRENT = ("RNN", "GRU", "LSTM")
PUSHED = [
    name
    for name, made in CASES.items()
    if not made["alone"] and not any(n.op_type in RECURRENT for n in made["nodes"])
]


@pytest.mark.parametrize("name", PUSHED)
@pytest.mark.parametrize("rows", [1, 3])
def test_tangents_are_what_the_rows_say(name, rows):
    graph, shapes = built(name)
    inputs = [normal(20 + k, rows, *shape) for k, shape in enumerate(shapes)]
    _, jacobian = by_autograd(graph, inputs)
    v = normal(9, rows, 2, jacobian.shape[2])
    theirs = v @ jacobian.mT
    size = theirs.abs().max().clamp_min(1e-300)
    assert float((pushed(graph, inputs, v) - theirs).abs().max() / size) < 1e-11


def test_a_recurrence_is_not_pushed():
    graph, (event,) = built("GRU all steps")
    with pytest.raises(NotSwept, match="recurrence"):
        pushed(
            graph, [normal(1, 2, *event)], normal(9, 2, 1, torch.Size(event).numel())
        )


def test_inputs_are_pulled_back_in_parts():
    graph, shapes = built("convolutional network")
    compare(graph, [normal(1, 7, *shapes[0])], together=2)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("narrow", [1, 2, 4])
@pytest.mark.parametrize("name", CASES)
def test_more_inputs_go_through_narrow_steps_together(name, narrow, monkeypatch):
    monkeypatch.setattr(way, "_NARROW", narrow)
    graph, shapes = built(name)
    inputs = [normal(20 + k, 5, *shape) for k, shape in enumerate(shapes)]
    compare(graph, inputs, wide=1)
    if not CASES[name]["alone"]:
        compare(graph, inputs, together=4, wide=3)


def test_rows_of_the_identity_are_multiplied_once_for_all_inputs(monkeypatch):
    """Six inputs, two at a time: one product behind, and three in front."""
    shapes, pull = [], products.Weighted.pull

    def counted(self, kept, given):
        shapes.append(tuple(self.weight.shape))
        return pull(self, kept, given)

    monkeypatch.setattr(products.Weighted, "pull", counted)
    monkeypatch.setattr(way, "_NARROW", 2**20)  # no narrow stage
    graph, (event,) = built("two layers")
    compare(graph, [normal(1, 6, *event)], wide=2)
    assert shapes == [V.shape, W.shape, W.shape, W.shape]


def test_the_slope_of_swish_is_right_in_its_tails():
    """s + x s (1 − s) in high precision, to four roundings of numbers near one."""
    x = torch.tensor([-700.0, -40.0, -1.2784645, -1e-9, 0.0, 3.0, 40.0, 700.0])
    x = x.double()
    found = pointwise.PARTIALS["Swish"]([x], functional.silu(x), 0)
    with mpmath.workdps(60):
        exact = []
        for one in map(mpmath.mpf, x.tolist()):
            s = 1 / (1 + mpmath.exp(-one))
            exact.append(float(s + one * s * (1 - s)))
    apart = (found - torch.tensor(exact, dtype=torch.float64)).abs()
    assert apart.max() <= 4 * 2.0**-52


def test_a_network_of_images_ends_in_narrow_steps():
    nodes = (
        node("Conv", "x k", "a", pads=[1, 1, 1, 1]),
        node("Conv", "a c", "b", strides=[4, 4]),
        node("Flatten", "b", "f"),
        node("Gemm", "f w", "y", transB=1),
    )
    weights = {"k": (4, 1, 3, 3), "c": (2, 4, 4, 4), "w": (3, 8)}
    made = {name: normal(1, *shape).numpy() for name, shape in weights.items()}
    graph = graph_of(nodes, (1, 8, 8), made)
    sweep = compare(graph, [normal(1, 5, 1, 8, 8)], wide=2)
    assert sweep.stages == ((3, 2), (1, 0))
    assert sweep.narrow == 8


@pytest.mark.parametrize("name", ["two layers", "convolutional network", "moved"])
@pytest.mark.parametrize("pick", [[0], [2, 0]])
def test_some_rows_alone(name, pick):
    graph, (event,) = built(name)
    x = normal(1, 4, *event)
    _, theirs = by_autograd(graph, [x])
    _, _, ours = swept(graph, [x], picks=pick)
    torch.testing.assert_close(ours, theirs[:, pick], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["two layers", "convolutional network", "softmax"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_row_that_is_no_number_leaves_the_others(name, value):
    graph, (event,) = built(name)
    x = normal(1, 4, *event)
    _, whole = by_autograd(graph, [x])
    x[2] = value
    _, _, ours = swept(graph, [x])
    others = [0, 1, 3]
    torch.testing.assert_close(ours[others], whole[others], rtol=1e-11, atol=1e-12)


def test_weights_are_never_written_into():
    for name in CASES:
        graph, shapes = built(name)
        slots = [v for v in graph.plan.slots if isinstance(v, torch.Tensor)]
        before = [value.clone() for value in slots]
        for rows in (1, 3):
            inputs = [normal(20 + k, rows, *shape) for k, shape in enumerate(shapes)]
            given = [value.clone() for value in inputs]
            first = swept(graph, inputs)[2]
            assert torch.equal(first, swept(graph, inputs)[2]), name
            assert all(map(torch.equal, inputs, given)), name
        assert all(map(torch.equal, slots, before)), name


@pytest.mark.parametrize("sizes", [(30, 33), (31, 30), (29, 40)])
@pytest.mark.parametrize(("kernel", "stride"), [((7, 7), 2), ((8, 5), 3), ((9, 9), 4)])
def test_wide_strided_windows_of_a_thin_image_go_by_phases(sizes, kernel, stride):
    weight = normal(31, 6, 3, *kernel).float()
    pads, strides = [3, 2, 1, 3], [stride, stride]
    graph = graph_of(
        [node("Conv", "x w", "y", pads=pads, strides=strides)],
        (3, *sizes),
        {"w": weight.numpy()},
        kind=TensorProto.FLOAT,
    )
    x = normal(32, 2, 3, *sizes).float()
    sweep, _, ours = swept(graph, [x])
    (rule,) = sweep.rules.values()
    assert rule._phases is not None
    padded = functional.pad(x.double(), (2, 3, 3, 1)).requires_grad_()
    y = functional.conv2d(padded, weight.double(), stride=stride).flatten(1)
    for j in range(0, y.shape[1], 17):
        (whole,) = torch.autograd.grad(y[:, j].sum(), padded, retain_graph=True)
        expected = whole[:, :, 3 : 3 + sizes[0], 2 : 2 + sizes[1]].flatten(1)
        torch.testing.assert_close(ours[:, j].double(), expected, rtol=1e-5, atol=1e-6)
