"""Products with the root of the softmax's Fisher information, without its K² terms.

F = diag p − p pᵀ = BᵀB, B = diag(√p) (I − 1 pᵀ), with p = softmax of K logits:

    B V = √p ⊙ (V − 1 pᵀV),     BᵀU = w − p 1ᵀw,  w = √p ⊙ U,

K operations a vector each, where B itself takes K²; of a few classes products with the
entries are as fast. Where one class m is nearly
certain, both are differences of nearly equal numbers in their row m. But B 1 = 0, so
row m of V is taken off V first: what is left of it is −Σ_{j≠m} p_j (V_j − V_m), a sum
of small terms; and 1ᵀBᵀ = 0, so row m of BᵀU is what the others lack of zero.

Source: Golub & Van Loan, Matrix Computations (2013), 2.7, on cancellation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.stored import Matrix

_FEW = 32  # classes; of fewer, products are those with the entries, as measured


@dataclass(frozen=True)
class SoftmaxRoot(Matrix):
    """B of N vectors of logits, with its entries, and its products by structure.

    Args:
        entries: B [N, K, K], in float64.
        log_p: [N, K].
    """

    log_p: Tensor

    @classmethod
    def of(cls, log_p: Tensor) -> SoftmaxRoot:
        """Return the root of log p [N, K], normalised."""
        column = log_p.unsqueeze(-1)
        eye = torch.eye(log_p.shape[-1]).to(log_p)
        return cls((column / 2).exp() * (eye - column.exp().mT), log_p)

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return B V."""
        if self.log_p.shape[1] < _FEW:
            return super().matmat(vectors)
        column = self.log_p.unsqueeze(-1)
        shape = (len(column), 1, vectors.shape[2])
        likely = self._likely.expand(shape)
        beside = vectors - vectors.expand(len(column), -1, -1).gather(1, likely)
        return (column / 2).exp() * (beside - column.exp().mT @ beside)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return BᵀU."""
        if self.log_p.shape[1] < _FEW:
            return super().rmatmat(vectors)
        column = self.log_p.unsqueeze(-1)
        own = (column / 2).exp() * vectors
        found = own - column.exp() * own.sum(dim=1, keepdim=True)
        likely = self._likely.expand(-1, -1, found.shape[2])
        found.scatter_(1, likely, 0.0)
        return found.scatter_(1, likely, -found.sum(dim=1, keepdim=True))

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> Matrix:  # type: ignore[override]
        """Return the matrices with their entries changed: they are roots no longer."""
        return Matrix(change(self.entries))

    def take(self, rows: Tensor) -> SoftmaxRoot:
        """Return some of the matrices."""
        return SoftmaxRoot(self.entries[rows], self.log_p[rows])

    @property
    def _likely(self) -> Tensor:
        """The most likely class [N, 1, 1]."""
        return self.log_p.argmax(dim=-1)[:, None, None]
