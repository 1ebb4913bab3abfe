"""com.microsoft and ai.onnx.ml: one node at a time against onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.ground.errors import UnsupportedOperator
from audit.importer import load_graph

RNG = np.random.default_rng(0)
MS, ML = "com.microsoft", "ai.onnx.ml"
TYPES = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
}


def real(*shape, scale=1.0):
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def whole(*shape, low=0, high=255, kind=np.uint8):
    return RNG.integers(low, high, shape).astype(kind)


def scalar(value, kind=np.float32):
    return np.array(value, kind)


def case(op, inputs, outputs=1, domain=MS, **attributes):
    return op, inputs, outputs, domain, attributes


def floats(count, scale=1.0):
    return (RNG.standard_normal(count) * scale).astype(np.float32).tolist()


Q = [scalar(0.05), scalar(120, np.uint8)]  # a scale and a zero point
QY = [scalar(0.08), scalar(100, np.uint8)]
STUMPS = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2],
    "nodes_featureids": [0, 0, 0, 1, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
    "nodes_values": [0.1, 0.0, 0.0, -0.2, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
}
LEAVES = ("treeids", [0, 0, 0, 0, 1, 1, 1, 1]), ("nodeids", [1, 1, 2, 2] * 2)


def grouped():
    """Forms of GroupQueryAttention: [2, 5, 4 heads of 16], two heads of K and V."""
    query, key, value = real(2, 5, 64), real(2, 5, 32), real(2, 5, 32)
    last, total = np.full(2, 4, np.int32), scalar(5, np.int32)
    plain = [query, key, value, None, None, last, total]
    tables = [real(16, 8), real(16, 8)]
    packed = np.concatenate([query, key, value], -1)
    places = np.array([[3, 4, 5, 6, 7]] * 2)
    yield "", plain, {}
    yield ", capped and scaled", plain, {"softcap": 1.5, "scale": 0.7}
    yield ", smooth", plain, {"smooth_softmax": 1}
    yield ", both ways", plain, {"causal": 0}
    yield ", a window", plain, {"local_window_size": 2}
    yield ", packed", [packed, None, None, *plain[3:]], {}
    yield ", turned", [*plain, *tables], {"do_rotary": 1}
    turned = {"do_rotary": 1, "rotary_interleaved": 1}
    yield ", turned in pairs", [*plain, *tables, places], turned
    yield ", a bias", [*plain, None, None, None, real(1, 4, 5, 5)], {}
    yield ", a sink", [*plain, *[None] * 4, real(4)], {}
    uneven = np.array([2, 4], np.int32)
    yield ", padded", [*plain[:5], uneven, total], {}


CASES = {
    "fused matmul": case(
        "FusedMatMul", [real(2, 3, 4), real(2, 3, 5)], transA=1, alpha=0.5
    ),
    "fused matmul t": case("FusedMatMul", [real(3, 4), real(5, 4)], transB=1),
    "fused matmul batch": case(
        "FusedMatMul", [real(3, 2, 4), real(2, 4, 5)], transBatchA=1
    ),
    "fused gemm": case(
        "FusedGemm", [real(3, 4), real(4, 5), real(5)], activation="Relu", alpha=0.5
    ),
    "fused conv": case(
        "FusedConv", [real(1, 2, 6, 6), real(3, 2, 3, 3), real(3)], activation="Tanh"
    ),
    "gelu": case("Gelu", [real(3, 4)]),
    "bias gelu": case("BiasGelu", [real(3, 4), real(4)]),
    "fast gelu": case("FastGelu", [real(3, 4), real(4)]),
    "fast gelu bare": case("FastGelu", [real(3, 4)]),
    "quick gelu": case("QuickGelu", [real(3, 4)], alpha=1.5),
    "inverse": case("Inverse", [real(3, 3) + 3 * np.eye(3, dtype=np.float32)]),
    "distances": case("CDist", [real(3, 4), real(5, 4)], metric="euclidean"),
    "squared distances": case("CDist", [real(3, 4), real(5, 4)], metric="sqeuclidean"),
    "trilu": case("Trilu", [real(4, 4), scalar(1, np.int64)], upper=0),
    "expand dims": case("ExpandDims", [real(3, 4), scalar(1, np.int32)]),
    "skip layer norm": case(
        "SkipLayerNormalization",
        [real(2, 3, 8), real(2, 3, 8), real(8), real(8), real(8)],
        epsilon=1e-5,
    ),
    "skip rms norm": case(
        "SkipSimplifiedLayerNormalization",
        [real(2, 3, 8), real(2, 3, 8), real(8)],
        epsilon=1e-5,
    ),
    "simplified layer norm": case(
        "SimplifiedLayerNormalization", [real(2, 3, 8), real(8)], domain=""
    ),
    "embed layer norm": case(
        "EmbedLayerNormalization",
        [
            whole(2, 3, high=5, kind=np.int32),
            whole(2, 3, high=2, kind=np.int32),
            real(5, 8),
            real(4, 8),
            real(2, 8),
            real(8),
            real(8),
            np.ones((2, 3), np.int32),
        ],
        2,
    ),
    "attention": case(
        "Attention", [real(2, 5, 8), real(8, 24, scale=0.5), real(24)], num_heads=2
    ),
    "attention causal": case(
        "Attention",
        [real(2, 5, 8), real(8, 24, scale=0.5), real(24)],
        num_heads=2,
        unidirectional=1,
    ),
    "attention mask": case(
        "Attention",
        [
            real(2, 5, 8),
            real(8, 24, scale=0.5),
            real(24),
            np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32),
        ],
        num_heads=2,
    ),
    "attention lengths": case(
        "Attention",
        [real(2, 5, 8), real(8, 24), real(24), np.array([3, 5], np.int32)],
        num_heads=2,
    ),
    "multi head attention": case(
        "MultiHeadAttention",
        [real(2, 4, 8), real(2, 6, 8), real(2, 6, 8), real(24)],
        num_heads=2,
    ),
    "multi head attention padding": case(
        "MultiHeadAttention",
        [
            real(2, 4, 8),
            real(2, 6, 8),
            real(2, 6, 8),
            None,
            np.array([[1, 1, 1, 1, 0, 0], [1] * 6], np.int32),
        ],
        num_heads=2,
    ),
    **{
        f"grouped attention{name}": case(
            "GroupQueryAttention", inputs, num_heads=4, kv_num_heads=2, **attributes
        )
        for name, inputs, attributes in grouped()
    },
    "rotary": case(
        "RotaryEmbedding",
        [real(2, 3, 8), np.array([[0, 1, 2]] * 2), real(5, 2), real(5, 2)],
    ),
    "qlinear add": case("QLinearAdd", [whole(3, 4), *Q, whole(3, 4), *Q, *QY]),
    "qlinear mul": case("QLinearMul", [whole(3, 4), *Q, whole(3, 4), *Q, *QY]),
    "qlinear sigmoid": case(
        "QLinearSigmoid", [whole(3, 4), *Q, scalar(1 / 256), scalar(0, np.uint8)]
    ),
    "qlinear leaky relu": case("QLinearLeakyRelu", [whole(3, 4), *Q, *QY], alpha=0.2),
    "qlinear concat": case(
        "QLinearConcat", [*QY, whole(2, 3), *Q, whole(2, 3), *Q], axis=1
    ),
    "qlinear global pool": case(
        "QLinearGlobalAveragePool", [whole(1, 2, 4, 4), *Q, *QY]
    ),
    "qlinear average pool": case(
        "QLinearAveragePool", [whole(1, 2, 4, 4), *Q, *QY], kernel_shape=[2, 2]
    ),
    "qlinear softmax": case(
        "QLinearSoftmax",
        [whole(3, 4), *Q, scalar(1 / 256), scalar(0, np.uint8)],
        axis=-1,
        opset=13,
    ),
    "dynamic quantize matmul": case(
        "DynamicQuantizeMatMul",
        [real(3, 4), whole(4, 5), scalar(0.05), scalar(120, np.uint8), real(5)],
    ),
    "qlinear gemm": case(
        "QGemm",
        [
            whole(3, 4),
            *Q,
            whole(4, 5),
            *Q,
            whole(5, low=-500, high=500, kind=np.int32),
            *QY,
        ],
    ),
    "qlinear gemm real": case(
        "QGemm", [whole(3, 4), *Q, whole(5, 4), *Q], transB=1, alpha=0.5
    ),
    "matmul integer to float": case(
        "MatMulIntegerToFloat",
        [
            whole(3, 4),
            whole(4, 5),
            scalar(0.1),
            scalar(0.2),
            scalar(7, np.uint8),
            scalar(9, np.uint8),
            real(5),
        ],
    ),
    "linear regressor": case(
        "LinearRegressor",
        [real(5, 3)],
        domain=ML,
        coefficients=floats(6),
        intercepts=floats(2),
        targets=2,
    ),
    "linear classifier": case(
        "LinearClassifier",
        [real(5, 3)],
        2,
        ML,
        coefficients=floats(9),
        intercepts=floats(3),
        classlabels_ints=[4, 7, 9],
        post_transform="SOFTMAX",
        multi_class=1,
    ),
    "linear classifier logistic": case(
        "LinearClassifier",
        [real(5, 3)],
        2,
        ML,
        coefficients=floats(6),
        intercepts=floats(2),
        classlabels_strings=["no", "yes"],
        post_transform="LOGISTIC",
    ),
    "scaler": case(
        "Scaler", [real(5, 3)], domain=ML, offset=floats(3), scale=floats(3)
    ),
    "normalizer l1": case("Normalizer", [real(5, 3)], domain=ML, norm="L1"),
    "normalizer l2": case("Normalizer", [real(5, 3)], domain=ML, norm="L2"),
    "imputer": case(
        "Imputer",
        [np.float32([[1, np.nan, 3], [np.nan, 5, 6]])],
        domain=ML,
        imputed_value_floats=[7.0, 8.0, 9.0],
        replaced_value_float=float("nan"),
    ),
    "binarizer": case("Binarizer", [real(5, 3)], domain=ML, threshold=0.2),
    "array feature extractor": case(
        "ArrayFeatureExtractor", [real(5, 3), np.array([[2, 0]])], domain=ML
    ),
    "feature vectorizer": case(
        "FeatureVectorizer", [real(5, 3), real(5, 2)], domain=ML, inputdimensions=[3, 2]
    ),
    "one hot encoder": case(
        "OneHotEncoder", [np.array([[1, 5], [2, 1]])], domain=ML, cats_int64s=[1, 2]
    ),
    **{
        f"svm regressor {kernel}": case(
            "SVMRegressor",
            [real(5, 3)],
            domain=ML,
            coefficients=floats(4),
            support_vectors=floats(12),
            n_supports=4,
            rho=[0.3],
            kernel_type=kernel,
            kernel_params=[0.4, 0.2, 3.0],
        )
        for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID")
    },
    "svm classifier": case(
        "SVMClassifier",
        [real(5, 3)],
        2,
        ML,
        coefficients=floats(14),
        support_vectors=floats(21),
        vectors_per_class=[2, 3, 2],
        rho=floats(3),
        kernel_type="RBF",
        kernel_params=[0.4, 0.0, 0.0],
        classlabels_ints=[0, 1, 2],
    ),
    **{
        f"svm classifier without vectors {transform}": case(
            "SVMClassifier",
            [real(5, 4)],
            2,
            ML,
            kernel_type="LINEAR",
            coefficients=floats(12),
            rho=[0.3],
            kernel_params=[1.0, 0.0, 1.0],
            classlabels_ints=[4, 5, 6],
            post_transform=transform,
        )
        for transform in ("NONE", "SOFTMAX", "LOGISTIC")
    },
    "svm classifier binary": case(
        "SVMClassifier",
        [real(5, 3)],
        2,
        ML,
        coefficients=floats(5),
        support_vectors=floats(15),
        vectors_per_class=[2, 3],
        rho=floats(1),
        kernel_type="RBF",
        kernel_params=[0.4, 0.0, 0.0],
        classlabels_ints=[0, 1],
    ),
    "tree regressor": case(
        "TreeEnsembleRegressor",
        [real(6, 2)],
        domain=ML,
        **STUMPS,
        **{f"target_{key}": ids for key, ids in LEAVES},
        target_ids=[0, 1] * 4,
        target_weights=floats(8),
        n_targets=2,
        base_values=[0.5, -0.5],
    ),
    "tree classifier": case(
        "TreeEnsembleClassifier",
        [real(6, 2)],
        2,
        ML,
        **STUMPS,
        **{f"class_{key}": ids for key, ids in LEAVES},
        class_ids=[0, 1, 2, 1, 0, 1, 2, 0],
        class_weights=[0.2, 0.5, 0.9, 0.1, 0.3, 0.7, 0.6, 0.8],
        classlabels_int64s=[3, 4, 5],
        post_transform="SOFTMAX",
    ),
    **{
        f"tree classifier of one class's votes, {sign} {transform} {base}": case(
            "TreeEnsembleClassifier",
            [real(6, 2)],
            2,
            ML,
            **STUMPS,
            **{f"class_{key}": ids for key, ids in LEAVES},
            class_ids=[0] * 8,
            class_weights=[0.2, 0.1, low, 0.1, 0.3, 0.05, 0.1, 0.15],
            classlabels_int64s=[3, 4],
            post_transform=transform,
            **({"base_values": [base]} if base else {}),
        )
        for sign, low in (("signed", -0.9), ("shares", 0.2))
        for transform, base in (("LOGISTIC", -0.15), ("NONE", 0.15), ("SOFTMAX", 0))
    },
    **{
        f"svm classifier platt {len(counts)}": case(
            "SVMClassifier",
            [real(5, 3)],
            2,
            ML,
            coefficients=floats((len(counts) - 1) * sum(counts)),
            support_vectors=floats(3 * sum(counts)),
            vectors_per_class=counts,
            rho=floats(len(counts) * (len(counts) - 1) // 2),
            prob_a=floats(len(counts) * (len(counts) - 1) // 2, 2.0),
            prob_b=floats(len(counts) * (len(counts) - 1) // 2),
            kernel_type="RBF",
            kernel_params=[0.4, 0.0, 0.0],
            classlabels_ints=list(range(len(counts))),
        )
        for counts in ([2, 3], [2, 3, 2], [2, 1, 2, 3])
    },
    **{
        f"matmul of {bits} bits {kind}": case(
            "MatMulNBits",
            [
                real(3, 40),
                whole(5, 3, 16 * bits // 8),
                real(15, scale=0.1),
                {"no": None, "whole": whole(5, -(-3 * bits // 8)), "real": real(5, 3)}[
                    kind
                ],
                None,
                real(5) if kind == "whole" else None,
            ],
            K=40,
            N=5,
            bits=bits,
            block_size=16,
        )
        for bits in (2, 4, 8)
        for kind in ("no", "whole", "real")
        if (bits, kind) != (8, "real")  # onnxruntime has none
    },
    "matmul of 4 bits grouped": case(
        "MatMulNBits",
        [
            real(3, 32),
            whole(5, 2, 8),
            real(10, scale=0.1),
            None,
            whole(32, high=2, kind=np.int32),
        ],
        K=32,
        N=5,
        bits=4,
        block_size=16,
    ),
}


def build(name):
    """The model of a case; its first input is the variable, the others constants."""
    return build_of(CASES[name])


def build_of(one):
    op, inputs, outputs, domain, attributes = one
    names = [f"i{k}" if value is not None else "" for k, value in enumerate(inputs)]
    made = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(op, names, made, domain=domain, **attributes)
    first = inputs[0]
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(
                names[0],
                TYPES[first.dtype.name],
                [None, *first.shape[1:]] if first.ndim else [],
            )
        ],
        [helper.make_empty_tensor_value_info(out) for out in made],
        [
            numpy_helper.from_array(value, label)
            for value, label in zip(inputs[1:], names[1:], strict=True)
            if value is not None
        ],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
    imports.append(helper.make_opsetid(ML, 3))
    return helper.make_model(graph, opset_imports=imports, ir_version=8), first


def session_of(proto):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    return onnxruntime.InferenceSession(proto.SerializeToString(), options)


@pytest.mark.parametrize("name", CASES)
def test_forward_equals_onnxruntime(name):
    proto, x = build(name)
    expected = session_of(proto).run(None, {"i0": x})
    got = load_graph(proto)(torch.from_numpy(x))
    for ours, theirs in zip(got, expected, strict=True):
        if theirs.dtype.kind in "OUS":
            assert ours.tolist() == theirs.tolist()
            continue
        assert tuple(ours.shape) == theirs.shape
        loose = (
            1 if theirs.dtype.kind in "iu" and "q" in name else 0
        )  # ties in rounding
        np.testing.assert_allclose(
            ours.numpy().astype(np.float64), theirs, rtol=2e-4, atol=2e-4 + loose
        )


@pytest.mark.parametrize("name", CASES)
def test_derivative_equals_differences_of_onnxruntime(name):
    proto, x = build(name)
    graph = load_graph(proto)
    if not graph.reaches("i0", graph.output_names[-1]) or x.dtype != np.float32:
        (op,) = graph.path_ops("i0", graph.output_names[-1])
        assert op.zero_derivative or x.dtype != np.float32
        return
    session = session_of(proto)
    rng = np.random.default_rng(1)
    v = rng.standard_normal(x.shape).astype(np.float32)
    v = np.where(np.isnan(x), 0, v)

    def last(step):
        return session.run(None, {"i0": (x + step * v).astype(np.float32)})[-1]

    step = 1e-2
    rise = (last(step) - last(-step)).astype(np.float64) / (2 * step)
    u = rng.standard_normal(rise.shape)
    leaf = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    out = graph.to(dtype=torch.float64)(leaf)[-1]
    (slope,) = torch.autograd.grad((out * torch.from_numpy(u)).sum(), leaf)
    ours = float((slope * torch.from_numpy(v)).nansum())
    scale = float(np.linalg.norm(u) * np.linalg.norm(rise))
    assert abs(ours - float((u * rise).sum())) <= 5e-3 * scale


@pytest.mark.parametrize("turned", [False, True])
def test_grouped_attention_goes_on_from_what_was_kept(turned):
    """The next step of a decoder: onnxruntime wants all three results of it."""
    kept = [real(2, 2, 3, 16), real(2, 2, 3, 16)]
    inputs = [real(2, 1, 64), real(2, 1, 32), real(2, 1, 32), *kept]
    inputs += [np.full(2, 3, np.int32), scalar(4, np.int32)]
    inputs += [real(16, 8), real(16, 8)] if turned else []
    attributes = {"num_heads": 4, "kv_num_heads": 2, "local_window_size": 3}
    attributes["do_rotary"] = int(turned)
    proto, x = build_of(case("GroupQueryAttention", inputs, 3, **attributes))
    expected = session_of(proto).run(None, {"i0": x})
    got = load_graph(proto)(torch.from_numpy(x))
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=2e-6, atol=2e-6)


def test_grouped_attention_of_rows_that_kept_differently_is_refused():
    kept = [real(2, 2, 3, 16), real(2, 2, 3, 16)]
    inputs = [real(2, 1, 64), real(2, 1, 32), real(2, 1, 32), *kept]
    inputs += [np.array([2, 3], np.int32), scalar(4, np.int32)]
    heads = {"num_heads": 4, "kv_num_heads": 2}
    proto, x = build_of(case("GroupQueryAttention", inputs, 3, **heads))
    with pytest.raises(UnsupportedOperator, match="keep keys of different numbers"):
        load_graph(proto)(torch.from_numpy(x))


def test_zip_map_gives_a_sequence_of_maps():
    node = helper.make_node(
        "ZipMap", ["x"], ["y"], domain=ML, classlabels_strings=["a", "b"]
    )
    graph = helper.make_graph(
        [node],
        "zip",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_empty_tensor_value_info("y")],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    (rows,) = load_graph(proto)(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    plain = [{key: float(value) for key, value in row.items()} for row in rows]
    assert plain == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]


@pytest.mark.parametrize(
    ("op", "domain", "attributes", "words"),
    [
        ("Conv", "com.microsoft.nchwc", {}, "level ORT_ENABLE_EXTENDED"),
        ("MatMulNBits", MS, {"accuracy_level": 4}, "Quantise with accuracy_level=0"),
    ],
)
def test_what_only_one_runtime_computes_is_refused_with_a_way_out(
    op, domain, attributes, words
):
    node = helper.make_node(op, ["x", "w", "s"], ["y"], domain=domain, **attributes)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4])
        for name in ("x", "w", "s")
    ]
    made = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "refused", inputs, made)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    with pytest.raises(UnsupportedOperator, match=words):
        load_graph(helper.make_model(graph, opset_imports=imports, ir_version=8))
