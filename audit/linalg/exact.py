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

from audit.linalg.operators import CoordinateBlocks, Diagonal, LinearOperator
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
    trace = eigenvalues.sum(dim=1).clamp_min(0)
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
    keep = meaningful.unsqueeze(1) & (length > 0)
    factor = torch.where(peak < 0, -1.0, 1.0) / length
    return torch.where(keep, vectors * factor, 0.0)


def descending(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [N, m] of A Aᵀ or AᵀA, the largest first, and vectors.

    A matrix that is not finite gets NaN: LAPACK would refuse the whole batch.
    """
    finite, safe = _finite(gram)
    eigenvalues, vectors = torch.linalg.eigh(safe)
    return _masked(eigenvalues, finite).flip(-1), vectors.flip(-1)


def _finite(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return which matrices are finite [N, 1], and all with the others set to zero.

    |g_ij|² ≤ g_ii g_jj, so the diagonal tells.
    """
    finite = torch.isfinite(gram.diagonal(dim1=1, dim2=2)).all(dim=1, keepdim=True)
    if bool(finite.all()):
        return finite, gram
    return finite, torch.where(finite.unsqueeze(-1), gram, 0.0)


def _masked(values: Tensor, finite: Tensor) -> Tensor:
    return values if bool(finite.all()) else torch.where(finite, values, torch.nan)


def gram_eigenvalues(root: LinearOperator) -> Tensor:
    """Return the eigenvalues of A Aᵀ alone [N, r], the largest first.

    Those of AᵀA are the same and zeros. Structure is used where there is one.
    """
    match root:
        case Diagonal(entries):
            return entries.square().sort(dim=1, descending=True).values
        case CoordinateBlocks(blocks):
            values = _eigenvalues(blocks @ blocks.mT).flatten(1)
            return values.sort(dim=1, descending=True).values
        case _:
            return _eigenvalues(root.gram()).flip(-1)


def _eigenvalues(gram: Tensor) -> Tensor:
    finite, safe = _finite(gram.reshape(-1, *gram.shape[-2:]))
    values = torch.linalg.eigvalsh(safe).clamp_min(0)
    return _masked(values, finite).reshape(gram.shape[:-1])


def _clean(eigenvalues: Tensor) -> Tensor:
    floor = eigenvalues[:, :1].clamp_min(0) * _ROUNDING * eigenvalues.shape[1]
    return torch.where(eigenvalues <= floor, 0.0, eigenvalues)
