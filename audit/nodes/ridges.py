"""The way up a ridge that bends, which windows along the axes do not find.

On a ridge that runs aslant every point is the best of a window that is wider than the
ridge: the window shrinks and stays. There the slope and the curvature tell the way. A
step is Newton's for a curvature made definite and damped,

    δ = Σ_i v_i (v_iᵀ g) / (|λ_i| + μ),      H = Σ_i λ_i v_i v_iᵀ,

in units along the axes in which log q changes by about a nat, so that it does not
matter in what units θ is. All of `DAMPING` are tried at once, each by 1 and by `FAR`,
and the highest point is taken; a law none of whose points is higher has arrived.
Differences over `SHARE` of a unit cost three digits of curvature to the fourth
derivative, and as many to the noise of single precision.

Sources: Levenberg, Quarterly of Applied Mathematics 2 (1944), and Marquardt, SIAM
Journal 11 (1963), for damping; Greenstadt, Mathematics of Computation 21 (1967), for
the absolute values.

Shapes: M laws, J points, D damped steps, two axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.nodes.charts import Field, lattice

STEPS = 400
SHARE = 0.03  # of a unit
GAIN = 1e-4  # nats by which a step must be higher
WORTH = 0.02  # nats in all below which a point is left where it was
FAR = (1.0, 2.0, 4.0)
DAMPING = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
CHANGE = 8.0  # by which a unit changes at most in a step


def follow(
    field: Field, at: Tensor, unit: Tensor, steps: int = STEPS
) -> tuple[Tensor, Tensor]:
    """Return points [M, J, 2] uphill along ridges, and their heights [M, J].

    Each point goes its own way: where it ends depends on no other.

    Args:
        field: log density.
        at: where to start [M, J, 2]; a start without density stays.
        unit: about how far log q takes to change by a nat, along the axes [M, J, 2].
        steps: at most.
    """
    start, first = at, field(at)
    height, active = first, first.isfinite()
    for _ in range(steps):
        if not active.any():
            break
        slope, curvature = _derivatives(field, at, unit)
        tried = at.unsqueeze(2) + unit.unsqueeze(2) * _steps(slope, curvature)
        values = field(tried.flatten(1, 2)).reshape(*height.shape, -1)
        best, index = values.max(-1)
        active = active & (best > height + GAIN)
        step = tried.gather(2, index[..., None, None].expand(-1, -1, 1, 2)).squeeze(2)
        at = torch.where(active.unsqueeze(-1), step, at)
        height = torch.where(active, best, height)
        size = curvature.diagonal(dim1=-2, dim2=-1).abs().sqrt()
        change = torch.maximum(size, slope.abs()).clamp(1 / CHANGE, CHANGE)
        unit = unit / change
    worth = height > first + WORTH
    at = torch.where(worth.unsqueeze(-1), at, start)
    return at, torch.where(worth, height, first)


def _steps(slope: Tensor, curvature: Tensor) -> Tensor:
    """Return damped Newton steps [M, J, D, 2], in the same units."""
    values, vectors = torch.linalg.eigh(curvature)
    along = (vectors.mT @ slope.unsqueeze(-1)).squeeze(-1)
    damping = torch.tensor(DAMPING, dtype=torch.float64)[:, None]
    size = (values.abs().unsqueeze(-2) + damping).clamp_min(1e-300)
    once = (along.unsqueeze(-2) / size) @ vectors.mT
    return torch.cat([factor * once for factor in FAR], -2)


def _derivatives(field: Field, at: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope [M, J, 2] and curvature [M, J, 2, 2]; flat beside a cliff."""
    signs = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)[None, :, None]
    around = lattice(SHARE * signs.expand(1, 3, 2))[0]
    points = at.unsqueeze(2) + unit.unsqueeze(2) * around
    g = field(points.flatten(1, 2)).reshape(*at.shape[:2], 3, 3)
    slope = torch.stack([g[..., 2, 1] - g[..., 0, 1], g[..., 1, 2] - g[..., 1, 0]], -1)
    one = g[..., 2, 1] + g[..., 0, 1] - 2 * g[..., 1, 1]
    two = g[..., 1, 2] + g[..., 1, 0] - 2 * g[..., 1, 1]
    cross = (g[..., 2, 2] + g[..., 0, 0] - g[..., 0, 2] - g[..., 2, 0]) / 4
    curvature = torch.stack([one, cross, cross, two], -1).reshape(*at.shape, 2)
    flat = ~g.isfinite().all(-1).all(-1)
    slope = (slope / (2 * SHARE)).masked_fill(flat[..., None], 0.0)
    return slope, (curvature / SHARE**2).masked_fill(flat[..., None, None], 0.0)
