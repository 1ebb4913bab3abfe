"""Operators that multiply sizes: each is refused before it allocates.

For every operator of the registry there is a small graph that asks for far too much,
or the reason why it cannot. All run in one process whose memory is limited: whoever
allocates first is told by the system, in other words than ours.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_operators import operators

from audit.ground.errors import ModelError
from audit.importer import load_graph
from audit.importer.foresight import Foreseen
from audit.importer.limits import MAX_ELEMENTS, MAX_TEMPORARY
from audit.importer.ops import arithmetic, elementwise, reduction
from audit.importer.program import Node

ALLOWED = 3 << 29  # bytes beyond what the process has at its start: 1.5 GiB
SECONDS = 5
M, K = 1 << 20, 1 << 10


def f(*shape):
    return np.zeros(shape, np.float32)


def i(*values):
    return np.array(values, np.int64)


def u(*shape):
    return np.zeros(shape, np.uint8)


def s(*values):
    return np.array(values, object)


def scalar(value, kind=np.int64):
    return np.array(value, kind)


COLUMN, ROW = f(M, 1), f(1, M)
IMAGE = f(1, 1, 4, 4)
WHOLE = (np.zeros((M, 1), np.int64), np.zeros((1, M), np.int64))
ML, MS = "ai.onnx.ml", "com.microsoft"
TREE = {
    "nodes_treeids": [0],
    "nodes_nodeids": [0],
    "nodes_modes": ["LEAF"],
    "nodes_featureids": [0],
    "nodes_values": [0.0],
    "nodes_truenodeids": [0],
    "nodes_falsenodeids": [0],
}
# (domain, operator) -> its operands, attributes, and the opset where it is not 20.
BOMBS = {
    # broadcasting
    **{("", name): ([COLUMN, ROW], {}) for name in ("Add", "Sub", "Mul", "Div", "Pow")},
    **{("", n): ([COLUMN, ROW], {}) for n in ("Equal", "Greater", "Less", "PRelu")},
    **{("", name): ([COLUMN, ROW], {}) for name in ("GreaterOrEqual", "LessOrEqual")},
    ("robaudit", "Apart"): ([COLUMN, ROW], {}),
    **{("", n): ([COLUMN, ROW], {}) for n in ("Sum", "Mean", "Max", "Min", "Mod")},
    **{
        ("", name): ([COLUMN.astype(bool), ROW.astype(bool)], {})
        for name in ("And", "Or", "Xor")
    },
    **{("", f"Bitwise{name}"): (WHOLE, {}) for name in ("And", "Or", "Xor")},
    ("", "BitShift"): ([u(M, 1), u(1, M)], {"direction": "LEFT"}),
    ("", "Where"): ([f(M, 1).astype(bool), f(1, M), f(1)], {}),
    ("", "SwiGLU"): ([COLUMN, ROW], {}),
    ("", "BatchNormalization"): ([f(M, 1, 1), *[f(M)] * 4], {}),
    ("", "InstanceNormalization"): ([f(M, 1, 2), f(M), f(M)], {}),
    ("", "LayerNormalization"): ([COLUMN, ROW], {}, 17),
    ("", "RMSNormalization"): ([COLUMN, ROW], {}, 23),
    ("", "SimplifiedLayerNormalization"): ([COLUMN, ROW], {}),
    ("", "DequantizeLinear"): ([u(M, 1), f(M)], {"axis": 1}),
    ("", "QuantizeLinear"): ([COLUMN, f(M)], {"axis": 1}),
    ("robaudit", "FakeQuantize"): ([COLUMN, f(M)], {"axis": 1}),
    ("robaudit", "UnpackedWeights"): (
        [u(1, 1, 8), f(1, 1)],
        {"K": M, "N": M, "block_size": M},
    ),
    **{(MS, n): ([COLUMN, f(M)], {}) for n in ("BiasGelu", "FastGelu")},
    (MS, "BiasAdd"): ([COLUMN, f(M), f(1)], {}),
    (MS, "BiasSoftmax"): ([COLUMN, ROW], {}),
    (MS, "SkipLayerNormalization"): ([COLUMN, ROW, f(M)], {}),
    (MS, "SkipSimplifiedLayerNormalization"): ([COLUMN, ROW, f(M)], {}),
    (MS, "SimplifiedLayerNormalization"): ([COLUMN, ROW], {}),
    (MS, "DequantizeLinear"): ([u(M, 1), f(M)], {"axis": 1}),
    (MS, "QuantizeLinear"): ([COLUMN, f(M)], {"axis": 1}),
    **{
        (MS, f"QLinear{n}"): ([u(M, 1), f(1), u(1), u(1, M), f(1), u(1), f(1)], {})
        for n in ("Add", "Mul")
    },
    **{
        (MS, f"QLinear{n}"): ([u(M, 1), f(1, M), u(1), f(1)], {})
        for n in ("Sigmoid", "LeakyRelu")
    },
    (MS, "QLinearSoftmax"): ([u(M, 1), f(1, M), u(1), f(1), u(1)], {"opset": 13}),
    (MS, "QLinearWhere"): (
        [f(M, 1).astype(bool), u(1, M), f(1), u(1), u(1), f(1), u(1), f(1), u(1)],
        {},
    ),
    (MS, "QLinearConcat"): ([f(1), u(1), u(M, 1), f(1, M), u(1)], {"axis": 0}),
    (MS, "QLinearGlobalAveragePool"): (
        [u(M, 1, 1), f(1, 1, M), u(1), f(1), u(1)],
        {},
    ),
    (MS, "QLinearAveragePool"): (
        [u(M, 1, 1), f(1, 1, M), u(1), f(1), u(1)],
        {"kernel_shape": [1]},
    ),
    # products
    ("", "MatMul"): ([COLUMN, ROW], {}),
    ("", "Gemm"): ([COLUMN, ROW], {}),
    ("", "Einsum"): ([f(M), f(M)], {"equation": "i,j->ij"}),
    ("", "MatMulInteger"): ([u(M, 1), u(1, M)], {}),
    ("", "QLinearMatMul"): (
        [u(M, 1), f(1), u(1), u(1, M), f(1), u(1), f(1), u(1)],
        {},
    ),
    **{(MS, n): ([COLUMN, ROW], {}) for n in ("FusedMatMul", "TransposeMatMul")},
    (MS, "FusedGemm"): ([COLUMN, ROW], {}),
    (MS, "CDist"): ([f(M, 1), f(M, 1)], {}),
    (MS, "DynamicQuantizeMatMul"): ([COLUMN, u(1, M), f(1)], {}),
    (MS, "MatMulIntegerToFloat"): ([u(M, 1), u(1, M), f(1), f(1)], {}),
    (MS, "QGemm"): ([u(M, 1), f(1), u(1), u(1, M), f(1), u(1)], {}),
    ("", "Attention"): ([f(1, 1, M, 1), f(1, 1, M, 1), f(1, 1, M, 1)], {}, 23),
    ("", "LinearAttention"): (
        [f(1, 1, M), f(1, 1, M), f(1, 1, M)],
        {"q_num_heads": 1, "kv_num_heads": 1},
        27,
    ),
    ("", "RotaryEmbedding"): (
        [f(1, 1, M, 2), f(1, K * K), f(1, K * K), np.zeros((1, M), np.int64)],
        {},
        23,
    ),
    ("", "CausalConvWithState"): ([f(M, 1, 1), f(1, 1, M)], {}, 27),
    (MS, "Attention"): ([f(1, M, 1), f(1, 3)], {"num_heads": 1}),
    (MS, "MultiHeadAttention"): ([f(1, M, 1)] * 3, {"num_heads": 1}),
    (MS, "GroupQueryAttention"): (
        [*[f(1, M, 1)] * 3, None, None, i(M - 1).astype(np.int32), scalar(M, np.int32)],
        {"num_heads": 1, "kv_num_heads": 1},
    ),
    (MS, "RotaryEmbedding"): (
        [f(1, 1, M, 2), np.zeros((1, M), np.int64), f(1, M), f(1, M)],
        {},
    ),
    (MS, "EmbedLayerNormalization"): (
        [
            np.zeros((1, M), np.int32),
            None,
            f(1, M),
            f(1, M),
            None,
            f(M),
            f(M),
            None,
            np.zeros((1, 1), np.int32),
        ],
        {},
    ),
    (ML, "SVMRegressor"): (
        [f(M, 1)],
        {
            "kernel_type": "RBF",
            "kernel_params": [1.0, 0.0, 0.0],
            "n_supports": 2000,
            "support_vectors": [0.0] * 2000,
            "coefficients": [0.0] * 2000,
        },
    ),
    (ML, "SVMClassifier"): (
        [f(M, 1)],
        {
            "kernel_type": "RBF",
            "kernel_params": [1.0, 0.0, 0.0],
            "vectors_per_class": [1000, 1000],
            "support_vectors": [0.0] * 2000,
            "coefficients": [0.0] * 2000,
            "rho": [0.0],
            "classlabels_ints": [0, 1],
        },
    ),
    # recurrence
    **{
        ("", n): ([f(K, K, 1), f(1, g * K, 1), f(1, g * K, K)], {"hidden_size": K})
        for n, g in (("RNN", 1), ("GRU", 3), ("LSTM", 4))
    },
    (MS, "DynamicQuantizeLSTM"): (
        [
            f(K, K, 1),
            u(1, 1, 4 * K),
            u(1, K, 4 * K),
            *[None] * 5,
            f(1),
            u(1),
            f(1),
            u(1),
        ],
        {"hidden_size": K},
    ),
    # windows
    ("", "Conv"): ([IMAGE, f(1, 1, 1, 1)], {"pads": [0, 0, K * 64, K * 64]}),
    ("", "ConvInteger"): ([u(1, 1, 4), u(M, 1, 1)], {"pads": [K, K]}),
    ("", "ConvTranspose"): ([IMAGE, f(1, 1, 1, 1)], {"strides": [K * K, K * K]}),
    ("", "QLinearConv"): (
        [u(1, 1, 4), f(1), u(1), u(M, 1, 1), f(1), u(1), f(1), u(1)],
        {"pads": [K, K]},
    ),
    (MS, "FusedConv"): ([IMAGE, f(1, 1, 1, 1)], {"pads": [0, 0, K * 64, K * 64]}),
    ("", "DeformConv"): ([f(1, M, 1, 1), f(1, M, 1, 1), f(1, 2, K, K)], {}, 19),
    **{
        ("", n): ([IMAGE], {"kernel_shape": [1, 1], "pads": [0, 0, K * 64, K * 64]})
        for n in ("AveragePool", "LpPool", "MaxPool")
    },
    ("", "MaxUnpool"): (
        [IMAGE, np.zeros((1, 1, 4, 4), np.int64), i(1, 1, 4, 4)],
        {"kernel_shape": [1, 1], "strides": [M, M]},
    ),
    ("", "Col2Im"): (
        [f(1, 1, 1), i(1, 1), i(1, 1)],
        {"pads": [0, 0, K * 64, K * 64]},
    ),
    ("", "LRN"): ([f(1, 1, K, K)], {"size": 2 * M}),
    ("", "STFT"): ([f(1, M, 1), scalar(1), None, scalar(K * 64)], {}, 17),
    # sizes as numbers
    ("", "ConstantOfShape"): ([i(M, M)], {}),
    ("", "Expand"): ([f(1), i(M, M)], {}),
    ("", "Tile"): ([f(K, K), i(K, K)], {}),
    ("", "Range"): ([scalar(0), scalar(10**12), scalar(1)], {}),
    ("", "Pad"): ([f(K, K), i(0, 0, M, M)], {"mode": "edge"}),
    ("", "CenterCropPad"): ([f(4, 4), i(M, M)], {}, 18),
    ("", "Resize"): ([IMAGE, None, None, i(1, 1, M, M)], {}),
    ("", "Upsample"): ([IMAGE, np.float32([1, 1, M, M])], {}, 9),
    ("", "OneHot"): ([np.zeros(M, np.int64), scalar(M), f(2)], {}),
    ("", "NonZero"): ([np.ones((4 * M, *[1] * 60), np.float32)], {}),
    **{("", n): ([scalar(2**40)], {}) for n in ("HannWindow", "HammingWindow")},
    ("", "BlackmanWindow"): ([scalar(2**40)], {}),
    ("", "MelWeightMatrix"): (
        [scalar(M), scalar(M), scalar(16), scalar(0.0, np.float32), scalar(8.0, "f4")],
        {},
    ),
    ("", "DFT"): ([f(M, 1, 1), scalar(M), scalar(1)], {}),
    ("", "RoiAlign"): (
        [IMAGE, f(1, 4), i(0)],
        {"output_height": M, "output_width": M},
    ),
    ("", "MaxRoiPool"): ([IMAGE, f(1, 5)], {"pooled_shape": [K * 4, K * 4]}),
    ("", "Split"): ([f(4)], {"num_outputs": 2**40}),
    # picking
    ("", "Gather"): ([f(1, M), np.zeros(M, np.int64)], {}),
    ("", "GatherND"): ([f(1, M), np.zeros((M, 1), np.int64)], {}),
    (MS, "GatherND"): ([f(1, M), np.zeros((M, 1), np.int64)], {}),
    ("", "GridSample"): ([f(1, M, 1, 1), f(1, K, K, 2)], {}),
    (ML, "ArrayFeatureExtractor"): ([f(M, 1), np.zeros((1, M), np.int64)], {}),
    ("", "Concat"): ([f(1 << 24)] * 40, {"axis": 0}),
    (ML, "FeatureVectorizer"): ([f(1, 1 << 24)] * 40, {}),
    # one by one
    ("", "NonMaxSuppression"): ([f(1, M, 4), f(1, 8, M), scalar(1)], {}),
    ("", "SplitToSequence"): ([f(M)], {}),
    (ML, "ZipMap"): ([f(4 * M, 2)], {"classlabels_int64s": [0, 1]}),
    (ML, "LabelEncoder"): (
        [np.zeros(8 * M, np.int64)],
        {"keys_int64s": [0], "values_int64s": [0]},
    ),
    (ML, "OneHotEncoder"): (
        [np.zeros(M, np.int64)],
        {"cats_int64s": list(range(2000))},
    ),
    **{
        (ML, f"TreeEnsemble{name}"): ([f(8 * M, 1)], {**TREE, **more})
        for name, more in (
            (
                "Regressor",
                {
                    "target_ids": [0],
                    "target_nodeids": [0],
                    "target_treeids": [0],
                    "target_weights": [0.0],
                },
            ),
            (
                "Classifier",
                {
                    "class_ids": [0],
                    "class_nodeids": [0],
                    "class_treeids": [0],
                    "class_weights": [0.0],
                    "classlabels_int64s": [0, 1, 2],
                },
            ),
        )
    },
    (ML, "TreeEnsemble"): (
        [f(8 * M, 1)],
        {
            "tree_roots": [0],
            "leaf_targetids": [0],
            "leaf_weights": f(1),
            "nodes_falseleafs": [1],
            "nodes_trueleafs": [1],
            "nodes_falsenodeids": [0],
            "nodes_truenodeids": [0],
            "nodes_featureids": [0],
            "nodes_modes": u(1),
            "nodes_splits": f(1),
        },
        5,
    ),
    (ML, "LinearRegressor"): (
        [f(M, 1)],
        {"coefficients": [0.0] * 4000, "targets": 4000},
    ),
    (ML, "LinearClassifier"): (
        [f(M, 1)],
        {"coefficients": [0.0] * 4000, "classlabels_ints": list(range(4000))},
    ),
    # strings
    ("", "StringConcat"): ([np.full((M, 1), "a", object), s(*["b"] * 9)], {}),
    ("", "StringSplit"): ([s(*["a"] * K, "a " * 9000)], {}),
    (MS, "Tokenizer"): (
        [s(*["a"] * K, "a " * 9000)],
        {"mark": 0, "mincharnum": 1, "pad_value": "", "separators": [" "]},
    ),
    ("", "TfIdfVectorizer"): (
        [i(1, 2)],
        {
            "max_gram_length": 2**62,
            "max_skip_count": 2**62,
            "min_gram_length": 1,
            "mode": "TF",
            "ngram_counts": [0],
            "ngram_indexes": [2**40],
            "pool_int64s": [1],
        },
    ),
    ("", "RegexFullMatch"): (
        [s("a" * (1 << 20))],
        {"pattern": "a{0,999}(ab)?a{0,999}"},
    ),
}
# Further ways into the same operators.
MORE = {
    "asymmetric pads with many channels": (
        "Conv",
        [f(1, K, 4), f(1, K, 1)],
        {"pads": [0, M], "strides": [M]},
    ),
    "the columns of a wide kernel": (
        "Conv",
        [f(1, 1, 4 * M), f(1, 1, M)],
        {"pads": [M, M]},
    ),
    "antialiasing over a long way": (
        "Resize",
        [IMAGE, None, np.float32([1, 1, 1e-9, 1])],
        {
            "mode": "linear",
            "antialias": 1,
            "coordinate_transformation_mode": "asymmetric",
        },
    ),
    "sampling in many points": (
        "RoiAlign",
        [IMAGE, f(1, 4) + 1, i(0)],
        {"sampling_ratio": 2**40},
    ),
    "a large box": ("RoiAlign", [IMAGE, np.float32([[0, 0, 1e9, 1e9]]), i(0)], {}),
    "a scale for blocks": (
        "DequantizeLinear",
        [u(4, 4), f(2, 4)],
        {"axis": 0, "block_size": 2**40},
    ),
    "an image of many blocks": ("Col2Im", [f(1, 1, 1), i(M, M), i(1, 1)], {}),
    "long strings": (
        "StringConcat",
        [s("a" * (1 << 25)), s(*["b" * (1 << 25)] * 2)],
        {},
    ),
    "many scores": (
        "TreeEnsembleRegressor",
        [f(1, 1)],
        {
            **TREE,
            "n_targets": 2**40,
            "target_ids": [0],
            "target_nodeids": [0],
            "target_treeids": [0],
            "target_weights": [0.0],
        },
    ),
    "a step of attention": (
        "Attention",
        [f(1, 1, K * 64, 1), f(1, 1, K * 64, 1), f(1, 1, K * 64, 1)],
        {},
        23,
    ),
}
# What is made of one tensor and is not larger, or holds what is there.
SAME = (
    *("ArgMax", "ArgMin", "BitCast", "BitwiseNot", "Cast", "CastLike", "Celu", "Clip"),
    *("Compress", "CumProd", "CumSum", "DepthToSpace", "Dropout", "Elu", "EyeLike"),
    *(
        "DynamicQuantizeLinear",
        "Flatten",
        "GatherElements",
        "Gelu",
        "GroupNormalization",
    ),
    *("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "HardSigmoid", "Hardmax"),
    *("IsInf", "LeakyRelu", "LogSoftmax", "LpNormalization", "Selu", "Shrink", "Size"),
    *("MeanVarianceNormalization", "NegativeLogLikelihoodLoss", "Reshape", "Shape"),
    *("ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "Slice", "Softmax"),
    *(
        "SoftmaxCrossEntropyLoss",
        "Softplus",
        "SpaceToDepth",
        "Squeeze",
        "Swish",
        "TopK",
    ),
    *("StringNormalizer", "TensorScatter", "ThresholdedRelu", "Transpose", "Trilu"),
    *("Unique", "Unsqueeze", "Optional", "OptionalGetElement", "OptionalHasElement"),
    *("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase"),
    *("SequenceLength", "Binarizer", "Imputer", "Normalizer", "Scaler", "ExpandDims"),
    *("Inverse", "QuickGelu", "GuardedSoftmax", "Held"),
    "FallingSigmoid",
    *elementwise.SMOOTH,
    *elementwise.STEPS,
    *reduction.REDUCE,
)
ELSEWHERE = (
    "If",
    "Loop",
    "Scan",
    "SequenceMap",
    "SequenceInsert",
    "ConcatFromSequence",
)
assert arithmetic  # its operators are among the bombs, each by its name


def model(op, arrays, attributes, opset=20, domain="", outputs=("y",)):
    """A graph of one node, whose operands are inputs."""
    names = [f"i{place}" if a is not None else "" for place, a in enumerate(arrays)]
    inputs = []
    for name, array in zip(names, arrays, strict=True):
        if array is not None:
            text = array.dtype.kind == "O"
            kind = helper.np_dtype_to_tensor_dtype(array.dtype) if not text else 8
            inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
    tensors = {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in attributes.items()
    }
    node = helper.make_node(op, names, list(outputs), domain=domain, **tensors)
    made = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "bomb", inputs, made)
    imports = [helper.make_opsetid("", opset if not domain else 20)]
    if domain:
        imports.append(helper.make_opsetid(domain, opset if domain == ML else 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def tensor(array):
    return array if array.dtype.kind == "O" else torch.from_numpy(array)


def run(op, arrays, attributes, opset=None, domain=""):
    default = {"": 20, ML: 3}.get(domain, 1)
    proto = model(op, arrays, attributes, opset or default, domain)
    graph = load_graph(proto)
    return graph(*(tensor(array) for array in arrays if array is not None))


def everything():
    for (domain, op), (arrays, attributes, *opset) in BOMBS.items():
        yield f"{domain}.{op}", (op, arrays, attributes, *(opset or [None]), domain)
    for name, (op, arrays, attributes, *opset) in MORE.items():
        domain = ML if op.startswith("Tree") else ""
        yield name, (op, arrays, attributes, *(opset or [None]), domain)


def ignite():
    """Run every bomb with little memory, and print what came of each."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    load_graph(model("Relu", [f(1)], {}))  # everything that is imported late
    resource.setrlimit(resource.RLIMIT_AS, (used + ALLOWED, resource.RLIM_INFINITY))
    for name, bomb in everything():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        try:
            run(*bomb)
            said = "it ran"
        except ModelError as error:
            said = str(error)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        took = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        print(json.dumps([name, said, took]), flush=True)


