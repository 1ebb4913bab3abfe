"""The Bures distance, W₂² between centred normal laws.

With Σ₁ = U diag(σ²) Uᵀ, D = Uᵀ (Σ₂ − Σ₁) U and R = (Σ₁^½ Σ₂ Σ₁^½)^½ in that basis,
W₂² is ‖Y‖_F² of Y = diag(σ)⁻¹ (R − diag σ²), which solves

    Y_ij = (D − Y Yᵀ)_ij σ_j / (σ_i² + σ_j²).

For a small step that is iterated from Y = 0, and each entry has its own digits, however
different the σ are. For a large one R is the symmetric polar factor of
diag(σ) Uᵀ L₂, by its singular values.

Source: Takatsu, Osaka Journal of Mathematics 48 (2011).
"""

from __future__ import annotations

import torch
from torch import Tensor

CLOSE = 0.1  # of Σ₁^−½ (Σ₂ − Σ₁) Σ₁^−½ below which Y is iterated
NOTHING = 1e-150  # of the largest: stands for a singular value of zero
ROUNDS = 18  # each gains a digit or more


def bures_distance(tril: Tensor, step: Tensor) -> Tensor:
    """Return W₂² [N] between N(0, LLᵀ) and N(0, (L + ΔL)(L + ΔL)ᵀ).

    Args:
        tril: L [N, n, n].
        step: ΔL [N, n, n]; it may be small.
    """
    unit = torch.maximum(tril.abs(), step.abs()).amax((-2, -1), keepdim=True)
    tril, step = tril / unit, step / unit
    basis, sizes, _ = singular_vectors(tril)
    sizes = sizes.clamp_min(NOTHING)
    rows, columns = sizes.unsqueeze(-1), sizes.unsqueeze(-2)
    cross = step @ tril.mT
    moved = basis.mT @ (cross + cross.mT + step @ step.mT) @ basis
    close = (moved / rows / columns).norm(dim=(-2, -1), keepdim=True) < CLOSE
    weight = columns / torch.hypot(rows, columns) / torch.hypot(rows, columns)
    small = torch.where(close, moved, 0.0)
    near = torch.zeros_like(moved)
    for _ in range(ROUNDS):
        near = (small - near @ near.mT) * weight
    left, values, _ = singular_vectors(rows * (basis.mT @ (tril + step)))
    root = (left * values.unsqueeze(-2)) @ left.mT
    far = (root - torch.diag_embed(sizes.square())) / rows
    distance = torch.where(close, near, far) * unit
    return distance.square().sum((-2, -1))


def singular_vectors(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, σ > 0 and Vᵀ [N, n, n]; NaN for a matrix that is not finite.

    LAPACK would refuse the whole batch for one of those.
    """
    known = torch.isfinite(matrix).all(-1).all(-1)[..., None, None]
    left, sizes, right = torch.linalg.svd(torch.where(known, matrix, 0.0))
    sizes = torch.maximum(sizes, NOTHING * sizes[..., :1])
    return left, torch.where(known.squeeze(-1), sizes, torch.nan), right
