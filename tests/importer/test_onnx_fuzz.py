"""Files that were damaged, or made to do harm: an error with words, soon, or a result.

    python -m tests.importer.test_onnx_fuzz --files 20000

runs as many as one likes; the suite runs some. Small seed models are changed in their
bytes or in their meaning (sizes, types, names, attributes, cycles, trip counts), loaded
and called once, in a child process whose address space may grow by 1 GiB and no more: a
file that asks for less, again and again, is refused like any other; one that asks for
more than that at once is a fault, and so are other exceptions and over ten seconds.
Every file has a number that makes it again: `--first 123 --files 1 --keep folder`.
"""

import argparse
import collections
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from audit.ground.errors import AuditError, ModelError, UnsupportedOperator
from audit.importer import load_graph
from audit.importer.values import from_numpy

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MEMORY = 10, 1 << 30
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
MICROSOFT, ML, LOCAL = "com.microsoft", "ai.onnx.ml", "local"

# --- seeds ----------------------------------------------------------------------------


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def value(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(nodes, shape, outputs, opset=18, functions=(), **constants):
    """A model of one input x of the given shape, with a free first axis."""
    initializers = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in constants.items()
    ]
    graph = helper.make_graph(
        nodes,
        "seed",
        [value("x", shape=["n", *shape[1:]])],
        [value(name) for name in outputs.split()],
        initializers,
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(d, 1) for d in (MICROSOFT, ML, LOCAL)]
    return helper.make_model(
        graph, opset_imports=imports, ir_version=8, functions=list(functions)
    )


def dense():
    nodes = [
        node("Gemm", "x w b", "h1", transB=1, alpha=0.5),
        node("LayerNormalization", "h1 g b", "h2"),
        node("Relu", "h2", "h3"),
        node("MatMul", "h3 v", "h4"),
        node("Softmax", "h4", "h5", axis=-1),
        node("Clip", "h5 lo hi", "h6"),
        node("ReduceSum", "h6 axes", "s", keepdims=1),
        node("Pow", "h6 two", "h7"),
        node("Einsum", "h7 v", "h8", equation="bi,ji->bj"),
        node("Div", "h8 s", "y"),
    ]
    return model(
        nodes, (2, 3), "y",
        w=numbers(4, 3), b=numbers(4), g=numbers(4), v=numbers(4, 4),
        lo=np.float32(0), hi=np.float32(0.9), axes=np.array([1]), two=np.float32(2),
    )  # fmt: skip


def image():
    nodes = [
        node("Conv", "x w b", "h1", pads=[1, 1, 1, 1], strides=[1, 1], group=1),
        node("BatchNormalization", "h1 b b v v", "h2", epsilon=1e-3),
        node("MaxPool", "h2", "h3", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "h3", "h4", kernel_shape=[2, 2], pads=[1, 0, 1, 0]),
        node("ConvTranspose", "h4 t", "h5", strides=[2, 2], output_padding=[1, 1]),
        node("Pad", "h5 p", "h6", mode="reflect"),
        node("Resize", "h6  f", "h7", mode="linear"),
        node("DepthToSpace", "x", "d", blocksize=1),
        node("GlobalAveragePool", "h7", "h8"),
        node("Flatten", "h8", "y", axis=1),
        node("LRN", "d", "z", size=3),
    ]
    nodes[6].input[:] = ["h6", "", "f"]
    return model(
        nodes, (2, 1, 6, 6), "y z",
        w=numbers(2, 1, 3, 3), b=numbers(2), v=np.ones(2, np.float32),
        t=numbers(2, 2, 2, 2), p=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        f=np.float32([1, 1, 1.5, 2]),
    )  # fmt: skip


def recurrent():
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("GRU", "t gw gr gb", "g gh", hidden_size=4, linear_before_reset=1),
        node("LSTM", "t lw lr", "l lh lc", hidden_size=4, direction="bidirectional"),
        node("RNN", "t rw rr", "r", hidden_size=4, activations=["Tanh"]),
        node("Squeeze", "g one", "gs"),
        node("ReduceMean", "l", "lm", axes=[0, 1], keepdims=0),
        node("Concat", "gs r0", "y", axis=0),
        node("Squeeze", "r one", "r0"),
    ]
    return model(
        nodes, (2, 3, 2), "y lm", opset=17,
        gw=numbers(1, 12, 2), gr=numbers(1, 12, 4), gb=numbers(1, 24),
        lw=numbers(2, 16, 2), lr=numbers(2, 16, 4),
        rw=numbers(1, 4, 2), rr=numbers(1, 4, 4), one=np.array([1]),
    )  # fmt: skip


