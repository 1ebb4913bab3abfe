"""Random small networks of every operator with a rule, for the tests of relaxations."""

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.importer import load_graph

CURVES = (
    *("Relu", "LeakyRelu", "Tanh", "Sigmoid", "Softplus", "Gelu", "Erf", "Abs"),
    *("silu", "gelu", "quick_gelu", "softplus", "clip", "max", "exp"),
)
ACTIVATIONS = (
    *("Elu", "Celu", "Selu", "Softsign", "HardSwish", "HardSigmoid", "Mish"),
    *("elu of 2", "celu of 0.5", "channels", "tanh_gelu", "spelled tanh gelu"),
    *("spelled mish", "spelled softsign", "spelled hard swish", "cube", "reciprocal"),
    *("softmax", "log_softmax", "layer norm", "rms norm", "gate", "quotient"),
)


class Net:
    """Writes an ONNX graph node by node."""

    def __init__(self, rng, opset=20):
        self.rng, self.opset = rng, opset
        self.nodes, self.stored, self.width = [], [], 0

    def constant(self, array, kind=np.float64):
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(array, kind), name))
        return name

    def node(self, op, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def dense(self, value, n, m):
        self.width = m
        weights = self.rng.normal(size=(m, n)) / np.sqrt(n) * 1.3
        bias = self.constant(self.rng.normal(size=m) * 0.3)
        return self.node("Gemm", value, self.constant(weights), bias, transB=1)

    def curve(self, kind, value):
        number = lambda v: self.constant(v)  # noqa: E731
        if kind == "silu":
            return self.node("Mul", value, self.node("Sigmoid", value))
        if kind == "quick_gelu":
            gate = self.node("Sigmoid", self.node("Mul", value, number(1.702)))
            return self.node("Mul", gate, value)
        if kind == "gelu":
            cut = number(np.float32(np.sqrt(2)))
            gate = self.node("Erf", self.node("Div", value, cut))
            gate = self.node("Add", gate, number(1.0))
            return self.node("Mul", self.node("Mul", value, gate), number(0.5))
        if kind == "softplus":  # with torch's switch, at a number that is passed here
            test = self.node("Greater", value, number(1.5))
            return self.node("Where", test, value, self.node("Softplus", value))
        if kind == "clip":
            return self.node("Clip", value, number(-0.5), number(0.75))
        if kind == "max":
            other = self.node("Mul", value, number(-0.3))
            return self.node("Max", value, self.node("Add", other, number(0.2)))
        if kind == "exp":
            return self.node("Exp", self.node("Mul", value, number(0.4)))
        if kind in ACTIVATIONS[7:]:
            return self.activation(kind, value)
        return self.node(kind, value)

    def activation(self, kind, value):
        """What exporters write for an activation, or an operator with attributes."""
        number, node = self.constant, self.node
        if kind in ("elu of 2", "celu of 0.5"):
            name, _, alpha = kind.split()
            return node(name.capitalize(), value, alpha=float(alpha))
        if kind == "tanh_gelu":
            return node("Gelu", value, approximate="tanh")
        if kind == "spelled tanh gelu":
            cubic = node("Mul", node("Pow", value, number(3.0)), number(0.044715))
            root = number(np.float32(np.sqrt(2 / np.pi)))
            inner = node("Mul", node("Add", value, cubic), root)
            gate = node("Add", node("Tanh", inner), number(1.0))
            return node("Mul", node("Mul", value, number(0.5)), gate)
        if kind == "spelled mish":
            return node("Mul", value, node("Tanh", node("Softplus", value)))
        if kind == "spelled softsign":
            return node("Div", value, node("Add", node("Abs", value), number(1.0)))
        if kind == "spelled hard swish":
            gate = node("Add", value, number(3.0))
            gate = node("Clip", gate, number(0.0), number(6.0))
            return node("Div", node("Mul", value, gate), number(6.0))
        if kind == "cube":
            return node("Pow", value, number(3.0))
        if kind == "reciprocal":
            return node("Reciprocal", node("Exp", value))
        if kind == "softmax":
            return node("Softmax", value, axis=-1)
        if kind == "log_softmax":
            return node("LogSoftmax", value, axis=-1)
        if kind == "gate":  # of two values that are functions of several numbers
            left, right = self.halves(value)
            return node("Mul", left, node("Sigmoid", right))
        if kind == "quotient":
            left, right = self.halves(value)
            return node("Div", left, node("Add", node("Sigmoid", right), number(0.5)))
        return self.statistics(kind, value)

    def halves(self, value):
        """Return a value, and itself in another order."""
        shift = self.constant([1], np.int64)
        end = self.constant([2**31], np.int64)
        none, axis = self.constant([0], np.int64), self.constant([1], np.int64)
        last = self.node("Slice", value, shift, end, axis)
        first = self.node("Slice", value, none, shift, axis)
        return value, self.node("Concat", last, first, axis=1)

    def statistics(self, kind, value):
        """A norm over features, or a slope for each of them."""
        draw = self.rng.uniform(0.2, 1.2, size=self.width)
        if kind == "channels":
            return self.node("PRelu", value, self.constant(draw - 0.4))
        if kind == "rms norm":
            return self.node("RMSNormalization", value, self.constant(draw))
        bias = self.constant(draw - 0.5)
        return self.node("LayerNormalization", value, self.constant(draw), bias)

    def graph(self, shape, output):
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "net",
            [info("x", TensorProto.DOUBLE, ["n", *shape])],
            [info(output, TensorProto.DOUBLE, None)],
            self.stored,
        )
        opset = [helper.make_opsetid("", self.opset)]
        proto = helper.make_model(graph, opset_imports=opset, ir_version=10)
        return load_graph(proto, dtype=torch.float64)


