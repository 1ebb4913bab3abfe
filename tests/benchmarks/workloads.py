"""Models of the benchmarks, made here and saved as files."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn


class GaussianHead(nn.Module):
    """W1: MLP 64-256-256-20 with a diagonal normal head (10 means, 10 log scales)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(64, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, 20),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        loc, log_scale = self.body(x).chunk(2, dim=-1)
        return {"loc": loc, "log_scale": 0.1 * log_scale}


def save_onnx(model: nn.Module, x: Tensor, names: list[str], path: Path) -> Path:
    """Export with a dynamic batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (x[:2],),
            str(path),
            input_names=["x"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    return path