def shapes():
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n zeros", "n1"),
        node("Concat", "n1 rest", "t", axis=0),
        node("Reshape", "x t", "r"),
        node("Tile", "r reps", "tiled"),
        node("Slice", "tiled zeros ends ones", "cut"),
        node("ConstantOfShape", "s", "c", value=numpy_helper.from_array(numbers(1))),
        node("Expand", "c reps", "e"),
        node("Range", "zero n one", "i"),
        node("OneHot", "i depth pair", "hot", axis=-1),
        node("TopK", "x ones", "top where", axis=1),
        node("GatherElements", "x where", "picked", axis=1),
        node("CumSum", "x one", "cs", reverse=1),
        node("ScatterND", "cs places updates", "sc"),
        node("Split", "sc", "sa sb", axis=1, num_outputs=2),
        node("Where", "mask sa sb", "wh"),
        node("Less", "sa sb", "mask"),
        node("NonZero", "mask", "nz"),
        node("Trilu", "x", "tri", upper=0),
        node("EyeLike", "x", "eye"),
        node("Cast", "hot", "hf", to=FLOAT),
    ]
    return model(
        nodes, (2, 4), "cut e hf picked wh nz tri eye",
        zero=np.array(0), one=np.array(1), zeros=np.array([0]), ones=np.array([1]),
        rest=np.array([2, -1]), reps=np.array([1, 2, 1]), ends=np.array([1]),
        depth=np.array([5]), pair=np.float32([0, 1]),
        places=np.array([[0], [1]]), updates=numbers(2, 4),
    )  # fmt: skip


def control():
    kinds = [value("i", INT64, ()), value("on", BOOL, ()), value("h")]
    keep = node("Identity", "on", "still")
    steps = helper.make_graph(
        [keep, node("Mul", "h x", "h2"), node("Sin", "h2", "seen")],
        "steps",
        kinds,
        [value("still", BOOL, ()), value("h2"), value("seen")],
    )
    sweep = helper.make_graph(
        [node("Add", "state part", "sum"), node("Neg", "sum", "out")],
        "sweep",
        [value("state"), value("part")],
        [value("sum"), value("out")],
    )
    sides = [
        helper.make_graph([node(op, "x", f"out_{op}")], op, [], [value(f"out_{op}")])
        for op in ("Exp", "Abs")
    ]
    nodes = [
        node("Loop", "trips yes x", "looped all", body=steps),
        node("Scan", "state looped", "last parts", body=sweep, num_scan_inputs=1),
        node("ReduceMax", "last", "top", keepdims=0),
        node("Greater", "top zero", "big"),
        node("If", "big", "y", then_branch=sides[0], else_branch=sides[1]),
    ]
    return model(
        nodes, (2, 3), "y all parts",
        trips=np.array(3), yes=np.array(True), zero=np.float32(0), state=numbers(3),
    )  # fmt: skip


def functions():
    version = [helper.make_opsetid("", 18), helper.make_opsetid(LOCAL, 1)]
    constant = helper.make_node("Constant", [], ["k"])
    reference = constant.attribute.add()
    reference.name, reference.ref_attr_name = "value_float", "factor"
    reference.type = AttributeProto.FLOAT
    body = [constant, node("Mul", "a k", "b")]
    scale = helper.make_function(
        LOCAL, "Scale", ["a"], ["b"], body, version, ["factor"]
    )
    calls = [
        node("Scale", "p", "h", domain=LOCAL, factor=2.0),
        node("Scale", "h", "q", domain=LOCAL, factor=3.0),
    ]
    twice = helper.make_function(LOCAL, "Twice", ["p"], ["q"], calls, version)
    nodes = [
        node("Twice", "x", "h", domain=LOCAL),
        node("Twice", "h", "h2", domain=LOCAL),
        node("MeanVarianceNormalization", "h2", "m", axes=[0, 1]),
        node("Celu", "m", "y"),
    ]
    return model(nodes, (2, 3), "y", functions=[scale, twice])


