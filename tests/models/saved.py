"""Small saved models of every format, and data for them."""

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import torch
from torch import nn

from audit.config import ModelConfig
from audit.models.contract import Settings
from audit.models.opening import open_model

HEADER = '<ir_version: 8, opset_import: ["" : 17]>'


def graph(text, **weights):
    """Parse a graph written in ONNX's own text form; `weights` become initializers."""
    model = onnx.parser.parse_model(f"{HEADER} {text}")
    for name, value in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    onnx.checker.check_model(model)
    return model


def onnx_file(folder, text, metadata=None, **weights):
    path = folder / "model.onnx"
    model = graph(text, **weights)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


class Head(nn.Module):
    """A normal head whose derivative is known: loc = x A, log_scale = sin(x) b."""

    def __init__(self, d=3):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.a = nn.Parameter(torch.randn(d, 2, generator=generator))
        self.b = nn.Parameter(torch.randn(d, 2, generator=generator) / 4)

    def forward(self, x):
        return {"loc": x @ self.a, "log_scale": torch.sin(x) @ self.b}


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def script_file(folder, module, name="model.pt", **saving):
    path = folder / name
    torch.jit.script(module).save(str(path), **saving)
    return path


def trace_file(folder, function, example, name="model.pt"):
    path = folder / name
    module = function if isinstance(function, nn.Module) else Function(function)
    torch.jit.trace(module, (example,), strict=False, check_trace=False).save(str(path))
    return path


def pt2_file(folder, module, example, dynamic=True, name="model.pt2", **saving):
    """Save a module; `dynamic` may be the dimension of its batch."""
    path = folder / name
    batch = torch.export.Dim("n") if dynamic is True else dynamic
    shapes = {"x": {0: batch}} if dynamic else None
    program = torch.export.export(module, (example,), dynamic_shapes=shapes)
    torch.export.save(program, path, **saving)
    return path


def data_file(folder, n=12, d=3, **arrays):
    path = folder / "data.npz"
    x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    np.savez(path, **({"x": x} | arrays))
    return str(path)


def opened(path, data, method="auto", **options):
    """Open a model as a scan does, every option said on the command line."""
    origins = dict.fromkeys(options, "command line")
    settings = Settings(ModelConfig(str(path), **options), origins, method)
    return open_model(settings, data)


def jacobian(model, dtype=torch.float64):
    """φ and its Jacobian on the probe rows."""
    x, held = model.rows(model.probe_index())
    phi, operator = model.density.parameter_map.linearize(x, held)
    return phi, operator.dense().to(dtype)
