"""Roots of small positive semi-definite matrices, safe where they are singular.

Rows and columns are first scaled to a unit diagonal: parameters have units, and a
variance of 1e-12 beside one of 1e6 is no sign of a null direction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.operators import CoordinateBlocks, Diagonal, Matrix


def semidefinite_root(matrix: Tensor) -> Tensor:
    """Return B [..., q, q] with Bᵀ B = matrix; infinite where it is not finite."""
    size = matrix.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    finite = torch.isfinite(matrix).flatten(-2).all(-1)[..., None, None]
    scale = torch.where(size > 0, size, torch.ones_like(size))
    unit = matrix / (scale.unsqueeze(-1) * scale.unsqueeze(-2))
    unit = torch.where(finite, unit, torch.zeros_like(unit))
    root = _cholesky(unit) if matrix.shape[-1] <= 3 else _spectral(unit)
    return torch.where(finite, root * scale.unsqueeze(-2), torch.inf)


def coordinate_root(blocks: Tensor) -> Diagonal | CoordinateBlocks:
    """Return the root of one matrix [N, n, q, q] for each coordinate."""
    if blocks.shape[-1] == 1:
        return Diagonal(blocks[..., 0, 0].clamp_min(0).sqrt())
    return CoordinateBlocks(semidefinite_root(blocks))


def dense_root(matrix: Tensor) -> Matrix:
    """Return the root of one matrix [N, p, p] for each input."""
    return Matrix(semidefinite_root(matrix))


def symmetric(entries: dict[tuple[int, int], Tensor]) -> Tensor:
    """Return the symmetric matrix [..., q, q] of entries on and above the diagonal."""
    size = 1 + max(column for _, column in entries)
    zero = torch.zeros_like(next(iter(entries.values())))
    rows = []
    for i in range(size):
        row = [entries.get((min(i, j), max(i, j))) for j in range(size)]
        filled = [zero if entry is None else entry for entry in row]
        rows.append(torch.stack(filled, dim=-1))
    return torch.stack(rows, dim=-2)


def _cholesky(unit: Tensor) -> Tensor:
    """Upper Cholesky factor; a pivot lost to rounding becomes a row of zeros."""
    rest, rows = unit, []
    for i in range(unit.shape[-1]):
        pivot = rest[..., i, i]
        alive = pivot > 1e-15
        inverse = torch.where(alive, pivot, torch.ones_like(pivot)).rsqrt() * alive
        rows.append(rest[..., i, :] * inverse.unsqueeze(-1))
        rest = rest - rows[-1].unsqueeze(-1) * rows[-1].unsqueeze(-2)
    return torch.stack(rows, dim=-2)


def _spectral(unit: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(unit)
    root: Tensor = values.clamp_min(0).sqrt().unsqueeze(-1) * vectors.mT
    return root


def lower_cholesky(matrix: Tensor) -> Tensor:
    """Return lower L with L Lᵀ = matrix [..., n, n]; nonsense where there is none."""
    factor: Tensor = torch.linalg.cholesky_ex(matrix).L
    return factor


def solve_lower(lower: Tensor, right: Tensor) -> Tensor:
    """Return L⁻¹ right [..., n, k] for lower triangular L [..., n, n]."""
    solution: Tensor = torch.linalg.solve_triangular(lower, right, upper=False)
    return solution
