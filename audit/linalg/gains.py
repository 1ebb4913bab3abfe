"""How long A u can be for ‖u‖_p ≤ 1: an upper bound on max ‖A u‖₂, for few rows A.

    p = 1      the longest column: a convex function is largest at a vertex ±e_j
    p = 2      the largest singular value, by the smaller of A Aᵀ and Aᵀ A
    p = ∞      up to 12 columns all sign vectors; beyond, the smallest of √m σ_max,
               (Σ_i ‖row_i‖₁²)^½, Σ_j ‖column_j‖, (Σ_jk |(AᵀA)_jk|)^½

Each bound of the last line is the triangle inequality or Hölder's in one way. All are
raised by a relative 1e-12 or by the rounding of the eigenvalues, n 2⁻⁵² ‖A‖_F².

Source: Higham, Estimating the matrix p-norm, Numerische Mathematik 62 (1992), for mixed
norms; Golub & Van Loan, Matrix Computations (2013), section 8.1, for the eigenvalues.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SIGNS = 12  # columns up to which all vertices of the cube are tried
_ROUNDING = 2.0**-52


def largest_gain(matrix: Tensor, power: float) -> Tensor:
    """Return an upper bound [N] on max ‖A u‖₂ over ‖u‖_p ≤ 1.

    Args:
        matrix: A [N, r, m], float64.
        power: p, one of 1, 2 and ∞.
    """
    if matrix.shape[-1] == 0 or matrix.shape[-2] == 0:
        return matrix.new_zeros(len(matrix))
    size = matrix.abs().amax((1, 2))
    size = torch.where(torch.isfinite(size) & (size > 0), size, 1.0)
    whole = matrix / size[:, None, None]  # squares neither overflow nor vanish
    if power == 1:
        gain = torch.linalg.vector_norm(whole, dim=1).amax(1)
    elif power == 2:
        gain = _spectral(whole)
    else:
        gain = _cubic(whole)
    raised: Tensor = gain * size * (1 + 1e-12)
    return raised


def _spectral(matrix: Tensor) -> Tensor:
    """Return σ_max [N]; NaN for what is not finite."""
    rows, columns = matrix.shape[1:]
    gram = matrix @ matrix.mT if rows <= columns else matrix.mT @ matrix
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)
    if gram.shape[1] == 1:
        return trace.sqrt()
    known = torch.isfinite(trace)
    clean = torch.where(known[:, None, None], gram, 0.0)
    top = torch.linalg.eigvalsh(clean)[:, -1].clamp_min(0)
    slack = (rows + columns) * _ROUNDING * trace
    return torch.where(known, (top + slack).sqrt(), torch.nan)


def _cubic(matrix: Tensor) -> Tensor:
    """Return a bound [N] for u in the cube."""
    columns = matrix.shape[2]
    if columns <= _SIGNS:
        count = 2 ** (columns - 1)  # u and −u are as long
        bits = torch.arange(count, device=matrix.device)[:, None] >> torch.arange(
            columns, device=matrix.device
        )
        signs = 1.0 - 2.0 * (bits & 1).to(matrix.dtype)
        longest: Tensor = torch.linalg.vector_norm(matrix @ signs.mT, dim=1).amax(1)
        return longest
    gram = matrix.mT @ matrix if columns <= 512 else None
    bounds = [
        math.sqrt(columns) * _spectral(matrix),
        matrix.abs().sum(2).norm(dim=1),
        matrix.norm(dim=1).sum(1),
    ]
    if gram is not None:
        bounds.append(gram.abs().sum((1, 2)).sqrt())
    return torch.stack(bounds).amin(0)