def quantised():
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("QLinearMatMul", "q s z w s z s z", "m"),
        node("MatMulInteger", "q w z z", "mi"),
        node("DynamicQuantizeLinear", "d", "dq ds dz"),
        node("DequantizeLinear", "m s z", "y"),
        node("Cast", "mi", "c", to=TensorProto.FLOAT16),
        node("BitShift", "w w", "shifted", direction="LEFT"),
    ]
    return model(
        nodes, (2, 4), "y c dq shifted",
        s=np.float32(0.1), z=np.uint8(3),
        w=np.arange(16, dtype=np.uint8).reshape(4, 4),
    )  # fmt: skip


def sequences():
    nodes = [
        node("SplitToSequence", "x one", "parts", axis=1, keepdims=1),
        node("SequenceInsert", "parts x", "more"),
        node("SequenceErase", "more first", "less"),
        node("SequenceAt", "less first", "part"),
        node("SequenceLength", "less", "count"),
        node("ConcatFromSequence", "parts", "joined", axis=1, new_axis=0),
        node("Optional", "joined", "maybe"),
        node("OptionalGetElement", "maybe", "y"),
    ]
    return model(nodes, (2, 3), "y part count", one=np.array(1), first=np.array(0))


def learned():
    nodes = [
        node("Scaler", "x", "s", domain=ML, offset=[1.0, 0.0, 0.0], scale=[2.0]),
        node(
            "LinearRegressor", "s", "l",
            domain=ML, coefficients=[1.0, 2.0, 3.0], intercepts=[0.5], targets=1,
        ),
        node(
            "TreeEnsembleRegressor", "s", "t", domain=ML,
            n_targets=1, nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2],
            nodes_featureids=[0, 0, 0], nodes_values=[0.5, 0.0, 0.0],
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
            nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
            target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0],
            target_weights=[1.0, 2.0],
        ),
        node(
            "SVMRegressor", "s", "v", domain=ML, kernel_type="RBF",
            kernel_params=[0.5, 0.0, 3.0], n_supports=2, rho=[0.1],
            support_vectors=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], coefficients=[1.0, -1.0],
        ),
        node(
            "LinearClassifier", "s", "c p", domain=ML, classlabels_ints=[0, 1],
            coefficients=[1.0, 2.0, 3.0, 3.0, 2.0, 1.0], intercepts=[0.0, 1.0],
            post_transform="SOFTMAX",
        ),
        node("ZipMap", "p", "maps", domain=ML, classlabels_int64s=[0, 1]),
        node("Normalizer", "p", "n", domain=ML, norm="L2"),
    ]  # fmt: skip
    return model(nodes, (2, 3), "l t v n maps")


def fused():
    nodes = [
        node("FusedMatMul", "x w", "h", domain=MICROSOFT, transB=1, alpha=0.5),
        node("BiasGelu", "h b", "g", domain=MICROSOFT),
        node("SkipLayerNormalization", "g g b b", "sk", domain=MICROSOFT),
        node("Attention", "sk aw ab", "a", domain=MICROSOFT, num_heads=2),
        node("DFT", "u", "f", axis=1, onesided=1),
        node("Unsqueeze", "a last", "u0"),
        node("Slice", "u0 z e last3", "u"),
        node("GridSample", "im grid", "gs", mode="bilinear"),
        node("ReduceL2", "a", "y", keepdims=0),
    ]
    return model(
        nodes, (2, 3, 4), "y f gs", opset=17,
        w=numbers(4, 4), b=numbers(4), aw=numbers(4, 12), ab=numbers(12),
        last=np.array([3]), z=np.array([0]), e=np.array([1]), last3=np.array([2]),
        im=numbers(1, 1, 4, 4), grid=numbers(1, 2, 2, 2),
    )  # fmt: skip


SEEDS = {
    "dense": (dense, (2, 3)),
    "image": (image, (2, 1, 6, 6)),
    "recurrent": (recurrent, (2, 3, 2)),
    "shapes": (shapes, (2, 4)),
    "control": (control, (2, 3)),
    "functions": (functions, (2, 3)),
    "quantised": (quantised, (2, 4)),
    "sequences": (sequences, (2, 3)),
    "learned": (learned, (2, 3)),
    "fused": (fused, (2, 3, 4)),
}

