"""Encoders of torch, exported by both of its exporters, have certificates."""

import numpy as np
import pytest
import torch
from torch import distributions as td
from torch import nn

from audit.config import ModelConfig, ScanConfig
from audit.geometry.divergences import kl
from audit.verify.certificate import certify
from verify.test_certificate import site, wide, witness

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters
SIZES = (0.003, 0.03, 0.1)
LIMITS = (1.06, 1.5, 5.0)  # of bound / witness, in the median


class Encoder(nn.Module):
    """Tokens of two numbers, encoder layers of two heads, and a normal law."""

    def __init__(self, layers, first=False, by_rows=True):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            8, 2, 16, 0.0, activation="gelu", norm_first=first, batch_first=by_rows
        )
        self.by_rows = by_rows
        self.lift, self.head = nn.Linear(2, 8), nn.Linear(8, 2)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, x):
        tokens = self.lift(x.reshape(-1, 3, 2))
        if self.by_rows:
            found = self.body(tokens)
        else:
            found = self.body(tokens.transpose(0, 1)).transpose(0, 1)
        out = self.head(found.mean(1))
        return out[:, :1], out[:, 1:].exp()


def certified(path, x):
    """Return the bounds of a file with the outputs loc and scale [n, S]."""
    np.savez(path.with_name("x.npz"), x=x)
    law = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}
    model = ModelConfig(str(path), **law)
    config = ScanConfig(model=model, data=str(path.with_name("x.npz")))
    found = certify(kl(), site(config), wide(*SIZES), 2.0)
    assert found.why == ""
    return found.bound


def compare(net, bound, x):
    """Raise where a witness is above a bound, or the bounds are loose."""

    def law(x):
        loc, scale = net(x)
        return td.Independent(td.Normal(loc, scale), 1)

    for k, (size, limit) in enumerate(zip(SIZES, LIMITS, strict=True)):
        best = witness(law, x, size, starts=6, steps=30)
        ratio = bound[:, k] / best
        print(f"{size:g}: certificate / witness {ratio.median():.3g}")
        assert float(ratio.min()) >= 1 - 1e-9
        assert float(ratio.median()) <= limit


@pytest.mark.parametrize("kind", ["rows first", "norm first", "tokens first"])
def test_an_encoder_is_certified(kind, tmp_path):
    torch.manual_seed(1)
    net = Encoder(1, kind == "norm first", kind != "tokens first").double().eval()
    x = torch.randn(3, 6, dtype=torch.float64)
    path = tmp_path / "encoder.onnx"
    names = {"input_names": ["x"], "output_names": ["loc", "scale"]}
    axes = {"x": {0: "n"}}
    torch.onnx.export(net, (x,), path, dynamo=False, dynamic_axes=axes, **names)
    compare(net, certified(path, x.numpy()), x)


@pytest.mark.slow
def test_two_layers_by_the_other_exporter_are_certified(tmp_path):
    torch.manual_seed(2)
    net = Encoder(2).double().eval()
    x = torch.randn(3, 6, dtype=torch.float64)
    path = tmp_path / "encoder.onnx"
    names = {"input_names": ["x"], "output_names": ["loc", "scale"]}
    rows = ({0: torch.export.Dim("n")},)
    torch.onnx.export(net, (x,), path, dynamo=True, dynamic_shapes=rows, **names)
    compare(net, certified(path, x.numpy()), x)
