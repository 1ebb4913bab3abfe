"""Files with many outputs: gates ask for a few products, and see what is wrong."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from audit.ground.errors import ModelError
from audit.importer import registry
from audit.models.gates import referee
from audit.models.gates.slopes import products_of
from audit.models.onnx_file import load

from .saved import data_file, onnx_file, opened, script_file
from .subjects import CPU, examined, subject_of

D = 600
W = (np.random.default_rng(0).normal(size=(5, 1)) / 2).astype(np.float32)
TEXT = f"g (float[n,{D}] x) => (float[n,{D}] y) "
TEXT += "{ s = Unsqueeze(x, one) c = Conv<pads = [2, 2]>(s, w) t = Tanh(c)"
TEXT += " y = Squeeze(t, one) }"
WEIGHTS = {"one": np.array([1], np.int64), "w": W.reshape(1, 1, 5)}


def rows(n=8):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, D, generator=generator)


def truth(x):
    c = nn.functional.conv1d(x[:, None], torch.from_numpy(W).view(1, 1, 5), padding=2)
    return torch.tanh(c[:, 0])


def test_products_are_those_of_the_jacobian(tmp_path):
    path = onnx_file(tmp_path, TEXT, **WEIGHTS)
    x = rows(3)
    found = products_of(subject_of(load(path, CPU, False, frozenset()), x), x, {})
    v = torch.randn(3, 2, D, dtype=torch.float64)
    for i in range(3):
        exact = torch.autograd.functional.jacobian(lambda r: truth(r[None])[0], x[i])
        torch.testing.assert_close(
            found.along(v)[i], v[i] @ exact.double().mT, rtol=1e-4, atol=1e-5
        )
    assert found.moves().all()


def test_a_wide_file_passes_without_a_dense_jacobian(tmp_path, monkeypatch):
    monkeypatch.setattr(referee, "tried_rows", None)  # of the dense way
    found = examined(onnx_file(tmp_path, TEXT, **WEIGHTS), rows())
    assert found.derivative_error_float64 < 1e-6
    assert "float64 run and onnxruntime" in found.derivative_evidence
    assert not found.warnings


def test_a_wrong_derivative_of_a_wide_file_is_refused(tmp_path, monkeypatch):
    for entry in registry._OPERATORS[("", "Tanh")]:

        def wrong(x, run=entry.run):
            value = run(x)
            return value.detach() + 0.9 * (value - value.detach())

        monkeypatch.setitem(entry.__dict__, "run", wrong)
    with pytest.raises(ModelError, match="The derivative differs"):
        examined(onnx_file(tmp_path, TEXT, **WEIGHTS), rows())


class NoSecond(torch.autograd.Function):
    """x² whose backward pass has no derivative of its own."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


def test_an_operator_without_a_second_derivative_is_stored(tmp_path):
    path = onnx_file(tmp_path, TEXT, **WEIGHTS)
    x = rows(2)
    subject = subject_of(load(path, CPU, False, frozenset()), x)
    call = subject.call
    changed = type(subject)(
        **{
            **subject.__dict__,
            "call": lambda values: {"y": NoSecond.apply(call(values)["y"])},
        }
    )
    assert products_of(changed, x, {}) is None


class Lying(torch.autograd.Function):
    """The identity whose plain backward pass is not the one it differentiates."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad + (0.0 if grad.requires_grad else 0.1 * grad)


def test_double_passes_that_differ_from_plain_ones_are_not_believed(tmp_path):
    path = onnx_file(tmp_path, TEXT, **WEIGHTS)
    x = rows(2)
    subject = subject_of(load(path, CPU, False, frozenset()), x)
    call = subject.call
    changed = type(subject)(
        **{
            **subject.__dict__,
            "call": lambda values: {"y": Lying.apply(call(values)["y"])},
        }
    )
    assert products_of(changed, x, {}) is None


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        layers = nn.Conv1d(1, 4, 9, padding=4), nn.Tanh(), nn.Conv1d(4, 1, 1)
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return {"probs": torch.sigmoid(self.net(x[:, None])[:, 0])}


def test_a_detector_of_thousands_of_samples_is_opened_in_seconds(tmp_path):
    """d = p = 7,500: a dense Jacobian would be 450 MB a row, and 7,500 passes."""
    d = 7500
    path = script_file(tmp_path, Detector())
    data = data_file(tmp_path, x=np.random.default_rng(1).normal(size=(6, d)))
    start = time.process_time()
    model = opened(path, data, family="bernoulli")
    assert time.process_time() - start < 15
    assert "its float64 run" in model.gates.derivative_evidence
    assert model.gates.derivative_error_float64 < 1e-6