# --- mutations ------------------------------------------------------------------------

INTEGERS = [0, 1, -1, 2, 3, 7, -3, 64, 4096, 2**20, 2**24, 2**27, 2**31 - 1, -(2**31)]
INTEGERS += [2**31, 2**40, 2**62, 2**63 - 1, -(2**63)]
REALS = [0.0, -1.0, 1e30, -1e30, float("inf"), float("nan"), 0.5, 1e-40, 3e38]
STRINGS = [b"", b"nonsense", b"\xff\xfe", b"linear", b"reverse", b"x" * 1000, b"bi,bi"]
TYPES = [*range(-1, 30), 99, 2**30]
KINDS = list(AttributeProto.AttributeType.values())


def graphs_of(proto):
    """Every graph and function in a model, nested ones too."""
    found, waiting = [], [proto.graph, *proto.functions]
    while waiting:
        here = waiting.pop()
        found.append(here)
        for item in here.node:
            waiting += [a.g for a in item.attribute if a.type == AttributeProto.GRAPH]
    return found


def tensors_of(proto):
    found = list(proto.graph.initializer)
    for here in graphs_of(proto):
        for item in here.node:
            found += [a.t for a in item.attribute if a.type == AttributeProto.TENSOR]
    return found


def a_node(proto, rng):
    here = [graph for graph in graphs_of(proto) if graph.node]
    return rng.choice(list(rng.choice(here).node)) if here else NodeProto()


NodeProto = onnx.NodeProto


def names_of(proto):
    names = ["", "x", "nothing"]
    for here in graphs_of(proto):
        for item in here.node:
            names += [*item.input, *item.output]
    return names + [tensor.name for tensor in proto.graph.initializer]


def some(rng, values, at_most=5):
    return [rng.choice(values) for _ in range(rng.randrange(at_most))]


def change_dims(proto, rng):
    """A tensor that lies about its shape, in part or altogether."""
    tensors = tensors_of(proto)
    if not tensors:
        return
    tensor = rng.choice(tensors)
    if tensor.dims and rng.random() < 0.5:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(INTEGERS)
    else:
        tensor.dims[:] = some(rng, INTEGERS)


def change_type(proto, rng):
    tensors = tensors_of(proto)
    if tensors and rng.random() < 0.6:
        rng.choice(tensors).data_type = rng.choice(TYPES)
    else:
        info = rng.choice([*proto.graph.input, *proto.graph.output])
        info.type.tensor_type.elem_type = rng.choice(TYPES)


def change_content(proto, rng):
    """Other numbers in a tensor, in the right amount: shapes, indices, trip counts."""
    tensors = [tensor for tensor in tensors_of(proto) if tensor.raw_data]
    if not tensors:
        return
    tensor = rng.choice(tensors)
    try:
        array = numpy_helper.to_array(tensor).copy()
    except Exception:
        return
    pool = REALS if array.dtype.kind == "f" else INTEGERS
    flat = array.reshape(-1)
    for _ in range(rng.choice([1, 1, 3])):
        if flat.size:
            with np.errstate(all="ignore"):
                flat[rng.randrange(flat.size)] = np.array(rng.choice(pool)).astype(
                    array.dtype
                )
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def replace_constant(proto, rng):
    """An honest tensor of another shape and type in the place of one."""
    if not proto.graph.initializer:
        return
    tensor = rng.choice(list(proto.graph.initializer))
    kind = rng.choice([np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])
    shape = [rng.choice([0, 1, 2, 3, 5]) for _ in range(rng.randrange(5))]
    small = rng.choice([1, 3, 2**20, 2**40])
    if np.dtype(kind).kind == "f":
        array = np.full(shape, rng.choice(REALS), kind)
    else:
        array = np.full(shape, small, np.int64).astype(kind)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def change_size(proto, rng):
    """Fewer or more bytes than the shape says."""
    tensors = tensors_of(proto)
    if tensors:
        tensor = rng.choice(tensors)
        data = tensor.raw_data
        cut = rng.randrange(len(data) + 1)
        tensor.raw_data = rng.choice([data[:cut], data + b"\0" * 8, data * 3, b""])


