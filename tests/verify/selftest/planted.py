"""Files with one mistake each, and an honest one to hold beside them."""

from typing import Dict  # noqa: UP035 (TorchScript knows no other)

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import torch
from torch import Tensor, nn

from audit.config import ModelConfig, ScanConfig
from audit.run.selftest import selftest

NORMAL = {"loc": "loc", "scale": "exp(log_scale)"}
HEADER = '<ir_version: 8, opset_import: ["" : 17]>'
DIMENSION = 4
_RNG = np.random.default_rng(5)
A = _RNG.normal(size=(DIMENSION, 1)).astype(np.float32)
B = (_RNG.normal(size=(DIMENSION, 1)) / 2).astype(np.float32)


class Base(nn.Module):
    """loc = x A, log_scale = x B − 2, after `body`."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.from_numpy(A))
        self.b = nn.Parameter(torch.from_numpy(B))

    def body(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Dict[str, Tensor]:  # noqa: UP006
        x = self.body(x)
        return {"loc": x @ self.a, "log_scale": x @ self.b - 2.0}


class Dropout(Base):
    def body(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.3, training=True)


class Noisy(Base):
    def body(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class Remembers(Base):
    def __init__(self, step: float):
        super().__init__()
        self.step = step
        self.register_buffer("calls", torch.zeros(1))

    def body(self, x: Tensor) -> Tensor:
        self.calls += self.step
        return x + self.calls


class BatchNorm(Base):
    def body(self, x: Tensor) -> Tensor:
        centred = x - x.mean(0, keepdim=True)
        return centred / (centred.square().mean(0, keepdim=True) + 1e-5).sqrt()


class Leaky(Base):
    """Rows interact by a millionth: less than float32's own rounding allows for."""

    def body(self, x: Tensor) -> Tensor:
        return x + 1e-6 * x.mean(0, keepdim=True)


def script(folder, module, name="model.pt"):
    path = folder / name
    torch.jit.script(module).save(str(path))
    return path


def onnx_text(folder, text, **weights):
    model = onnx.parser.parse_model(f"{HEADER} {text}")
    for name, value in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def onnx_head(folder, body, **weights):
    """Save the base head after a body, nodes that make `h` [n, 4] of `x`."""
    text = f"""head (float[n, 4] x) => (float[n, 1] loc, float[n, 1] log_scale) {{
        {body}
        loc = MatMul(h, a)
        s = MatMul(h, b)
        log_scale = Sub(s, one)
    }}"""
    return onnx_text(folder, text, a=A, b=B, one=np.full(1, 2, np.float32), **weights)


def inputs(n=120, seed=0):
    return np.random.default_rng(seed).normal(size=(n, DIMENSION)).astype(np.float32)


def drawn(x, power=1.0, seed=1):
    """θ of N(x A, σ²), σ = exp(x B − 2)^power, by numpy alone."""
    z = np.random.default_rng(seed).normal(size=(len(x), 1))
    return (x @ A + z * np.exp(power * (x @ B - 2))).astype(np.float32)


def config(folder, path, family="normal", parameters=NORMAL, x=None, **arrays):
    data = folder / "data.npz"
    np.savez(data, x=inputs() if x is None else x, **arrays)
    model = ModelConfig(str(path), family=family, parameters=parameters)
    return ScanConfig(model=model, data=str(data))


def tested(*args, **arrays):
    """Return (exit code, check -> line)."""
    found = selftest(config(*args, **arrays))
    return found.exit_code, {line.check: line for line in found.lines}
