"""Ritz pairs (θ, Q y) of a Krylov space: what is known of K's leading eigenpairs.

θ and y are eigenpairs of T = QᵀK Q. The residual ‖K Q y − θ Q y‖ is computed, and some
eigenvalue of K lies within it of θ. Every θ_j is at most λ_j (Cauchy).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from audit.linalg.krylov.space import Space

SETTLED = 1e-4  # of λ_max: the largest residual of an eigenpair that is reported
WIDTH = 96  # columns of a basis, before it is shrunk
KEPT = WIDTH // 2  # of a basis that is shrunk, or at rest in a larger space


@dataclass
class RitzPairs:
    """The k leading pairs of N inputs, and the space they are from.

    Shapes: space, at rest; values θ [N, k]; residuals ‖K z − θ z‖ / θ₁ [N, k], NaN
        where a product was no number.
    """

    space: Space
    values: Tensor
    residuals: Tensor

    @classmethod
    def of(
        cls, space: Space, values: Tensor, residuals: Tensor, count: int
    ) -> RitzPairs:
        """Return so many pairs of a space, now at rest; zeros of those it has not.

        Args:
            space: as it grows.
            values: θ of all its pairs [N, M].
            residuals: of its leading pairs [N, at most `count`].
            count: k.
        """
        missing = max(0, count - values.shape[1])
        padded = (
            functional.pad(one[:, :count], (0, missing)) for one in (values, residuals)
        )
        columns = max(KEPT, 2 * count, min(space.q.shape[1], WIDTH))
        return cls(space.park(columns), *padded)

    @property
    def settled(self) -> Tensor:
        """Where all have settled [N]."""
        return (self.residuals <= SETTLED).all(dim=1)

    @property
    def vectors(self) -> Tensor:
        """Their vectors Q y [N, s, k]."""
        _, y = self.space.pairs()
        return self.space.q @ y[:, :, : self.values.shape[1]]

    def where(self, rows: Tensor, other: RitzPairs) -> RitzPairs:
        """Return these pairs at some inputs [N], and the other at the rest."""
        at = rows.unsqueeze(1)
        return RitzPairs(
            self.space.where(rows, other.space),
            torch.where(at, self.values, other.values),
            torch.where(at, self.residuals, other.residuals),
        )
