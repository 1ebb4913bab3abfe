"""Fitting and checking models that are a density or a sampler, not a known family.

The reference numbers are taken from the saved file by onnxruntime alone: derivatives
are central differences of its outputs, and expectations are quadratures, over a
Gauss-Hermite grid in the noise or a grid in theta. No code is shared with robaudit.
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


def fisher_by_differences(path: Path, x: Tensor, points: int = 20) -> Tensor:
    """F_x [N, d, d] of a file with inputs x, theta, z and a flat condition."""
    run, size = open_session(path)
    z, weights = grid(size, points)
    rows = []
    for row in x.numpy():
        theta = run("sample", x=row, theta=z, z=z)
        score = slopes(lambda x: run("log_prob", x=x, theta=theta, z=z), row)  # noqa: B023
        rows.append(score.T @ (score * weights[:, None]))
    return torch.from_numpy(np.stack(rows))


def transport_by_differences(path: Path, x: Tensor, points: int = 40) -> Tensor:
    """E_z[J_Tᵀ J_T] [N, d, d] of a file with inputs x and z."""
    run, size = open_session(path)
    z, weights = grid(size, points)
    rows = []
    for row in x.numpy():
        jacobian = slopes(lambda x: run("sample", x=x, z=z), row)
        rows.append(np.einsum("snd,sne,s->de", jacobian, jacobian, weights))
    return torch.from_numpy(np.stack(rows))


def open_session(path: Path) -> tuple[Callable[..., np.ndarray], int]:
    """Return the file as a function of named inputs, and the size of z.

    The condition is one row, repeated for all draws.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    size = next(i.shape[1] for i in session.get_inputs() if i.name == "z")

    def run(output: str, *, x: np.ndarray, **inputs: np.ndarray) -> np.ndarray:
        draws = len(inputs["z"])
        feeds = {"x": np.repeat(x[None], draws, 0), **inputs}
        return session.run([output], feeds)[0]

    return run, size


def slopes(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Central differences in each coordinate of x, stacked on the last axis."""
    found = []
    for step in STEP * np.eye(len(x), dtype=x.dtype):
        ahead, behind = function(x + step), function(x - step)
        found.append((ahead.astype(float) - behind.astype(float)) / (2 * STEP))
    return np.stack(found, -1)