@pytest.fixture(scope="module")
def told():
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = map(json.loads, done.stdout.splitlines())
    return {name: (said, took) for name, said, took in rows}


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("name", [name for name, _ in everything()])
def test_a_bomb_is_refused_before_it_allocates(told, name):
    said, took = told[name]
    assert "Expected at most" in said
    assert took < SECONDS


def test_every_operator_is_a_bomb_or_has_a_reason_not_to_be():
    bombs = set(BOMBS)
    for entry in operators():
        known = (entry.domain, entry.name) in bombs
        assert known != (entry.name in (*SAME, *ELSEWHERE)), entry.name


# Shape arithmetic, and what no single node makes


def shape_arithmetic(nodes, **constants):
    graph = helper.make_graph(
        [helper.make_node("Shape", ["x"], ["h0"]), *nodes],
        "shapes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    imports = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def test_shape_arithmetic_that_multiplies_is_refused():
    nodes = [
        helper.make_node("Concat", [f"h{n}"] * 512, [f"h{n + 1}"], axis=0)
        for n in range(5)
    ]
    nodes[-1].output[0] = "y"
    with pytest.raises(ModelError, match=f"Expected at most {MAX_ELEMENTS}"):
        load_graph(shape_arithmetic(nodes))(torch.ones(2, 3))


def test_shape_arithmetic_that_broadcasts_is_refused():
    nodes = [
        helper.make_node("Expand", ["h0", "wide"], ["a"]),
        helper.make_node("Unsqueeze", ["a", "last"], ["b"]),
        helper.make_node("Reshape", ["a", "flat"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["y"]),
    ]
    wide, last, flat = i(1 << 16, 2), i(-1), i(-1)
    proto = shape_arithmetic(nodes, wide=wide, last=last, flat=flat)
    with pytest.raises(ModelError, match=f"Expected at most {MAX_ELEMENTS}"):
        load_graph(proto)(torch.ones(2, 3))


def looping(nodes, states, trips):
    """A loop over one sequence, or whatever its state is."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), *nodes],
        "body",
        [
            info("i", TensorProto.INT64, ()),
            info("on", TensorProto.BOOL, ()),
            *(helper.make_tensor_sequence_value_info(s, 1, None) for s in states),
        ],
        [
            info("still", TensorProto.BOOL, ()),
            *(helper.make_tensor_sequence_value_info(f"{s}+", 1, None) for s in states),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("SequenceEmpty", [], ["none"]),
            helper.make_node("Loop", ["trips", "yes", "none"], ["all"], body=body),
            helper.make_node("SequenceLength", ["all"], ["y"]),
        ],
        "loop",
        [info("x", TensorProto.FLOAT, ["n"])],
        [info("y", TensorProto.INT64, ())],
        [
            numpy_helper.from_array(np.array(trips), "trips"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    imports = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def test_a_sequence_that_grows_in_a_loop_is_bounded():
    nodes = [
        helper.make_node("CastLike", ["i", "x"], ["k"]),
        helper.make_node("Add", ["x", "k"], ["new"]),
        helper.make_node("SequenceInsert", ["s", "new"], ["s+"]),
    ]
    graph = load_graph(looping(nodes, ["s"], 10**9))
    with pytest.raises(ModelError, match=f"Expected at most {MAX_TEMPORARY} elements"):
        graph(torch.zeros(1 << 24))
    assert load_graph(looping(nodes, ["s"], 100))(torch.zeros(4))[0] == 100


def test_an_axis_is_cropped_before_another_is_padded():
    x, pads = f(M, 64), i(0, 0, 1 - M, 4 * M)
    (y,) = run("Pad", [x, pads], {"mode": "wrap"})  # the other way 16 GiB lie between
    assert y.shape == (1, 64 + 4 * M)


# The rehearsal


def test_a_rehearsal_allocates_nothing_and_is_remembered():
    calls = []

    def outer(a, b):
        calls.append(a.device.type)
        return a @ b

    run = Foreseen(Node("Own", ("a", "b"), ("y",), name="m"), outer)
    assert run(torch.ones(2, 3), torch.ones(3, 2)).shape == (2, 2)
    assert calls == ["cpu"]  # too small for anything to be too large
    wide = torch.ones(1, 1 << 15)
    for _ in range(2):
        run(wide, wide.T)
    assert calls == ["cpu", "meta", "cpu", "cpu"]
    with pytest.raises(ModelError, match=r"\[32768, 32768\].* Expected at most"):
        run(wide.T, wide)
    assert calls[-1] == "meta"


def test_a_product_of_matrices_is_not_rehearsed_unless_it_is_large():
    calls = []

    def product(a, b, c=None):
        calls.append(a.device.type)
        return a @ b if c is None else a @ b + c

    run = Foreseen(Node("MatMul", ("a", "b"), ("y",), name="m"), product)
    wide = torch.ones(1, 1 << 15)
    assert run(wide, wide.T).shape == (1, 1)
    assert run(torch.ones(4, 8, 1 << 13), torch.ones(1 << 13, 5)).shape == (4, 8, 5)
    assert calls == ["cpu", "cpu"]
    with pytest.raises(ModelError, match=r"\[32768, 32768\].* Expected at most"):
        run(wide.T, wide)
    with pytest.raises(ModelError, match=r"\[65536, (1, )?32768\].* Expected at most"):
        run(torch.ones(1 << 16, 1, 1), wide)
    gemm = Foreseen(Node("Gemm", ("a", "b", "c"), ("y",), name="g"), product)
    tall = torch.ones(1 << 15, 2)
    with pytest.raises(ModelError, match=r"\[32768, 8192\].* Expected at most"):
        gemm(tall, torch.ones(2, 1), torch.ones(1 << 13))
    with pytest.raises(ModelError, match=r"\[8192, 32768, 1\].* Expected at most"):
        gemm(tall, torch.ones(2, 1), torch.ones(1 << 13, 1, 1))
    assert calls == ["cpu", "cpu", *["meta"] * 4]


def test_a_rehearsal_looks_at_what_is_made_on_the_way():
    def sum_of_products(a, b):
        return (a * b).sum(), a.expand(a.shape[0], 1 << 20).stride()

    run = Foreseen(Node("Own", ("a", "b"), ("y",), name="own"), sum_of_products)
    with pytest.raises(ModelError, match=r"A step of node 'own'.*on the way"):
        run(torch.ones(1 << 15, 1), torch.ones(1, 1 << 15))


if __name__ == "__main__":
    ignite()