def dense_net(seed, outputs=2):
    """Return (graph, shape): two or three layers, sometimes with a residual sum."""
    rng = np.random.default_rng(seed)
    net, n = Net(rng), int(rng.integers(1, 7))
    width, value, size = int(rng.integers(3, 9)), "x", n
    for layer in range(int(rng.integers(1, 4))):
        before, size_before = value, size
        value = net.curve(str(rng.choice(CURVES)), net.dense(value, size, width))
        size = width
        if layer and size == size_before and rng.random() < 0.5:
            value = net.node("Add", before, value)
        if rng.random() < 0.3:
            split = net.constant([1, size - 1], np.int64)
            a, b = net.node("Split", value, split, outputs=2, axis=1)
            value = net.node("Concat", b, a, axis=1)
        if rng.random() < 0.3:
            factor = net.constant(rng.normal(size=size))
            value = net.node("Sub", factor, net.node("Mul", value, factor))
    return net.graph((n,), net.dense(value, size, outputs)), (n,)


def activated_net(kind):
    """Return seed -> (graph, shape): two layers with an activation after each."""

    def make(seed):
        rng = np.random.default_rng(seed)
        net, n, width = Net(rng, opset=23), int(rng.integers(2, 6)), 5
        value = net.curve(kind, net.dense("x", n, width))
        value = net.curve(kind, net.dense(value, width, width))
        return net.graph((n,), net.dense(value, width, 2)), (n,)

    return make


