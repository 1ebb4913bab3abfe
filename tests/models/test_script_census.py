"""TorchScript that computes with numbers of few bits is refused."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from audit.config import ModelConfig, ScanConfig
from audit.ground.errors import NotDifferentiable
from audit.models.script_census import script_census
from audit.run.inspection import inspect
from models.saved import data_file, opened, script_file

quantisation = torch.ao.quantization


class Net(nn.Module):
    """A linear layer, and the input beside it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 3)
        self.enter = quantisation.QuantStub()
        self.leave = quantisation.DeQuantStub()

    def forward(self, x):
        h = self.leave(self.linear(self.enter(x)))
        return {"mean": torch.tanh(h) + x, "std": torch.exp(x)}


def static():
    module = Net().eval()
    module.qconfig = quantisation.get_default_qconfig("fbgemm")
    prepared = quantisation.prepare(module)
    prepared(torch.linspace(-2, 2, 24).reshape(8, 3))
    return quantisation.convert(prepared)


def dynamic():
    return quantisation.quantize_dynamic(Net().eval(), {nn.Linear})


class Faked(nn.Module):
    """Rounds as quantisation will; torch gives the identity for its derivative."""

    def forward(self, x):
        y = torch.fake_quantize_per_tensor_affine(x, 0.05, 0, -128, 127)
        return {"mean": y, "std": torch.exp(x)}


class Looped(nn.Module):
    """What is rounded depends on x from the second round on."""

    def forward(self, x):
        y, z = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(3):
            z = torch.fake_quantize_per_tensor_affine(y, 0.05, 0, -128, 127)
            y = y + torch.tanh(x)
        return {"mean": z + x, "std": torch.exp(x)}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


CASES = {
    static: "aten::quantize_per_tensor",
    dynamic: "quantized::linear_dynamic",
    Faked: "aten::fake_quantize_per_tensor_affine",
    Looped: "aten::fake_quantize_per_tensor_affine",
}


@pytest.mark.parametrize("make", CASES)
def test_a_quantised_module_is_refused(tmp_path, make):
    path, data = script_file(tmp_path, make()), data_file(tmp_path)
    with pytest.raises(NotDifferentiable) as error:
        opened(path, data, family="normal")
    assert str(error.value).startswith(CASES[make])
    assert "a backward pass sees nothing of what passes" in str(error.value)
    if make is not dynamic:  # there the range is that of the batch: rows interact
        assert opened(path, data, "finite-difference", family="normal").by_differences
    found = inspect(ScanConfig(model=ModelConfig(str(path), family="normal")))
    assert found.differentiable == f"no: {CASES[make]} is quantised"


class Aside(nn.Module):
    """Rounds another input, and holds its weights in few bits."""

    def __init__(self):
        super().__init__()
        weight = torch.randn(3, generator=torch.Generator().manual_seed(0))
        few = torch.quantize_per_tensor(weight, 0.01, 0, torch.qint8)
        self.register_buffer("few", few)

    def forward(self, x, other):
        rounded = torch.fake_quantize_per_tensor_affine(other, 0.5, 0, -128, 127)
        weight = torch.dequantize(self.few).to(x.dtype)
        return {"mean": x * weight + rounded, "std": torch.exp(x)}


def test_what_does_not_depend_on_the_condition_may_be_of_few_bits(tmp_path):
    path = script_file(tmp_path, Aside())
    data = data_file(tmp_path, other=np.ones((12, 3), np.float32))
    said = {"family": "normal", "condition": "x"}
    assert opened(path, data, **said).gates.derivative_error_float64 < 1e-6
    module = torch.jit.load(str(path))
    assert script_census(module, ["forward"], "x", ()).quantised == ()
    assert script_census(module, ["forward"], "other", ()).quantised == (
        "aten::fake_quantize_per_tensor_affine",
    )


class Methods(nn.Module):
    def forward(self, x):
        return x

    @torch.jit.export
    def log_prob(self, x, theta):
        return -((theta - x) ** 2).sum(1)

    @torch.jit.export
    def sample(self, x, z):
        return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255) + z


def test_a_method_that_is_not_read_is_no_matter():
    module = torch.jit.script(Methods())
    names = ["log_prob", "sample"]
    assert script_census(module, names, "x", ["log_prob"]).quantised == ()
    assert script_census(module, names, "x", names).quantised
