"""`export_sampler`: a map from noise that has no density."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from audit.export.attempts import ROWS, Task, known_format, write
from audit.export.densities import base_noise, unvalidated


@unvalidated()
def export_sampler(
    sampler: nn.Module,
    path: str | Path,
    *,
    x: Tensor,
    noise: int,
    law: str = "normal",
    transport: str | None = None,
) -> Path:
    """Save a sampler θ = T(x, z) that has no density: a decoder, a generator.

    Args:
        sampler: `forward(x, z)` returns θ [N, n].
        path: the file; `.onnx`, `.pt2` or `.pt` says which format.
        x: typical conditions [N, ...].
        noise: the number of coordinates of z.
        law: of each of them, "normal", "uniform" or "logistic".
        transport: what the map is called in a report; by default its class.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix is not known.
        ModelError: no exporter can write it, or the file differs from it.
    """
    path = known_format(path)
    module = _Named(copy.deepcopy(sampler)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    x = x[torch.arange(ROWS) % len(x)].detach().clone()
    inputs = {"x": x, "z": base_noise(law, len(x), noise, generator).to(x)}
    document = {
        "contract": "transport",
        "condition": "x",
        "noise": {"z": law},
        "outputs": {"sample": "sample"},
        "transport": transport or type(sampler).__name__,
    }
    with torch.no_grad():
        expected = module(**inputs)
    return write(Task(module, path, inputs, expected, document))


class _Named(nn.Module):
    """A sampler whose output has a name."""

    def __init__(self, sampler: nn.Module) -> None:
        super().__init__()
        self.sampler = sampler

    def forward(self, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        """Return T(x, z)."""
        return {"sample": self.sampler(x, z)}
