"""Rows that are not on the first axis, and files that take one row at a time."""

import numpy as np
import pytest
import torch

from audit.ground.errors import ConfigError, ModelError

from .saved import data_file, jacobian, onnx_file, opened, trace_file

T, K = 5, 4
torch.manual_seed(1)
W = torch.randn(3, K)
MIX = torch.randn(T, T) / 2
X = np.random.default_rng(0).normal(size=(6, T, 3)).astype(np.float32)
SAID = {"family": "categorical"}


def scores(x):
    """Row-major truth: places of one sequence are mixed, sequences are not."""
    return torch.einsum("st,ntd,dk->nsk", MIX.to(x), torch.tanh(x), W.to(x))


KINDS = {
    "time-major": lambda x: {"logits": scores(x.transpose(0, 1)).transpose(0, 1)},
    "CTC": lambda x: {"logits": scores(x).transpose(0, 1)},
}


def truth():
    x = torch.from_numpy(X).double()
    found = [
        torch.autograd.functional.jacobian(lambda r: scores(r[None]).reshape(-1), row)
        for row in x
    ]
    return torch.stack(found).reshape(len(x), T * K, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_time_major_outputs_are_found(tmp_path, kind):
    example = (T, 2, 3) if kind == "time-major" else (2, T, 3)
    path = trace_file(tmp_path, KINDS[kind], torch.rand(example))
    data = data_file(tmp_path, x=X)
    said = {**SAID, "parameters": {"logits": "logits"}}
    model = opened(path, data, batch_axis=1, **said)
    phi, found = jacobian(model)
    assert phi.shape == (6, T * K)
    torch.testing.assert_close(found, truth(), rtol=1e-4, atol=1e-5)
    assert model.event == (T, 3)


@pytest.mark.parametrize("first", [("t", "n"), (5, "n"), ("n", 5)])
def test_declared_shapes_tell_where_the_rows_go_in(tmp_path, first):
    into = ",".join(map(str, first))
    order = "[0, 1, 2]" if first[0] != "n" else "[1, 0, 2]"
    text = f"g (float[{into},3] x) => (float[t,n,4] logits) "
    text += f"{{ y = Transpose<perm = {order}>(x) logits = MatMul(y, w) }}"
    path = onnx_file(tmp_path, text, w=W.numpy())
    model = opened(path, data_file(tmp_path, x=X), batch_axis=1, **SAID)
    phi, found = jacobian(model)
    exact = torch.from_numpy(X).double() @ W.double()
    torch.testing.assert_close(phi, exact.reshape(6, -1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        found, torch.block_diag(*[W.double().T] * T).expand_as(found)
    )
    assert model.gates.forward_error < 1e-5


def test_the_gate_names_the_axis(tmp_path):
    path = trace_file(tmp_path, KINDS["CTC"], torch.rand(2, T, 3))
    data = data_file(tmp_path, x=X)
    with pytest.raises(ModelError, match="Pass --batch-axis 1"):
        opened(path, data, **SAID)


def test_an_axis_that_has_no_rows_is_refused(tmp_path):
    path = trace_file(tmp_path, lambda x: {"logits": scores(x)}, torch.rand(2, T, 3))
    data = data_file(tmp_path, x=X)
    with pytest.raises(ConfigError, match="no call of the file has its rows on that"):
        opened(path, data, batch_axis=2, **SAID)


def test_rows_mixed_by_a_wrong_axis_do_not_pass(tmp_path):
    """A batch-first file that is called time-major: sequences would be mixed."""
    path = trace_file(tmp_path, lambda x: {"logits": scores(x)}, torch.rand(T, T, 3))
    data = data_file(tmp_path, x=X[:T])
    with pytest.raises((ModelError, ConfigError)):
        opened(path, data, batch_axis=1, **SAID)


def test_a_set_without_a_batch_is_run_row_by_row(tmp_path):
    """The first axis are the members of one set; the mean has none."""

    def pooled(x):  # x [1, T, 3] here, by --rows one; its own axis is the second
        return {
            "mean": torch.tanh(x).mean((0, 1))[None],
            "std": x.exp().mean((0, 1))[None],
        }

    path = trace_file(tmp_path, pooled, torch.rand(1, T, 3))
    data = data_file(tmp_path, x=X)
    _, found = jacobian(opened(path, data, rows="one", family="normal"))
    x = torch.from_numpy(X).double().reshape(6, -1)
    slope = (1 - torch.tanh(x) ** 2) / T
    for k in range(3):
        exact = torch.zeros_like(x)
        exact[:, k::3] = slope[:, k::3]
        torch.testing.assert_close(found[:, k], exact, rtol=1e-4, atol=1e-6)


def test_rows_that_interact_are_told_of_the_option_and_pass_with_it(tmp_path):
    text = "g (float[n,3] x) => (float[n,3] mean, float[n,3] std) "
    text += "{ t = Transpose<perm = [1, 0]>(x)  s = MatMul(x, t)"
    text += " w = Softmax<axis = 1>(s) m = MatMul(w, x)  mean = Sin(m)  std = Exp(m) }"
    path, data = onnx_file(tmp_path, text), data_file(tmp_path)
    with pytest.raises(ModelError, match="pass --rows one"):
        opened(path, data, family="normal")
    phi, found = jacobian(opened(path, data, rows="one", family="normal"))
    x = torch.from_numpy(np.load(data)["x"]).double()
    torch.testing.assert_close(phi[:, :3], x.sin(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        found[:, :3], torch.diag_embed(x.cos()), rtol=1e-4, atol=1e-5
    )


def test_densities_refuse_the_options(tmp_path):
    text = "g (float[n,2] x, float[n,1] theta) => (float[n,1] log_prob) "
    text += "{ s = ReduceSum<keepdims = 1>(x, axes) t = Sub(theta, s) u = Mul(t, t)"
    text += " log_prob = Neg(u) }"
    path = onnx_file(tmp_path, text, axes=np.array([1], np.int64))
    data = data_file(tmp_path, x=np.ones((3, 2), np.float32))
    with pytest.raises(ConfigError, match="--rows was given for a density file"):
        opened(path, data, rows="one")
