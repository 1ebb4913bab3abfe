"""Random attributes against onnxruntime: what the standard's own cases do not reach.

Each operator draws a number of calls. A call that onnxruntime refuses is drawn again,
one that it runs must give the same numbers here, in every opset drawn.
"""

import os

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.ground.errors import ModelError
from audit.importer import load_graph

CALLS = int(os.environ.get("ROBAUDIT_DRAWS", "12"))
DRAWS = {}
NEWEST = 22  # of the onnxruntime that is the judge


def draw(function):
    DRAWS[function.__name__] = function
    return function


def pick(rng, *options):
    return options[rng.integers(len(options))]


def real(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def call(op, inputs, outputs=1, opset=None, **attributes):
    given = {key: value for key, value in attributes.items() if value is not None}
    return op, inputs, outputs, opset, given


def window(rng, rank):
    """Kernel, strides, pads, dilations, auto_pad that may or may not fit."""
    kernel = [int(k) for k in rng.integers(1, 4, rank)]
    auto = pick(rng, "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    strides = [int(s) for s in rng.integers(1, 4, rank)]
    if auto.startswith("SAME"):  # windows with gaps: the standard leaves them open
        strides = [min(s, k) for s, k in zip(strides, kernel, strict=True)]
    return {
        "kernel_shape": kernel,
        "strides": strides,
        "pads": [int(p) for p in rng.integers(0, 2, 2 * rank)]
        if auto == "NOTSET"
        else None,
        "dilations": [int(d) for d in rng.integers(1, 3, rank)]
        if auto in ("NOTSET", "VALID")
        else None,
        "auto_pad": auto,
    }


@draw
def max_pool(rng):
    rank = pick(rng, 1, 2, 3)
    x = real(rng, 2, 3, *rng.integers(5, 9, rank))
    more = {"ceil_mode": pick(rng, 0, 1)}
    outputs = pick(rng, 1, 2)
    if outputs == 2:
        more["storage_order"] = 0
    return call("MaxPool", [x], outputs, pick(rng, 12, 22), **window(rng, rank), **more)


@draw
def average_pool(rng):
    rank = pick(rng, 1, 2, 3)
    x = real(rng, 2, 3, *rng.integers(5, 9, rank))
    opset = pick(rng, 11, 19, 22)
    places = window(rng, rank)
    if opset < 19:
        places.pop("dilations")
    return call(
        "AveragePool",
        [x],
        opset=opset,
        **places,
        ceil_mode=pick(rng, 0, 1),
        count_include_pad=pick(rng, 0, 1),
    )


@draw
def lp_pool(rng):
    rank = pick(rng, 1, 2)
    x = real(rng, 2, 3, *rng.integers(5, 9, rank))
    return call("LpPool", [x], opset=18, **window(rng, rank), p=pick(rng, 1, 2, 3))


@draw
def conv(rng):
    rank, groups = pick(rng, 1, 2, 3), pick(rng, 1, 2)
    places = window(rng, rank)
    x = real(rng, 2, 2 * groups, *rng.integers(5, 9, rank))
    w = real(rng, 4, 2, *places["kernel_shape"])
    inputs = [x, w, real(rng, 4)] if rng.random() < 0.5 else [x, w]
    return call("Conv", inputs, opset=pick(rng, 11, 22), group=groups, **places)


@draw
def conv_transpose(rng):
    rank, groups = pick(rng, 1, 2), pick(rng, 1, 2)
    places = window(rng, rank)
    x = real(rng, 2, 2 * groups, *rng.integers(3, 6, rank))
    w = real(rng, 2 * groups, 3, *places["kernel_shape"])
    inputs = [x, w, real(rng, 3 * groups)] if rng.random() < 0.5 else [x, w]
    more = None
    if places["auto_pad"] == "NOTSET":
        more = [int(rng.integers(0, s)) for s in places["strides"]]
    return call(
        "ConvTranspose", inputs, opset=11, group=groups, output_padding=more, **places
    )


@draw
def resize(rng):
    mode = pick(rng, "nearest", "linear", "cubic")
    x = real(rng, 1, 2, *rng.integers(4, 8, 2))
    scales = np.array([1, 1, *rng.choice([0.5, 0.75, 1.5, 2.0, 3.0], 2)], np.float32)
    how = pick(rng, "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    exclude = pick(rng, 0, 1) if mode == "cubic" else 0
    nearest = pick(rng, "round_prefer_floor", "floor", "ceil", "round_prefer_ceil")
    if rng.random() < 0.5:
        sizes = np.array([1, 2, *(np.array(x.shape[2:]) * scales[2:]).astype(int)])
        inputs = [x, None, None, sizes.astype(np.int64)]
    else:
        inputs = [x, None, scales]
    return call(
        "Resize",
        inputs,
        opset=pick(rng, 13, 18, 19),
        mode=mode,
        coordinate_transformation_mode=how,
        nearest_mode=nearest if mode == "nearest" else None,
        exclude_outside=exclude,
        cubic_coeff_a=pick(rng, -0.5, -0.75) if mode == "cubic" else None,
    )


@draw
def upsample(rng):
    scales = np.array([1, 1, *rng.choice([1.0, 2.0, 3.0], 2)], np.float32)
    mode = pick(rng, "nearest", "linear")
    return call("Upsample", [real(rng, 1, 2, 3, 4), scales], opset=9, mode=mode)


@draw
def pad(rng):
    x = real(rng, 3, 4, 5)
    mode = pick(rng, "constant", "reflect", "edge", "wrap")
    pads = rng.integers(-1 if mode == "constant" else 0, 3, 6)
    inputs = [x, pads]
    if mode == "constant" and rng.random() < 0.5:
        inputs.append(np.float32(0.7))
    return call("Pad", inputs, opset=19, mode=mode)


@draw
def slice_(rng):
    rank = pick(rng, 1, 2, 3)
    x = real(rng, *rng.integers(3, 8, rank))
    axes = rng.permutation(rank)[: rng.integers(1, rank + 1)]
    ends = [pick(rng, -9, -2, 0, 3, 9, 2**62, -(2**62)) for _ in axes]
    starts = [pick(rng, -9, -3, -1, 0, 1, 5, 9) for _ in axes]
    steps = [pick(rng, -3, -2, -1, 1, 2, 3) for _ in axes]
    arrays = [np.array(v, np.int64) for v in (starts, ends, axes, steps)]
    return call("Slice", [x, *arrays], opset=13)


@draw
def reduce(rng):
    op = pick(
        rng, "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd",
        "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare",
    )  # fmt: skip
    x = real(rng, 3, 4, 5)
    axes = [int(a) for a in rng.permutation(3)[: rng.integers(0, 4)]]
    keep = pick(rng, 0, 1)
    opset = pick(rng, 11, 18)
    if opset == 18 or op == "ReduceSum":
        inputs = [x, np.array(axes, np.int64)] if axes else [x]
        return call(
            op, inputs, opset=18, keepdims=keep, noop_with_empty_axes=pick(rng, 0, 1)
        )
    return call(op, [x], opset=opset, axes=axes or None, keepdims=keep)


@draw
def arg_extreme(rng):
    return call(
        pick(rng, "ArgMax", "ArgMin"),
        [rng.integers(0, 3, (4, 5)).astype(np.float32)],
        opset=13,
        axis=pick(rng, -1, 0, 1),
        keepdims=pick(rng, 0, 1),
        select_last_index=pick(rng, 0, 1),
    )


@draw
def top_k(rng):
    x = rng.integers(0, 6, (4, 7)).astype(np.float32)  # with ties
    return call(
        "TopK",
        [x, np.array([3])],
        2,
        11,
        axis=pick(rng, 0, 1, -1),
        largest=pick(rng, 0, 1),
    )


@draw
def gather(rng):
    index = rng.integers(-3, 3, rng.integers(1, 4, pick(rng, 0, 1, 2)))
    axis = pick(rng, 0, 1, -1)
    return call("Gather", [real(rng, 3, 4, 3), index], opset=13, axis=axis)


@draw
def gather_elements(rng):
    index = rng.integers(-3, 3, (2, 3, 2))
    axis = pick(rng, 0, 2, -1)
    return call("GatherElements", [real(rng, 3, 4, 3), index], opset=13, axis=axis)


@draw
def gather_nd(rng):
    batch, depth = pick(rng, 0, 1), pick(rng, 1, 2)
    index = rng.integers(-2, 2, (2, 3, depth) if batch else (4, depth))
    return call("GatherND", [real(rng, 2, 3, 4), index], opset=13, batch_dims=batch)


@draw
def scatter_elements(rng):
    axis = pick(rng, 0, 1)
    index = np.stack([rng.permutation(4)[:3] for _ in range(3)], 1 - axis)
    reduction = pick(rng, "none", "add", "mul", "max", "min")
    inputs = [real(rng, 4, 4), index, real(rng, 3, 3)]
    return call("ScatterElements", inputs, opset=18, axis=axis, reduction=reduction)


@draw
def scatter_nd(rng):
    index = np.stack([rng.permutation(4)[:2], rng.permutation(4)[:2]], -1)
    reduction = pick(rng, "none", "add", "mul", "max", "min")
    inputs = [real(rng, 4, 4, 2), index, real(rng, 2, 2)]
    return call("ScatterND", inputs, opset=18, reduction=reduction)


@draw
def softmax(rng):
    op, axis = pick(rng, "Softmax", "LogSoftmax", "Hardmax"), pick(rng, -1, 0, 1, 2)
    return call(op, [real(rng, 3, 4, 5)], opset=pick(rng, 11, 13), axis=axis)


@draw
def gemm(rng):
    ta, tb = pick(rng, 0, 1), pick(rng, 0, 1)
    a = real(rng, *((4, 3) if ta else (3, 4)))
    b = real(rng, *((5, 4) if tb else (4, 5)))
    c = pick(rng, real(rng, 5), real(rng, 3, 1), real(rng, 3, 5), real(rng, 1), None)
    return call(
        "Gemm",
        [a, b] if c is None else [a, b, c],
        opset=pick(rng, 11, 13),
        transA=ta,
        transB=tb,
        alpha=pick(rng, 1.0, 0.5),
        beta=pick(rng, 1.0, 2.0),
    )


@draw
def cum_sum(rng):
    return call(
        "CumSum",
        [real(rng, 3, 4), np.array(pick(rng, 0, 1, -1))],
        opset=14,
        exclusive=pick(rng, 0, 1),
        reverse=pick(rng, 0, 1),
    )


@draw
def one_hot(rng):
    inputs = [rng.integers(-6, 6, (2, 3)), np.array(4), np.float32([0.5, 2.0])]
    return call("OneHot", inputs, opset=11, axis=pick(rng, -1, 0, 1, 2))


@draw
def integer_division(rng):
    a, b = rng.integers(-9, 9, (3, 4)), pick(rng, -3, -2, 2, 3)
    op = pick(rng, "Div", "Mod")
    return call(op, [a, np.array(b)], opset=13)


@draw
def float_mod(rng):
    return call("Mod", [real(rng, 3, 4) * 5, real(rng, 4)], opset=13, fmod=1)


@draw
def normalisation(rng):
    x = real(rng, 2, 6, 4)
    op = pick(
        rng, "InstanceNormalization", "LRN", "LpNormalization", "LayerNormalization"
    )
    if op == "InstanceNormalization":
        return call(op, [x, real(rng, 6), real(rng, 6)], opset=17, epsilon=1e-3)
    if op == "LRN":
        x = real(rng, 2, 6, 4, 4)
        return call(
            op, [x], opset=13, size=pick(rng, 3, 5), alpha=0.3, beta=0.6, bias=1.5
        )
    if op == "LpNormalization":
        return call(op, [x], opset=17, p=pick(rng, 1, 2), axis=pick(rng, -1, 0, 1))
    axis = pick(rng, -1, 1)
    shape = x.shape[axis:]
    return call(
        op, [x, real(rng, *shape), real(rng, *shape)], pick(rng, 1, 3), 17, axis=axis
    )


@draw
def grid_sample(rng):
    grid = (rng.random((2, 3, 4, 2)) * 2.6 - 1.3).astype(np.float32)
    return call(
        "GridSample",
        [real(rng, 2, 3, 5, 6), grid],
        opset=20,
        mode=pick(rng, "linear", "nearest", "cubic"),
        padding_mode=pick(rng, "zeros", "border", "reflection"),
        align_corners=pick(rng, 0, 1),
    )


def recurrent(rng, op, gates, biases):
    hidden, features, steps, batch = 3, 2, 4, 3
    both = pick(rng, "forward", "reverse", "bidirectional")
    d = 2 if both == "bidirectional" else 1
    lengths = rng.integers(1, steps + 1, batch).astype(np.int32)
    state = real(rng, d, batch, hidden)
    inputs = [
        real(rng, steps, batch, features),
        real(rng, d, gates * hidden, features),
        real(rng, d, gates * hidden, hidden),
        real(rng, d, 2 * gates * hidden) if rng.random() < 0.7 else None,
        lengths if rng.random() < 0.5 else None,
        state if rng.random() < 0.5 else None,
    ]
    clip = pick(rng, None, 0.4)
    return inputs, {"direction": both, "hidden_size": hidden, "clip": clip}, d


@draw
def rnn(rng):
    inputs, attributes, d = recurrent(rng, "RNN", 1, 2)
    names = pick(rng, None, ["Relu"] * d, ["Sigmoid"] * d)
    return call("RNN", inputs, 2, 14, activations=names, **attributes)


@draw
def gru(rng):
    inputs, attributes, d = recurrent(rng, "GRU", 3, 6)
    names = pick(rng, None, ["HardSigmoid", "Softsign"] * d)
    linear = pick(rng, 0, 1)
    return call(
        "GRU",
        inputs,
        2,
        14,
        activations=names,
        linear_before_reset=linear,
        **attributes,
    )


@draw
def lstm(rng):
    inputs, attributes, d = recurrent(rng, "LSTM", 4, 8)
    cell = real(rng, d, 3, 3) if rng.random() < 0.5 else None
    peepholes = real(rng, d, 9) if rng.random() < 0.5 else None
    names = pick(rng, None, ["HardSigmoid", "Softsign", "Tanh"] * d)
    coupled = pick(rng, 0, 0, 1)
    return call(
        "LSTM",
        [*inputs, cell, peepholes],
        3,
        14,
        activations=names,
        input_forget=coupled,
        **attributes,
    )


@draw
def activation(rng):
    alpha = float(rng.random() + 0.2)
    x = real(rng, 3, 4) * 3
    return pick(
        rng,
        call("Elu", [x], opset=6, alpha=alpha),
        call("Celu", [x], opset=12, alpha=alpha),
        call("Selu", [x], opset=6),
        call("LeakyRelu", [x], opset=16, alpha=alpha),
        call("ThresholdedRelu", [x], opset=10, alpha=alpha),
        call("HardSigmoid", [x], opset=6, alpha=alpha, beta=0.3),
        call("HardSwish", [x], opset=14),
        call("Mish", [x], opset=18),
        call("Gelu", [x], opset=20, approximate=pick(rng, "none", "tanh")),
        call("Shrink", [x], opset=9, bias=alpha, lambd=0.7),
        call("Softplus", [x * 20], opset=1 + 10),
        call("PRelu", [x, real(rng, 4)], opset=16),
        call("Clip", [x, np.float32(-0.5), np.float32(alpha)], opset=13),
        call("Round", [np.round(x * 2) / 2], opset=11),
    )


@draw
def layout(rng):
    x = real(rng, 2, 8, 2, 4)
    return pick(
        rng,
        call("DepthToSpace", [x], opset=13, blocksize=2, mode=pick(rng, "DCR", "CRD")),
        call("SpaceToDepth", [x], opset=13, blocksize=2),
        call("Flatten", [x], opset=13, axis=pick(rng, 0, 1, 2, 4, -1, -3)),
        call("Transpose", [x], opset=13),
        call("Tile", [x, np.array([1, 2, 1, 3])], opset=13),
        call("Trilu", [x, np.array(pick(rng, -2, -1, 0, 1))], opset=14, upper=0),
        call("Unsqueeze", [x, np.array([pick(rng, 0, 2, -1), 1])], opset=13),
        call(
            "ReverseSequence",
            [real(rng, 4, 3), np.array([1, 2, 4])],
            opset=10,
            time_axis=0,
            batch_axis=1,
        ),
        call("Split", [x, np.array([3, 5])], 2, 13, axis=1),
        call(
            "EyeLike",
            [real(rng, 3, 4)],
            opset=9,
            k=pick(rng, -1, 0, 2),
            dtype=TensorProto.FLOAT,
        ),
        call("Einsum", [real(rng, 2, 3), real(rng, 3, 4)], opset=12, equation="ij, jk"),
        call("Compress", [x, np.array([True, False])], opset=11, axis=0),
    )


def build(drawn, dynamic):
    """A model of one call; its inputs are graph inputs, or constants but the first."""
    op, inputs, outputs, opset, attributes = drawn
    names = [f"i{k}" if value is not None else "" for k, value in enumerate(inputs)]
    made = [f"o{k}" for k in range(outputs)]
    given = {n: np.asarray(v) for n, v in zip(names, inputs, strict=True) if n}
    fed = given if dynamic else {"i0": given["i0"]}
    graph = helper.make_graph(
        [helper.make_node(op, names, made, **attributes)],
        "one",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in fed.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in made],
        [numpy_helper.from_array(v, n) for n, v in given.items() if n not in fed],
    )
    imports = [helper.make_opsetid("", opset or 17)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8), fed


def judged(proto, fed):
    """onnxruntime's answer, or None when it refuses the call."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
        return session.run(None, fed)
    except Exception:
        return None


@pytest.mark.parametrize("name", DRAWS)
def test_same_numbers_as_onnxruntime(name):
    rng = np.random.default_rng(sorted(DRAWS).index(name))
    judged_calls = 0
    for _ in range(CALLS):
        drawn = DRAWS[name](rng)
        proto, fed = build(drawn, dynamic=rng.random() < 0.5)
        expected = judged(proto, fed)
        if expected is None:
            continue
        judged_calls += 1
        try:
            graph = load_graph(proto)
            got = graph(
                *(torch.from_numpy(np.array(fed[n])) for n in graph.input_names)
            )
        except ModelError as error:
            raise AssertionError(f"{drawn[0]} {drawn[4]}: {error}") from error
        for place, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
            words = f"{drawn[0]}-{drawn[3]} output {place}, {drawn[4]}"
            assert tuple(ours.shape) == theirs.shape, words
            np.testing.assert_allclose(
                ours.numpy(), theirs, rtol=1e-4, atol=1e-5, err_msg=words
            )
    assert judged_calls >= CALLS // 6, "onnxruntime refused nearly every call"


HELD = {"Resize": ("i1", "i2"), "Upsample": ("i1",), "OneHot": ("i0", "i1")}


def slope_and_differences(graph, values, free):
    """A directional derivative by reverse mode, and by central differences."""
    generator = torch.Generator().manual_seed(0)

    def noise(x):
        return torch.randn(x.shape, dtype=x.dtype, generator=generator)

    ways = {place: noise(values[place]) for place in free}

    def run(fed):
        return [out for out in graph(*fed) if out.is_floating_point()]

    def moved(step):
        return [
            x + step * ways[place] if place in ways else x
            for place, x in enumerate(values)
        ]

    leaves = [
        x.clone().requires_grad_() if place in ways else x
        for place, x in enumerate(values)
    ]
    outs = run(leaves)
    weights = [noise(out) for out in outs]

    def weigh(found):
        return sum((out * w).sum() for out, w in zip(found, weights, strict=True))

    total, slope = weigh(outs), 0.0
    if isinstance(total, torch.Tensor) and total.requires_grad:
        sources = [leaves[place] for place in ways]
        grads = torch.autograd.grad(total, sources, allow_unused=True)
        pairs = zip(grads, ways.values(), strict=True)
        slope = sum(float((g * v).sum()) for g, v in pairs if g is not None)
    found = [
        float(weigh(run(moved(h))) - weigh(run(moved(-h)))) / (2 * h)
        for h in (1e-5, 1e-6)
    ]
    return slope, found


@pytest.mark.parametrize("name", DRAWS)
def test_derivative_equals_differences(name):
    rng = np.random.default_rng(100 + sorted(DRAWS).index(name))
    for _ in range(max(CALLS // 3, 1)):
        drawn = DRAWS[name](rng)
        proto, fed = build(drawn, dynamic=True)
        if judged(proto, fed) is None:
            continue
        graph = load_graph(proto, dtype=torch.float64)
        values = [torch.from_numpy(np.array(fed[n])) for n in graph.input_names]
        values = [x.double() if x.is_floating_point() else x for x in values]
        free = [
            place
            for place, label in enumerate(graph.input_names)
            if values[place].is_floating_point() and label not in HELD.get(drawn[0], ())
        ]
        slope, found = slope_and_differences(graph, values, free)
        close = min(abs(slope - value) for value in found)
        if close > 1e-4 * abs(slope) + 1e-6:  # on a kink? then beside it
            values = [
                x + 1e-3 * torch.randn_like(x) if place in free else x
                for place, x in enumerate(values)
            ]
            slope, found = slope_and_differences(graph, values, free)
            close = min(abs(slope - value) for value in found)
        assert close <= 1e-4 * abs(slope) + 1e-6, (drawn[0], drawn[4], slope, found)
