"""Twins of what stopped published files: what is not read must not stop a scan."""

import numpy as np
import pytest
import torch

from audit.families.tensors import Tensors
from audit.ground.errors import AuditError, ConfigError, UnsupportedOperator
from audit.models.suggestions import suggest
from audit.nodes.noise import Noise

from .saved import data_file, jacobian, onnx_file, opened, script_file

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
HEAD = "mean = Tanh(x) std = Exp(x)"


def normal_slopes():
    x = torch.from_numpy(X).double()
    return torch.cat(
        [torch.diag_embed(1 - x.tanh() ** 2), torch.diag_embed(x.exp())], dim=1
    )


@pytest.mark.parametrize("method", ["auto", "finite-difference"])
def test_outputs_that_nobody_reads_may_be_random_or_without_rows(tmp_path, method):
    text = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std, float[1,n,3] state,"
    text += f" float[n,3] noise) {{ {HEAD} state = Unsqueeze(x, zero)"
    text += " noise = RandomNormalLike(x) }"
    path = onnx_file(tmp_path, text, zero=np.array([0], np.int64))
    data = data_file(tmp_path, x=X)
    said = {"loc": "@mean", "scale": "@std"} if method == "auto" else {}
    model = opened(path, data, method, family="normal", parameters=said)
    _, found = jacobian(model)
    tight = (
        {"rtol": 1e-5, "atol": 1e-6}
        if method == "auto"
        else {"rtol": 0.1, "atol": 0.02}
    )
    torch.testing.assert_close(found, normal_slopes(), **tight)
    if method == "auto":
        (note,) = [text for code, text in model.gates.warnings if code == "format"]
        assert "left out of model.onnx: noise" in note


def test_what_is_left_of_the_outputs_is_not_read_as_another_law(tmp_path):
    """A scale alone would be half-normal."""
    text = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std)"
    text += " { r = RandomNormalLike(x) mean = Add(r, x) std = Exp(x) }"
    path = onnx_file(tmp_path, text)
    with pytest.raises(UnsupportedOperator, match="--param NAME='@x'"):
        opened(path, data_file(tmp_path, x=X))


def policy(tmp_path, outputs="int32[n,1] action"):
    text = f"g (float[n,3] x) => ({outputs}) {{ h = MatMul(x, w) scores = Tanh(h)"
    text += " action = Multinomial<sample_size = 1>(scores) }"
    return onnx_file(tmp_path, text, w=W)


@pytest.mark.parametrize("more", ["", "float[n,4] h, "])
def test_a_policy_that_samples_after_its_head_is_cut_before_it(tmp_path, more):
    data = data_file(tmp_path, x=X)
    said = {"family": "categorical", "parameters": {"logits": "@scores"}}
    phi, found = jacobian(
        opened(policy(tmp_path, f"{more}int32[n,1] action"), data, **said)
    )
    x, w = torch.from_numpy(X).double(), torch.from_numpy(W).double()
    torch.testing.assert_close(phi, torch.tanh(x @ w), rtol=1e-5, atol=1e-6)
    slope = (1 - torch.tanh(x @ w) ** 2)[..., None] * w.mT
    torch.testing.assert_close(found, slope, rtol=1e-4, atol=1e-5)


def test_a_policy_without_a_cut_is_told_where_to_make_it(tmp_path):
    data = data_file(tmp_path, x=X)
    with pytest.raises(UnsupportedOperator, match="--param NAME='@scores'"):
        opened(policy(tmp_path), data, family="categorical")
    said = {"family": "categorical", "parameters": {"logits": "@action"}}
    with pytest.raises(UnsupportedOperator, match="draws random numbers"):
        opened(policy(tmp_path), data, **said)


class Voice(torch.nn.Module):
    """A frame at a time, with a sample rate and a state of one row."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = torch.nn.GRUCell(3, 4), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, sr: int, h: torch.Tensor):
        assert x.shape[0] == 1
        return self.head(self.cell(x * (sr / 16000.0), h))


def test_a_recurrent_module_of_one_row_with_a_sample_rate(tmp_path):
    module = Voice()
    path = script_file(tmp_path, module)
    data = data_file(tmp_path, x=X, h=np.zeros((8, 4), np.float32))
    said = {
        "family": "categorical",
        "parameters": {"logits": "output"},
        "held": {"sr": "8000"},
        "condition": "x",
    }
    phi, _ = jacobian(opened(path, data, **said))
    with torch.no_grad():
        rows = [module(torch.from_numpy(x[None]), 8000, torch.zeros(1, 4)) for x in X]
    torch.testing.assert_close(phi, torch.cat(rows).double(), rtol=1e-5, atol=1e-6)


def test_noise_of_one_row_beside_a_dynamic_condition(tmp_path):
    """θ = x + e^x z: its transport tensor is diag(1 + e^2x)."""
    text = "g (float[n,2] x, float[1,2] z) => (float[n,2] theta)"
    text += " { s = Exp(x) t = Mul(s, z) theta = Add(x, t) }"
    path, x = onnx_file(tmp_path, text), X[:, :2]
    model = opened(path, data_file(tmp_path, x=x), noise="z:normal")
    phi = model.density.parameter_map(*model.rows(model.probe_index()))
    root = model.density.family.root(Tensors.TRANSPORT, phi, Noise(0, np.arange(8), 64))
    exact = 1 + np.exp(2 * x.astype(np.float64))
    found = root.dense().square().sum(1)[:, :2]
    np.testing.assert_allclose(found.numpy(), exact, rtol=1e-4)


def test_names_that_look_like_numbers_or_paths_are_quoted():
    outputs = {"21": torch.randn(4, 3), "head/std:0": torch.rand(4, 3) + 0.1}
    found = suggest(outputs)
    assert found.parameters == {"loc": '"21"', "scale": '"head/std:0"'}
    assert found.flags.count("'") == 4


def test_a_scale_beside_a_nameless_output_is_no_law_by_itself(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] out, float[n,3] std)"
    text += " { out = Tanh(x) std = Exp(x) }"
    path = onnx_file(tmp_path, text)
    with pytest.raises(ConfigError, match="--param loc=out --param scale=std"):
        opened(path, data_file(tmp_path, x=X))
    with pytest.raises(AuditError, match="do not name the parameters of normal"):
        opened(path, data_file(tmp_path, x=X), family="normal")