def move_outside(proto, rng):
    if not proto.graph.initializer:
        return
    tensor = rng.choice(list(proto.graph.initializer))
    tensor.data_location = TensorProto.EXTERNAL
    entries = {
        "location": rng.choice(["/etc/passwd", "../x", "", "weights.bin", ".", "a\0b"]),
        "offset": str(rng.choice([*INTEGERS, "x", "1e9"])),
        "length": str(rng.choice([*INTEGERS, ""])),
    }
    for key, text in entries.items():
        if rng.random() < 0.8:
            tensor.external_data.add(key=key, value=text)


def make_sparse(proto, rng):
    if not proto.graph.initializer:
        return
    tensor = proto.graph.initializer.pop()
    sparse = proto.graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor)
    places = np.array(some(rng, INTEGERS), np.int64)
    sparse.indices.CopyFrom(numpy_helper.from_array(places))
    sparse.dims[:] = some(rng, INTEGERS)


def rewire(proto, rng):
    item, names = a_node(proto, rng), names_of(proto)
    side = rng.choice([item.input, item.output])
    if side:
        side[rng.randrange(len(side))] = rng.choice(names)


def make_cycle(proto, rng):
    """The first node reads what the last one makes."""
    nodes = rng.choice(graphs_of(proto)).node
    if nodes and nodes[0].input and nodes[-1].output:
        nodes[0].input[0] = nodes[-1].output[0]


def change_arity(proto, rng):
    item, names = a_node(proto, rng), names_of(proto)
    side = rng.choice([item.input, item.output])
    if side and rng.random() < 0.5:
        del side[rng.randrange(len(side))]
    else:
        side.extend(some(rng, names))


def change_op(proto, rng):
    item = a_node(proto, rng)
    item.op_type = rng.choice(OPERATORS)
    if rng.random() < 0.3:
        item.domain = rng.choice(["", ML, MICROSOFT, LOCAL, "made.up", "ai.onnx"])


def change_attribute(proto, rng):
    items = [i for here in graphs_of(proto) for i in here.node if i.attribute]
    if not items:
        return
    item = rng.choice(rng.choice(items).attribute)
    kind = rng.randrange(6)
    if kind == 0:
        item.i = rng.choice(INTEGERS)
    elif kind == 1 and item.ints:
        item.ints[rng.randrange(len(item.ints))] = rng.choice(INTEGERS)
    elif kind == 2:
        item.ints[:] = some(rng, INTEGERS)
        item.floats[:] = some(rng, REALS)
    elif kind == 3:
        item.f, item.s = rng.choice(REALS), rng.choice(STRINGS)
        item.strings[:] = some(rng, STRINGS)
    elif kind == 4:
        item.type = rng.choice(KINDS)
    else:
        item.name = rng.choice(ATTRIBUTES)


def add_attribute(proto, rng):
    item, name = a_node(proto, rng), rng.choice(ATTRIBUTES)
    pool = rng.choice([INTEGERS, REALS, STRINGS])
    held = rng.choice(pool) if rng.random() < 0.6 else some(rng, pool) or [pool[0]]
    item.attribute.append(helper.make_attribute(name, held))


def remove(proto, rng):
    here = rng.choice(graphs_of(proto))
    choices = [here.node, here.output, here.input]
    if isinstance(here, onnx.GraphProto):
        choices.append(here.initializer)
    items = rng.choice(choices)
    if items:
        del items[rng.randrange(len(items))]


def repeat(proto, rng):
    here = rng.choice(graphs_of(proto))
    if here.node:
        here.node.add().CopyFrom(rng.choice(list(here.node)))


def rename(proto, rng):
    info = rng.choice([*proto.graph.input, *proto.graph.output])
    info.name = rng.choice(names_of(proto))


def declare(proto, rng):
    """Another declared type or shape of an input or output."""
    info = rng.choice([*proto.graph.input, *proto.graph.output])
    if rng.random() < 0.3:
        info.ClearField("type")
    elif rng.random() < 0.3:
        info.type.sequence_type.elem_type.tensor_type.elem_type = rng.choice(TYPES)
    else:
        info.type.tensor_type.ClearField("shape")
        for size in some(rng, INTEGERS):
            info.type.tensor_type.shape.dim.add().dim_value = size


