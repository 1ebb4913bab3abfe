"""Little densities and samplers with known tensors, and how to save and scan them.

The affine law θ = μ(x) + L(x) z, z ~ N(0, I), has, with D = ∂/∂x,

    Fisher information   Dμᵀ Σ⁻¹ Dμ + ½ tr(Σ⁻¹ DΣ Σ⁻¹ DΣ),   Σ = L Lᵀ
    transport tensor     Dμᵀ Dμ + tr(DL DLᵀ)

and θ = exp(μ + L z) the same Fisher information and, under the tilt exp(2 L_k z) that
moves z to 2 L_k, the transport tensor

    Σ_k exp(2 μ_k + 2 |L_k|²) [(Dμ_k + 2 DL_k L_k)(…)ᵀ + DL_k DL_kᵀ].
"""

import json
import math
import warnings

import numpy as np
import onnx
import torch
from scans import columns, scan
from torch import nn

from audit.config import ModelConfig, ScanConfig

A = torch.tensor([[0.9, -0.4], [0.3, 0.8], [-0.6, 0.5]], dtype=torch.float64)
B = torch.tensor([0.25, -0.15, 0.1], dtype=torch.float64)
C = torch.tensor([-0.1, 0.2, 0.3], dtype=torch.float64)
X = np.array([[0.3, -0.2, 0.5], [-0.4, 0.1, 0.2], [0.0, 0.7, -0.3]])
NORMAL = {"noise": "z:normal"}


def mean(x):
    return torch.tanh(x @ A.to(x))


def factor(x):
    """Return L [N, 2, 2], lower triangular."""
    b, c = x @ B.to(x), x @ C.to(x)
    first = torch.stack([0.5 * torch.exp(b), torch.zeros_like(b)], dim=-1)
    second = torch.stack([0.4 + c, 0.3 * torch.exp(c)], dim=-1)
    return torch.stack([first, second], dim=-2)


def push(x, z):
    return mean(x) + (factor(x) @ z.unsqueeze(-1)).squeeze(-1)


def log_density(x, theta):
    f, apart = factor(x), theta - mean(x)
    first = apart[:, 0] / f[:, 0, 0]
    second = (apart[:, 1] - f[:, 1, 0] * first) / f[:, 1, 1]
    size = f[:, 0, 0].log() + f[:, 1, 1].log()
    return -0.5 * (first**2 + second**2) - size - math.log(2 * math.pi)


def _derivatives(x):
    point = torch.as_tensor(x, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian
    f = factor(point[None])[0]
    mu = jacobian(lambda p: mean(p[None])[0], point)  # [2, 3]
    moved = jacobian(lambda p: factor(p[None])[0], point)  # [2, 2, 3]
    return mean(point[None])[0], f, mu, moved


def fisher(x):
    """Return the Fisher information [3, 3] of the affine law at one x."""
    _, f, mu, moved = _derivatives(x)
    inverse = torch.linalg.inv(f @ f.T)
    change = torch.einsum("abi,cb->aci", moved, f)
    change = inverse @ (change + change.transpose(0, 1)).permute(2, 0, 1)
    return mu.T @ inverse @ mu + torch.einsum("iab,jba->ij", change, change) / 2


def transport(x):
    """Return the transport tensor [3, 3] of the affine law at one x."""
    _, _, mu, moved = _derivatives(x)
    return mu.T @ mu + torch.einsum("abi,abj->ij", moved, moved)


def log_normal_transport(x):
    """Return the transport tensor [3, 3] of the exponential of the affine law."""
    at, f, mu, moved = _derivatives(x)
    total = torch.zeros(3, 3, dtype=torch.float64)
    for k in range(2):
        slope = mu[k] + 2 * f[k] @ moved[k]
        size = torch.exp(2 * at[k] + 2 * f[k].square().sum())
        total += size * (torch.outer(slope, slope) + moved[k].T @ moved[k])
    return total


class Named(nn.Module):
    """A function of tensors that returns a tuple."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *values):
        return self.function(*values)


def example_of(sizes, rows=3, dtype=torch.float32):
    """Return inputs of that many columns; a tuple is the shape of one row."""
    shapes = [s if isinstance(s, tuple) else (s,) for s in sizes.values()]
    return tuple(torch.full((rows, *shape), 0.3, dtype=dtype) for shape in shapes)


def onnx_file(path, function, inputs, outputs, dtype=torch.float32, **options):
    """Save a function of named inputs {name: columns} as ONNX, with any batch.

    options: `batch`, of a file that takes no other; `metadata`, its contract;
    `integers`, inputs of that type.
    """
    batch, metadata = options.get("batch"), options.get("metadata")
    names = (*inputs, *outputs)
    module = function if isinstance(function, nn.Module) else Named(function)
    example = [
        value.ceil().long() if name in options.get("integers", ()) else value
        for name, value in zip(
            inputs, example_of(inputs, batch or 3, dtype), strict=True
        )
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(example),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=None if batch else {name: {0: "rows"} for name in names},
            opset_version=18,
            dynamo=False,
        )
    if metadata is not None:
        model = onnx.load(path)
        model.metadata_props.add(key="robaudit", value=json.dumps(metadata))
        onnx.save(model, path)
    return path


def config_of(path, x, model=None, verify=0, **options):
    """Return the scan of a file on rows x; further arrays are `data`."""
    data = path.with_name(f"{path.stem}_{abs(hash(np.asarray(x).tobytes()))}.npz")
    np.savez(data, x=x, **options.pop("data", {}))
    return ScanConfig(
        model=ModelConfig(str(path), **(model or {})),
        data=str(data),
        verify=verify,
        **options,
    )


def report_of(path, x, model=None, **options):
    """Return the report of a scan."""
    return scan(config_of(path, x, model, **options))


def columns_of(path, x, model=None, divergence="kl", **options):
    """Return the columns of a scan by one divergence."""
    report = report_of(path, x, model, divergences=(divergence,), **options)
    return columns(report, divergence)


def assert_within(found, truth, sigmas=4.0):
    """Hold trace and eigenvalue against tensors [N, d, d], by their own errors.

    What is integrated over its noise has no standard error, and no error to speak of.
    """
    for i, tensor in enumerate(np.asarray(truth)):
        truth = {
            "trace": np.trace(tensor),
            "eigenvalue": np.linalg.eigvalsh(tensor)[-1],
        }
        for name, value in truth.items():
            errors = found.get(f"{name}_se")
            reach = 1e-5 * value  # float32
            if errors is not None:
                reach += sigmas * errors[i]
            assert abs(found[name][i] - value) <= reach, name


def notes_of(report, divergence="kl"):
    return " | ".join(report.divergences[divergence].notes)


def codes(report):
    return {warning.code for warning in report.warnings}
