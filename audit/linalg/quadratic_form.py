"""The noun in the middle: a local quadratic form δ -> c · |A δ|².

To second order every divergence with a minimum at δ = 0 is such a form, with
G = AᵀA its metric tensor and c = f''(1)/2 the constant of the divergence. A form known
by its root can never be negative. It may be infinite: for some inputs every δ that
moves the law at all moves it infinitely far (see `bounded`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.operators import LinearOperator, Product, Sampled, rows_of
from audit.linalg.sampled import sum_of_squares
from audit.linalg.spectrum import Estimate


@dataclass(frozen=True)
class QuadraticForm:
    """δ -> scale · |root δ|² for a batch of N inputs."""

    scale: float  # c
    root: LinearOperator  # A [N, r, d]
    infinite: Tensor | None = None  # [N], where the form is; None: nowhere

    def __call__(self, delta: Tensor) -> Tensor:
        """Return the form at δ: [N, d] -> [N], or [N, d, K] -> [N, K]."""
        columns = delta if delta.dim() == 3 else delta.unsqueeze(-1)
        values = self.scale * self.root.matmat(columns).square().sum(dim=1)
        values = self._extended(values)
        return values if delta.dim() == 3 else values.squeeze(-1)

    def take(self, rows: Tensor) -> QuadraticForm:
        """Return the forms of some inputs."""
        infinite = None if self.infinite is None else self.infinite[rows]
        return QuadraticForm(self.scale, rows_of(self.root, rows), infinite)

    def _extended(self, values: Tensor) -> Tensor:
        """Return values [N, K] with ∞ where the form is infinite."""
        if self.infinite is None:
            return values
        return values.masked_fill(self.infinite.unsqueeze(-1), torch.inf)

    def total(self, columns: Tensor) -> Estimate:
        """Return the sum [N] of the form over columns [N, d, K]."""
        images = self._extended(
            self.scale * self.root.matmat(columns).square().sum(dim=2)
        )
        outer = self.root.outer if isinstance(self.root, Product) else self.root
        if isinstance(outer, Sampled):
            return sum_of_squares(images, outer.group)
        return Estimate(images.sum(dim=1))
