"""Halves Aᵀ u of products that were made, from which directions need no further ones.

While no vector of an input was dropped, its vectors u_1, u_2, … are orthonormal, and
any z in their span is Σ u_i ⟨u_i, z⟩: Aᵀ z = Σ (Aᵀ u_i) ⟨u_i, z⟩.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.krylov.space import Side

MOST = 48  # vectors of an input, up to which their halves are kept


class Halves:
    """Blocks of orthonormal vectors [N, s, b] and Aᵀ of each [N, d, b]."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Tensor, Tensor]] = []

    def add(self, vectors: Tensor, halves: Tensor, rank: Tensor) -> None:
        """Keep a block, unless its inputs all have more than `MOST`.

        Args:
            vectors: of all inputs; zero where there are none.
            halves: of these vectors.
            rank: how many vectors the inputs have that are not zero.
        """
        if bool((rank <= MOST).any()):
            self._blocks.append((vectors, halves))

    def lifted(self, side: Side, vectors: Tensor, rank: Tensor) -> Tensor:
        """Return eigenvectors of AᵀA [N, d, k], of any length, from those of K.

        Args:
            side: K.
            vectors: [N, s, k], in the span of what was kept.
            rank: how many vectors each input has that are not zero [N].
        """
        kept = rank <= MOST
        if not side.short or not bool(kept.any()):
            return side.lifted(vectors)
        found = self._combined(vectors)
        if bool(kept.all()):
            return found
        at = kept[:, None, None]
        return torch.where(at, found, side.lifted(torch.where(at, 0.0, vectors)))

    def _combined(self, vectors: Tensor) -> Tensor:
        """Return Σ (Aᵀ u_i) ⟨u_i, z⟩ of vectors z, in the type of the halves."""
        owns, halves = zip(*self._blocks, strict=True)
        rows = torch.cat([half.mT for half in halves], dim=1)
        along = torch.cat([own.mT @ vectors for own in owns], dim=1)
        return (along.mT.to(rows.dtype) @ rows).double().mT
