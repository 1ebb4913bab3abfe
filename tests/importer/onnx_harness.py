"""Run a standard case through the importer, and differentiate it twice."""

import warnings
from itertools import pairwise

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from audit.importer import load_graph

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
WIDE = ("bfloat16", "float16", "float32", "float64")
BITS = {
    np.dtype(ml_dtypes.bfloat16): (np.int16, torch.bfloat16),
    np.dtype(ml_dtypes.float8_e4m3fn): (np.uint8, torch.float8_e4m3fn),
    np.dtype(ml_dtypes.float8_e4m3fnuz): (np.uint8, torch.float8_e4m3fnuz),
    np.dtype(ml_dtypes.float8_e5m2): (np.uint8, torch.float8_e5m2),
    np.dtype(ml_dtypes.float8_e5m2fnuz): (np.uint8, torch.float8_e5m2fnuz),
}


def to_torch(value):
    """A NumPy value (or a list of them) as the importer takes it."""
    if isinstance(value, list | tuple):
        return [to_torch(item) for item in value]
    if not isinstance(value, np.ndarray | np.generic):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        return array
    if array.dtype in BITS:
        storage, dtype = BITS[array.dtype]
        bits = torch.from_numpy(array.view(storage).copy())
        return bits.view(dtype).reshape(array.shape)
    if array.dtype.kind == "V" or "int4" in array.dtype.name:
        name = array.dtype.name
        kind = np.float32 if "float" in name else np.uint8 if "u" in name else np.int8
        array = array.astype(kind)
    return torch.from_numpy(np.array(array))


def to_numpy(value):
    if isinstance(value, list | tuple):
        return [to_numpy(item) for item in value]
    if isinstance(value, torch.Tensor):
        value = value.detach()
        exotic = value.dtype is torch.bfloat16 or "float8" in str(value.dtype)
        return (value.float() if exotic else value).numpy()
    return value


def close(got, want, rtol, atol):
    """Raise AssertionError where two values differ."""
    if isinstance(want, list | tuple):
        assert isinstance(got, list | tuple), "expected a sequence"
        assert len(got) == len(want), f"{len(got)} items for {len(want)}"
        for a, b in zip(got, want, strict=True):
            close(a, b, rtol, atol)
        return
    if want is None:
        assert got is None
        return
    want = np.asarray(want)
    if want.dtype.kind in "OUS":
        assert np.asarray(got).astype(str).tolist() == want.astype(str).tolist()
        return
    got = np.asarray(got)
    assert got.shape == want.shape, f"shape {got.shape} for {want.shape}"
    if want.dtype.kind in "fiubc" and hasattr(np, want.dtype.name):
        assert got.dtype == want.dtype, f"type {got.dtype} for {want.dtype}"
    if (
        want.dtype.kind in "V"
        or want.dtype.name.startswith(("bfloat", "float8"))
        or want.dtype.kind not in "fiubc"
    ):
        want, got = want.astype(np.float32), got.astype(np.float32)
    if want.dtype.kind == "b":
        assert (got == want).all(), "other truth values"
        return
    np.testing.assert_allclose(got, want, rtol, atol)


def forward(case):
    """Check the outputs of a case; raise what goes wrong."""
    graph = load_graph(case.model)
    inputs = [to_torch(value) for value in case.inputs]
    inputs += [None] * (len(graph.input_names) - len(inputs))
    outputs = to_numpy(list(graph(*inputs)))
    for got, want in zip(outputs, case.outputs, strict=False):
        close(got, want, case.rtol, case.atol)