def change_opset(proto, rng):
    if proto.opset_import:
        entry = rng.choice(list(proto.opset_import))
        entry.version = rng.choice([*range(30), 2**31, -1, 2**62])
        if rng.random() < 0.2:
            entry.domain = rng.choice(["", ML, "ai.onnx", "made.up"])


def call_itself(proto, rng):
    """A function whose body calls a function, perhaps its own."""
    if proto.functions:
        host, goal = (rng.choice(list(proto.functions)) for _ in range(2))
        if host.node:
            item = rng.choice(list(host.node))
            item.op_type, item.domain = goal.name, LOCAL


def nest(proto, rng):
    """Loops in loops, or a chain of doublings."""
    if rng.random() < 0.5:
        for step in range(rng.choice([5, 26, 40])):
            last = f"d{step - 1}" if step else "x"
            op = rng.choice(["Concat", "Add", "Concat"])
            item = helper.make_node(op, [last, last], [f"d{step}"])
            if op == "Concat":
                item.attribute.append(helper.make_attribute("axis", 0))
            proto.graph.node.append(item)
        proto.graph.output.append(value(f"d{step}"))
        return
    inside = list(proto.graph.node)[: rng.choice([2, 2, 99])]
    for depth in range(rng.choice([1, 3, 30])):
        names = [f"{part}{depth}" for part in ("i", "on", "still")]
        body = helper.make_graph(
            [*inside, helper.make_node("Identity", [names[1]], [names[2]])],
            f"body{depth}",
            [value(names[0], INT64, ()), value(names[1], BOOL, ())],
            [value(names[2], BOOL, ())],
        )
        inside = [helper.make_node("Loop", ["many", ""], [], body=body)]
    del proto.graph.node[:]
    proto.graph.node.extend(inside)
    many = np.array(rng.choice([3, 1000, 2**40, 2**63 - 1]))
    proto.graph.initializer.append(numpy_helper.from_array(many, "many"))
    if rng.random() < 0.7:
        proto.graph.node.append(node("Identity", "x", "kept"))
        del proto.graph.output[:]
        proto.graph.output.append(value("kept"))


MUTATIONS = [
    change_dims, change_type, change_content, change_content, replace_constant,
    change_size, move_outside, make_sparse, rewire, rewire, make_cycle, change_arity,
    change_op, change_op, change_attribute, change_attribute, change_attribute,
    add_attribute, remove, repeat, rename, declare, change_opset, call_itself, nest,
]  # fmt: skip
OPERATORS = sorted({s.name for s in onnx.defs.get_all_schemas()})
ATTRIBUTES = sorted(
    {name for s in onnx.defs.get_all_schemas() for name in s.attributes}
)


