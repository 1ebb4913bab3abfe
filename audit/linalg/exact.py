"""Exact decomposition on the smaller side of the root.

The nonzero eigenvalues of G = AᵀA (d×d) are those of A Aᵀ (r×r), and an eigenvector
u of A Aᵀ gives v = Aᵀu / √λ. With r < d rows no d×d matrix is ever formed. Squaring
A halves the digits of the small eigenvalues: in float64 those below 1e-13 λ_max are
rounding, and are reported as zero. A matrix with an infinite entry (a law without
second moments) has NaN for all its answers; its neighbours in the batch keep theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.operators import LinearOperator
from audit.linalg.spectrum import Estimate, Spectrum

_ROUNDING = 1e-13  # of λ_max and of each unit of the matrix side


def decompose_exact(root: LinearOperator, top: int) -> Spectrum:
    """Return all eigenvalues of AᵀA and the `top` leading directions."""
    _, rows, columns = root.shape
    if rows <= columns:
        eigenvalues, vectors = descending(root.gram())
        directions = root.rmatmat(vectors[:, :, :top])
    else:
        dense = root.dense()
        eigenvalues, vectors = descending(dense.mT @ dense)
        directions = vectors[:, :, :top]
    trace = eigenvalues.sum(dim=1)
    eigenvalues = _clean(eigenvalues)
    return Spectrum(
        eigenvalues,
        unit_columns(directions, eigenvalues[:, :top] > 0),
        Estimate(trace),
        Estimate(eigenvalues[:, 0]),
    )


def unit_columns(vectors: Tensor, meaningful: Tensor) -> Tensor:
    """Normalise columns [N, d, k], largest entry positive; zero where not meaningful.

    The sign of an eigenvector is arbitrary; fixing it makes reports reproducible.
    """
    length = vectors.norm(dim=1, keepdim=True)
    peak = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    sign = torch.where(peak < 0, -1.0, 1.0).to(vectors.dtype)
    keep = meaningful.unsqueeze(1) & (length > 0)
    return torch.where(keep, vectors * sign / length, torch.zeros_like(vectors))


def descending(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [N, m], the largest first, and vectors [N, m, m].

    A matrix that is not finite gets NaN: LAPACK would refuse the whole batch.
    """
    finite = torch.isfinite(matrix).all(dim=-1).all(dim=-1)
    safe = torch.where(finite[:, None, None], matrix, 0.0)
    eigenvalues, vectors = torch.linalg.eigh(safe)
    eigenvalues = torch.where(finite[:, None], eigenvalues, torch.nan)
    return eigenvalues.flip(-1), vectors.flip(-1)


def _clean(eigenvalues: Tensor) -> Tensor:
    floor = eigenvalues[:, :1].clamp_min(0) * _ROUNDING * eigenvalues.shape[1]
    return torch.where(eigenvalues <= floor, 0.0, eigenvalues)
