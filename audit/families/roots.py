"""Roots of small positive semi-definite matrices, safe where they are singular.

Rows and columns are first scaled to a unit diagonal: parameters have units, and a
variance of 1e-12 beside one of 1e6 is no sign of a null direction.

Where a diagonal entry is infinite, so is the form in every direction that moves that
parameter; in the others it is the form of the rest. So the root has ∞ there and nothing
else in that column. A matrix with NaN has no root: NaN says so.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.operators import CoordinateBlocks, Diagonal


def semidefinite_root(matrix: Tensor) -> Tensor:
    """Return B [..., q, q] with Bᵀ B = matrix; ∞ and NaN as above."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    infinite = torch.isposinf(diagonal)
    beside = infinite.unsqueeze(-1) | infinite.unsqueeze(-2)
    rest = torch.where(beside, 0.0, matrix)
    unknown = ~torch.isfinite(rest).flatten(-2).all(-1)[..., None, None]
    size = rest.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    scale = torch.where(size > 0, size, torch.ones_like(size))
    unit = rest / scale.unsqueeze(-1) / scale.unsqueeze(-2)
    unit = torch.where(unknown, torch.zeros_like(unit), unit)
    root = _cholesky(unit) if matrix.shape[-1] <= 3 else _spectral(unit)
    root = torch.where(torch.diag_embed(infinite), torch.inf, root * size.unsqueeze(-2))
    return torch.where(unknown, torch.nan, root)


def coordinate_root(blocks: Tensor) -> Diagonal | CoordinateBlocks:
    """Return as an operator the root [N, n, r, q] of each coordinate."""
    if blocks.shape[-2:] == (1, 1):
        return Diagonal(blocks[..., 0, 0])
    return CoordinateBlocks(blocks)


def rows(*entries: tuple[Tensor, ...]) -> Tensor:
    """Return the matrix [..., r, q] with these rows of q entries [...]."""
    return torch.stack([torch.stack(row, dim=-1) for row in entries], dim=-2)


def diagonal(*entries: Tensor) -> Tensor:
    """Return the diagonal matrix [..., q, q] of entries [...]."""
    return torch.diag_embed(torch.stack(entries, dim=-1))


def symmetric(entries: dict[tuple[int, int], Tensor]) -> Tensor:
    """Return the symmetric matrix [..., q, q] of entries on and above the diagonal."""
    size = 1 + max(column for _, column in entries)
    zero = torch.zeros_like(next(iter(entries.values())))
    lines = []
    for i in range(size):
        line = [entries.get((min(i, j), max(i, j))) for j in range(size)]
        filled = tuple(zero if entry is None else entry for entry in line)
        lines.append(filled)
    return rows(*lines)


def _cholesky(unit: Tensor) -> Tensor:
    """Upper Cholesky factor; a pivot lost to rounding becomes a row of zeros."""
    rest, found = unit, []
    for i in range(unit.shape[-1]):
        pivot = rest[..., i, i]
        alive = pivot > 1e-15
        inverse = torch.where(alive, pivot, torch.ones_like(pivot)).rsqrt() * alive
        found.append(rest[..., i, :] * inverse.unsqueeze(-1))
        rest = rest - found[-1].unsqueeze(-1) * found[-1].unsqueeze(-2)
    return torch.stack(found, dim=-2)


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
