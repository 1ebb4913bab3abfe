"""Classifiers as skl2onnx writes them: a label of text beside the probabilities."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper
from typer.testing import CliRunner

from audit.cli import app

CLASSES = ["setosa", "versicolor", "virginica"]


def classifier(path, weight, bias):
    """A logistic regression [K, d] of ai.onnx.ml, whose label is a text."""
    node = helper.make_node(
        "LinearClassifier",
        ["X"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        classlabels_strings=CLASSES,
        coefficients=weight.ravel().tolist(),
        intercepts=bias.tolist(),
        multi_class=1,
        post_transform="SOFTMAX",
    )
    values = [
        helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 3]),
    ]
    given = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 4])
    model = helper.make_model(
        helper.make_graph([node], "g", [given], values),
        opset_imports=[
            helper.make_opsetid("", 17),
            helper.make_opsetid("ai.onnx.ml", 2),
        ],
    )
    model.ir_version = 8
    onnx.save(model, path)


def test_a_label_of_text_is_left_out_of_the_numbers(tmp_path):
    """The softmax's F_x = Wᵀ (diag p − p pᵀ) W."""
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=3)
    x = rng.normal(size=(12, 4)).astype("float32")
    classifier(tmp_path / "c.onnx", weight, bias)
    np.savez(tmp_path / "x.npz", X=x)
    words = ["scan", tmp_path / "c.onnx", tmp_path / "x.npz", "--verify", 0, "-q"]
    words += ["--family", "categorical", "--param", "probs=scores"]
    words += ["-o", tmp_path / "r.json"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    score = x @ weight.T + bias
    p = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    spread = p[:, :, None] * np.eye(3) - p[:, :, None] * p[:, None, :]
    expected = np.einsum("ka,nkl,la->n", weight, spread, weight)
    found = json.loads((tmp_path / "r.json").read_text())["inputs"]["kl"]["trace"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