def upcast(model):
    """The same model with every float type replaced by float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    _upcast_graph(wide.graph)
    for function in wide.functions:
        _upcast_nodes(function.node)
    return wide


def _upcast_graph(graph):
    for info in [*graph.input, *graph.output, *graph.value_info]:
        _upcast_type(info.type)
    for tensor in graph.initializer:
        _upcast_tensor(tensor)
    _upcast_nodes(graph.node)


def _upcast_type(kind):
    which = kind.WhichOneof("value")
    if which == "tensor_type" and kind.tensor_type.elem_type in FLOATS:
        kind.tensor_type.elem_type = TensorProto.DOUBLE
    elif which in ("sequence_type", "optional_type"):
        _upcast_type(getattr(kind, which).elem_type)


def _upcast_tensor(tensor):
    if tensor.data_type in FLOATS:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _upcast_nodes(nodes):
    for node in nodes:
        for attribute in list(node.attribute):
            if attribute.type == onnx.AttributeProto.GRAPH:
                _upcast_graph(attribute.g)
            elif attribute.type == onnx.AttributeProto.TENSOR:
                _upcast_tensor(attribute.t)
            elif attribute.name in ("to", "dtype", "stash_type"):
                if attribute.i in FLOATS:
                    attribute.i = TensorProto.DOUBLE
            elif attribute.name in ("value_float", "value_floats"):
                values = helper.get_attribute_value(attribute)
                tensor = numpy_helper.from_array(np.array(values, np.float64))
                node.attribute.remove(attribute)
                node.attribute.append(helper.make_attribute("value", tensor))


def _spread(value, function):
    """Apply a function to every float array within nested lists."""
    if isinstance(value, list | tuple):
        return [_spread(item, function) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.name in WIDE:
        return function(value)
    return value


def _floats(value):
    if isinstance(value, list | tuple):
        return [array for item in value for array in _floats(item)]
    if isinstance(value, np.ndarray | torch.Tensor):
        real = (
            value.is_floating_point()
            if isinstance(value, torch.Tensor)
            else value.dtype.name in WIDE
        )
        return [value] if real else []
    return []


def _widened(value):
    if isinstance(value, list | tuple):
        return [_widened(item) for item in value]
    value = np.asarray(value) if isinstance(value, np.generic) else value
    if isinstance(value, np.ndarray) and value.dtype.name in WIDE:
        return value.astype(np.float64)
    return value


# Float inputs that set a shape or choose elements: no derivative is asked of them.
HELD = {
    "OneHot": (0, 1),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Dropout": (1, 2),
    "Unsqueeze": (1,),
}


class Probe:
    """A case in float64: where to stand, which way to go, what to weigh.

    Args:
        jitter: how far from the case's own point to stand; points of a case often lie
            exactly on a kink, where central differences mean nothing.
    """

    def __init__(self, case, jitter=0.0, seed=0):
        rng = np.random.default_rng(seed)
        self.case, self.rng = case, rng
        self.names = [info.name for info in case.model.graph.input]
        held = {
            node.input[i]
            for node in case.model.graph.node
            for i in HELD.get(node.op_type, ())
            if i < len(node.input)
        }
        self.free = [name not in held for name in self.names]
        start = _widened(case.inputs)
        self.inputs = [
            _spread(
                value, lambda a: np.asarray(a + jitter * rng.standard_normal(a.shape))
            )
            if free
            else value
            for value, free in zip(start, self.free, strict=False)
        ]
        self.directions = [
            rng.standard_normal(a.shape)
            for value, free in zip(self.inputs, self.free, strict=False)
            for a in (_floats(value) if free else [])
        ]
        self.weights = None

    def moved(self, step):
        pending = iter(self.directions)
        return [
            _spread(value, lambda a: np.asarray(a + step * next(pending)))
            if free
            else value
            for value, free in zip(self.inputs, self.free, strict=False)
        ]

    def slopes(self, steps=(1e-3, 1e-4, 1e-5, 1e-6)):
        """Central differences of the reference for several steps."""
        reference = ReferenceEvaluator(upcast(self.case.model))
        found = []
        for step in steps:
            plus, minus = (self._run(reference, h) for h in (step, -step))
            if self.weights is None:
                self.weights = [
                    self._weight(a, b) for a, b in zip(plus, minus, strict=True)
                ]
            pairs = zip(self.weights, plus, minus, strict=True)
            total = sum(
                float(np.sum((a[w != 0] - b[w != 0]) * w[w != 0])) for w, a, b in pairs
            )
            found.append(total / (2 * step))
        return found

    def _run(self, reference, step):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            feeds = dict(zip(self.names, self.moved(step), strict=False))
            outputs = _floats(list(reference.run(None, feeds)))
        return [np.asarray(a, np.float64) for a in outputs]

    def _weight(self, a, b):
        """Random weights, zero where the output is infinite, NaN or garbage."""
        weight = self.rng.standard_normal(a.shape)
        sane = (np.abs(a) < 1e30) & (np.abs(b) < 1e30)
        return np.where(sane, weight, 0.0)

    def derivative(self):
        """The same slope by reverse mode through the importer."""
        graph = load_graph(self.case.model, dtype=torch.float64)
        leaves = []

        def leaf(value):
            if isinstance(value, list):
                return [leaf(item) for item in value]
            if isinstance(value, torch.Tensor) and value.dtype is torch.float64:
                leaves.append(value.requires_grad_())
            return value

        values = [
            leaf(to_torch(value)) if free else to_torch(value)
            for value, free in zip(self.inputs, self.free, strict=False)
        ]
        values += [None] * (len(graph.input_names) - len(values))
        outputs = _floats(list(graph(*values)))
        weights = [torch.from_numpy(np.asarray(w)) for w in self.weights]
        total = sum(
            (torch.where(w != 0, y, torch.zeros_like(y)) * w).sum()
            for w, y in zip(weights, outputs, strict=True)
        )
        if not isinstance(total, torch.Tensor) or not total.requires_grad:
            return 0.0
        grads = torch.autograd.grad(total, leaves, allow_unused=True)
        return sum(
            float((g * torch.from_numpy(np.asarray(d))).sum())
            for g, d in zip(grads, self.directions, strict=True)
            if g is not None
        )


def gradient(case, jitter=0.0):
    """Compare the two slopes; return (ours, differences) and whether they agree."""
    probe = Probe(case, jitter)
    found = probe.slopes()
    value, gap = settled(found)
    ours = probe.derivative()
    agree = abs(ours - value) <= 1e-3 * abs(value) + 1e-5 + gap
    return bool(agree and gap <= 1e-2 * abs(value) + 1e-4), ours, found


def settled(values):
    """The two steps that agree best, and how far apart they are."""
    pairs = [(abs(a - b), (a + b) / 2) for a, b in pairwise(values)]
    gap, value = min(pairs)
    return value, gap