def attention_net(seed, moved=False):
    """Return (graph, shape): attention of two heads with a residual and a norm.

    Args:
        seed: of its size and numbers.
        moved: whether tokens come before the rows on the way, as in torch's attention.
    """
    rng = np.random.default_rng(seed)
    net, tokens, heads, size = Net(rng, opset=23), int(rng.integers(2, 4)), 2, 2
    width, first = heads * size, rng.normal(size=(2, 4)) / 1.5

    def reshaped(value, *shape):
        return net.node("Reshape", value, net.constant(shape, np.int64))

    def projected(value):
        weights = net.constant(rng.normal(size=(width, width)) / 2)
        bias = net.constant(rng.normal(size=width) / 3)
        return net.node("Add", net.node("MatMul", value, weights), bias)

    def of_heads(value):
        if moved:  # [T, B, d] -> [T, B h, s] -> [B h, T, s] -> [B, h, T, s]
            value = net.node("Transpose", value, perm=[1, 0, 2])
            value = reshaped(projected(value), tokens, -1, size)
            value = net.node("Transpose", value, perm=[1, 0, 2])
            return reshaped(value, -1, heads, tokens, size)
        value = reshaped(projected(value), -1, tokens, heads, size)
        return net.node("Transpose", value, perm=[0, 2, 1, 3])

    x = net.node("MatMul", reshaped("x", -1, tokens, 2), net.constant(first))
    query, key, value = (of_heads(x) for _ in range(3))
    score = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 1, 3, 2]))
    weights = net.node("Softmax", net.node("Mul", score, net.constant(0.7)), axis=-1)
    mixed = net.node("Transpose", net.node("MatMul", weights, value), perm=[0, 2, 1, 3])
    if moved:
        mixed = net.node("Transpose", mixed, perm=[1, 0, 2, 3])
        mixed = projected(reshaped(mixed, -1, width))
        mixed = reshaped(mixed, tokens, -1, width)
        mixed = net.node("Transpose", mixed, perm=[1, 0, 2])
    else:
        mixed = projected(reshaped(mixed, -1, tokens, width))
    net.width = width
    value = net.activation("layer norm", net.node("Add", x, mixed))
    value = net.node("Flatten", value, axis=1)
    output = net.dense(value, tokens * width, 2)
    return net.graph((2 * tokens,), output), (2 * tokens,)


def image_net(seed, outputs=3):
    """Return (graph, shape): convolutions, normalisation and pooling."""
    rng = np.random.default_rng(seed)
    net = Net(rng)
    stats = [rng.normal(size=2), rng.normal(size=2), rng.normal(size=2)]
    stats = [net.constant(v) for v in (*stats, rng.uniform(0.5, 2, size=2))]
    value = net.node("BatchNormalization", "x", *stats)
    kernel = net.constant(rng.normal(size=(3, 2, 3, 3)) / 4)
    bias = net.constant(rng.normal(size=3))
    value = net.node("Conv", value, kernel, bias, pads=[1, 1, 0, 1])
    value = net.curve(str(rng.choice(CURVES)), value)
    pool = str(rng.choice(["MaxPool", "AveragePool", "GlobalMaxPool", "ReduceMean"]))
    if pool in ("MaxPool", "AveragePool"):
        windows = {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 0]}
        value = net.node(pool, value, **windows)
    elif pool == "ReduceMean":
        value = net.node(pool, value, net.constant([2], np.int64), keepdims=1)
    else:
        value = net.node(pool, value)
    value = net.node("Transpose", value, perm=[0, 2, 3, 1])
    value = net.node("Flatten", value)
    shape = (2, 4, 5)
    size = net.graph(shape, value)(torch.zeros(1, *shape))[0].shape[1]
    return net.graph(shape, net.dense(value, size, outputs)), shape


RISING = ("Relu", "LeakyRelu", "clip", "Tanh", "Sigmoid", "Abs", "silu")


def pooled_net(seed, outputs=3):
    """Return (graph, shape): convolutions and maxima, and now and then a sum around."""
    rng = np.random.default_rng(seed)
    net, shape, channels = Net(rng), (1, 7, 6), 1
    value, windows = "x", ([2, 2], [3, 2], [2, 3], [1, 2])
    for layer in range(2):
        kernel = net.constant(rng.normal(size=(3, channels, 3, 3)) / 2)
        bias = net.constant(rng.normal(size=3) * 0.3)
        value = net.node("Conv", value, kernel, bias, pads=[1, 1, 1, 1])
        kind = str(rng.choice(RISING))
        first = bool(rng.random() < 0.7)
        bent = net.curve(kind, value) if first else value
        if layer and channels == 3 and rng.random() < 0.3:
            bent = net.node("Add", bent, value)  # which a maximum has to wait for
        window = windows[rng.integers(4)]
        pads = [0, 0, window[0] // 2, window[1] // 2]
        strides = [int(rng.integers(1, 3)), 2]
        value = net.node(
            "MaxPool", bent, kernel_shape=window, strides=strides, pads=pads
        )
        value = value if first else net.curve(kind, value)
        channels = 3
    value = net.node("Flatten", value)
    size = net.graph(shape, value)(torch.zeros(1, *shape))[0].shape[1]
    return net.graph(shape, net.dense(value, size, outputs)), shape