def damage(content, rng):
    """Flip, overwrite, delete, insert or repeat bytes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at, length = rng.randrange(len(data) or 1), rng.choice([1, 2, 4, 16])
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = rng.randbytes(length)
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif rng.random() < 0.1:
            del data[at:]
    return bytes(data)


def mutated(number):
    """The name of the seed and the bytes of file `number`, the same every time."""
    rng = random.Random(number)
    name = rng.choice(list(SEEDS))
    proto = SEEDS[name][0]()
    if rng.random() < 0.25:
        return name, damage(proto.SerializeToString(), rng)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        try:
            rng.choice(MUTATIONS)(proto, rng)
        except (TypeError, ValueError, UnicodeError, IndexError, DecodeError):
            continue  # protobuf does not take it
    return name, proto.SerializeToString()


# --- one file -------------------------------------------------------------------------


class Hang(BaseException):
    """Raised by the alarm; no `except Exception` may swallow it."""


def ring(*_):
    raise Hang


def argument(info, shape):
    """Something small that fits what the graph declares."""
    if info.kind == "sequence":
        return [torch.ones(2, 3)]
    dtype = info.dtype or torch.float32
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(dtype)


def attempt(path, shape):
    """Load and call; return a verdict and, for a fault, its words."""
    signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        graph = load_graph(path)
        graph(*[argument(info, shape) for info in graph.inputs])
    except AuditError as error:
        if out_of_memory(error):
            return "memory", "".join(traceback.format_exception(error))
        parts = (error.given, error.expected, error.next_step)
        if not all(isinstance(part, str) and part for part in parts):
            return (
                "words",
                f"{error} at {traceback.extract_tb(error.__traceback__)[-1]}",
            )
        return "refused", type(error).__name__
    except Hang as error:
        return "hang", "".join(traceback.format_exception(error))
    except Exception as error:
        kind = "memory" if out_of_memory(error) else "exception"
        return kind, "".join(traceback.format_exception(error))
    finally:
        signal.alarm(0)
    return "ran", ""


def out_of_memory(error):
    """Whether more than a GiB was asked for at once: the message says how much."""
    for _ in range(10):
        if error is None:
            return False
        asked = re.search(r"allocate (\d+) bytes|allocate ([\d.]+ .iB)", str(error))
        if asked and asked[1]:
            return int(asked[1]) > MEMORY
        if asked:
            number, unit = asked[2].split()
            return float(number) * 1024 ** "KMGTPEZY".index(unit[0]) > 1024**2
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__
    return False


def address_space():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def work(first, files, keep=None):
    """Run files one after another and write a line for each."""
    torch.set_num_threads(1)
    torch.ones(64, 64) @ torch.ones(64, 64)
    limit = address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for number in range(first, first + files):
            name, content = mutated(number)
            path.write_bytes(content)
            if keep:
                (Path(keep) / f"{number}.onnx").write_bytes(content)
            print(json.dumps({"number": number, "begun": True}), flush=True)
            start = time.perf_counter()
            verdict, words = attempt(path, SEEDS[name][1])
            took = time.perf_counter() - start
            if took > SECONDS:
                verdict, words = "hang", f"{took:.1f} s {words}"
            row = {"number": number, "seed": name, "verdict": verdict, "took": took}
            print(json.dumps(row | {"words": words}), flush=True)


# --- many files -----------------------------------------------------------------------


def fuzz(first, files, seconds=600.0, keep=None):
    """Run files in child processes, a fresh one after a crash; return their rows."""
    rows, end, until = [], first + files, time.monotonic() + seconds
    while first < end and time.monotonic() < until:
        command = [sys.executable, "-m", "tests.importer.test_onnx_fuzz", "--child"]
        command += ["--first", str(first), "--files", str(end - first)]
        command += ["--keep", str(keep)] if keep else []
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        try:
            out, err = child.communicate(timeout=until - time.monotonic())
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            err = None
        done = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
        finished = [row for row in done if "verdict" in row]
        rows += finished
        if err is None:
            break
        begun = [row["number"] for row in done if "begun" in row]
        if len(begun) > len(finished):  # it died at its work
            words = f"exit {child.returncode}: {err[-2000:]}"
            rows.append(
                {"number": begun[-1], "verdict": "crash", "words": words, "took": 0.0}
            )
        elif not begun:
            raise RuntimeError(err)
        first = begun[-1] + 1
    return rows


def faults(rows):
    return [row for row in rows if row["verdict"] not in ("ran", "refused")]


@pytest.mark.parametrize(
    ("first", "files"),
    [
        (0, int(os.environ.get("ROBAUDIT_FUZZ", "100"))),
        pytest.param(100, 400, marks=pytest.mark.slow),
    ],
)
def test_a_mutated_file_runs_or_is_refused_in_three_parts(first, files):
    rows = fuzz(first, files)
    assert not [(r["number"], r["verdict"], r["words"][-2000:]) for r in faults(rows)]
    verdicts = collections.Counter(row["verdict"] for row in rows)
    assert min(verdicts["ran"], verdicts["refused"]) > len(rows) / 10


def refused(proto, words):
    with pytest.raises(ModelError, match=words) as caught:
        load_graph(proto)(torch.ones(2, 3))
    error = caught.value
    assert all((error.given, error.expected, error.next_step))
    assert error.__cause__ is not error  # who walks the causes comes to an end


def test_joining_is_refused_before_it_allocates():
    many = helper.make_node("Concat", ["part"] * 40, ["y"], axis=0)
    nodes = [node("ConstantOfShape", "size", "part"), many]
    refused(model(nodes, (2, 3), "y", size=np.array([2**23])), "result of Concat")
    items = helper.make_node("SequenceConstruct", ["part"] * 40, ["all"])
    nodes = [nodes[0], items, node("ConcatFromSequence", "all", "y", axis=0)]
    refused(model(nodes, (2, 3), "y", size=np.array([2**23])), "joined sequence")


def loop_of(nodes, output, trips, **constants):
    body = helper.make_graph(
        [node("Identity", "on", "still"), *nodes],
        "body",
        [value("i", INT64, ()), value("on", BOOL, ())],
        [value("still", BOOL, ()), value(output)],
    )
    nodes = [node("Loop", "trips yes", "y", body=body)]
    trips, yes = np.array(trips), np.array(True)
    return model(nodes, (2, 3), "y", trips=trips, yes=yes, **constants)


@pytest.mark.parametrize(
    "wrong", [{"output_padding": [2**24, 0]}, {"pads": [0, -(2**24), 0, 0]}]
)
def test_a_transposed_convolution_is_refused_before_it_is_widened(wrong):
    proto = model(
        [node("ConvTranspose", "i w", "y", **wrong)],
        (2, 3),
        "y",
        i=numbers(1, 1, 4, 4),
        w=numbers(1, 3, 2, 2),
    )
    refused(proto, "result of ConvTranspose")


def test_what_a_loop_stacks_is_bounded():
    """A thousand rounds, each with its own MiB, would be a GiB."""
    nodes = [node("CastLike", "i part", "f"), node("Add", "part f", "out")]
    proto = loop_of(nodes, "out", 10**9, part=np.zeros(2**17, np.float32))
    refused(proto, "stacks would have the shape")


def test_the_work_of_a_loop_is_bounded():
    """Few rounds, but hundreds of nodes in each."""
    nodes = [node("Neg", f"h{k}", f"h{k + 1}") for k in range(500)]
    nodes[0].input[0] = "x"
    start = time.perf_counter()
    refused(loop_of(nodes, "h500", 99_000), "nodes in one call")
    assert time.perf_counter() - start < 30


def test_a_scan_of_more_inputs_than_it_has_is_refused():
    proto = control()
    (count,) = [a for n in proto.graph.node for a in n.attribute if a.name[0] == "n"]
    for wrong in (2**62, 0, -1):
        count.i = wrong
        refused(proto, f"num_scan_inputs={wrong} of 2 inputs")


@pytest.mark.parametrize("place", ["a\0b", "\0"])
def test_an_external_path_with_a_zero_byte_is_refused(place, tmp_path):
    proto = dense()
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    refused(tmp_path / "model.onnx", "inside the model's own folder")


def test_odd_nodes_are_refused():
    refused(model([node("Identity", "", "y")], (2, 3), "y"), "input")
    odd = helper.make_node("Constant", [], ["y"])
    odd.attribute.add(name="value_float", type=AttributeProto.TYPE_PROTO)
    refused(model([odd], (2, 3), "y"), "has no value")


@pytest.mark.parametrize("name", ["float6_e2m3fn", "float6_e3m2fn"])
def test_a_constant_of_a_type_that_torch_lacks_is_refused(name):
    array = np.ones(3, np.float32).astype(getattr(ml_dtypes, name))
    with pytest.raises(UnsupportedOperator, match=name) as caught:
        from_numpy(array)
    assert caught.value.next_step


def test_every_seed_runs_and_a_file_is_made_again_from_its_number(tmp_path):
    for name, (make, shape) in SEEDS.items():
        onnx.save(make(), tmp_path / "model.onnx")
        assert attempt(tmp_path / "model.onnx", shape) == ("ran", ""), name
    assert [mutated(n) for n in range(50)] == [mutated(n) for n in range(50)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--keep", help="folder to leave the files in")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work(options.first, options.files, options.keep)
        return
    rows = fuzz(options.first, options.files, options.seconds, options.keep)
    for row in faults(rows):
        print(json.dumps(row))
    slowest = max(rows, key=lambda row: row["took"])
    print(dict(collections.Counter(row["verdict"] for row in rows)), "of", len(rows))
    print(f"slowest: file {slowest['number']}, {slowest['took']:.2f} s")
    sys.exit(bool(faults(rows)) or len(rows) < options.files)


if __name__ == "__main__":
    main()
