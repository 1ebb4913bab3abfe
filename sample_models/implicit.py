"""Fitting and checking models that are a density or a sampler, not a known family.

The reference Fisher information is taken from the saved file by onnxruntime alone:
draws are a Gauss-Hermite grid in the noise, pushed through the file's own sampler, and
scores are central differences of its own log_prob. No code is shared with robaudit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

STEP = 1e-2


def fit(
    parameters: list[nn.Parameter],
    loss: Callable[[], Tensor],
    steps: int,
    rate: float = 2e-3,
) -> None:
    """Adam with a cosine schedule; `loss` draws its own batch."""
    optimizer = torch.optim.Adam(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()


def grid(size: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes [S, size] and weights [S] of a standard normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    weights = weights / weights.sum()
    axes = np.meshgrid(*[nodes] * size, indexing="ij")
    shares = np.meshgrid(*[weights] * size, indexing="ij")
    product = np.prod([share.ravel() for share in shares], axis=0)
    return np.stack([axis.ravel() for axis in axes], 1).astype(np.float32), product


def fisher_by_differences(path: Path, x: Tensor, points: int = 20) -> np.ndarray:
    """F_x [N, d, d] of a file with inputs x, theta, z and a flat condition."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    size = next(i.shape[1] for i in session.get_inputs() if i.name == "z")
    z, weights = grid(size, points)

    def run(output: str, row: np.ndarray, theta: np.ndarray) -> np.ndarray:
        feeds = {"x": np.repeat(row[None], len(z), 0), "theta": theta, "z": z}
        return session.run([output], feeds)[0].astype(np.float64)

    rows = []
    for row in x.numpy():
        theta = run("sample", row, z).astype(np.float32)
        steps = STEP * np.eye(len(row), dtype=np.float32)
        slopes = [
            run("log_prob", row + step, theta) - run("log_prob", row - step, theta)
            for step in steps
        ]
        score = np.stack(slopes, 1) / (2 * STEP)
        rows.append(score.T @ (score * weights[:, None]))
    return np.stack(rows)
