"""The root of a Fisher information over many weighted nodes, as a triangle.

On a plane some ten thousand nodes are summed over: their scores are never kept. With
rows r_k = √w_k [1, s_kᵀ] and Σ w_k = 1, the triangle R of R ᵀR = Σ r_k r_kᵀ is

    R = [1  m̄ᵀ]        R₂₂ᵀ R₂₂ = Σ w_k s_k s_kᵀ − m̄ m̄ᵀ,      m̄ = Σ w_k s_k,
        [0  R₂₂]

by comparing blocks: R₂₂ is a root of the covariance, centred without a second pass and
without cancellation. R is updated a part of the nodes at a time, by the triangle of
what it was above the new rows (Golub & Van Loan, Matrix Computations, 2013, 6.5.2).

Shapes: S nodes, N inputs, n coordinates of θ, p parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.computed import ComputedFamily
from audit.families.givers import Nodes
from audit.families.pieces import MORE
from audit.families.score_gaps import ScoreGaps

_NUMBERS = 2**22  # of scores that are held at once


def summed_scores(
    family: ComputedFamily, nodes: Nodes, phi: Tensor, gaps: ScoreGaps | None = None
) -> tuple[Tensor, Tensor]:
    """Return a root [N, p, p] of the scores' covariance, and their mean [N, p].

    A node of weight zero is not looked at. What coarser rules change is added to gaps.
    """
    weights = nodes.weights
    assert weights is not None
    chunk = max(1, _NUMBERS // (len(phi) * (family.size + 1)))
    triangle = phi.new_zeros(len(phi), 0, family.size + 1)
    for first in range(0, len(weights), chunk):
        part = slice(first, first + chunk)
        rows = _rows(family, nodes.targets[part], weights[part], phi)
        if gaps is not None:
            gaps.add(part, rows)
        stacked = torch.cat([triangle, rows.transpose(0, 1)], dim=1)
        triangle = torch.linalg.qr(stacked, mode="r").R
    whole = triangle[:, 0, 0]
    mean = triangle[:, 0, 1:] / whole.unsqueeze(-1)
    return triangle[:, 1:, 1:], mean


def _rows(
    family: ComputedFamily, targets: Tensor, weights: Tensor, phi: Tensor
) -> Tensor:
    """Return √w [1, sᵀ] of some nodes [S, N, 1 + p], zero where w is."""
    weights = weights.to(phi.device)
    node, owner = (weights > 0).nonzero().unbind(dim=1)
    theta = targets.to(phi.device)[node, owner].unsqueeze(0)
    scores = family.scores(theta, phi[owner], MORE).squeeze(0)
    root = weights[node, owner].sqrt().unsqueeze(-1)
    rows = phi.new_zeros(*weights.shape, 1 + family.size)
    rows[node, owner] = torch.cat([root, root * scores], dim=1)
    return rows
