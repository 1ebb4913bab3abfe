"""What a decomposition of G = AᵀA answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A number for each input and how uncertain it is.

    Shapes: value [N]; standard_error [N], or None where nothing was sampled.
    """

    value: Tensor
    standard_error: Tensor | None = None

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate of `factor` times the same quantity."""
        error = self.standard_error
        return Estimate(
            self.value * factor, None if error is None else error * abs(factor)
        )


@dataclass(frozen=True)
class Spectrum:
    """Eigenpairs of G = AᵀA, without the divergence's constant c.

    Shapes, for N inputs, d features and m = min(r, d) eigenvalues:
        eigenvalues [N, m], descending, never negative. For a sampled root they are
            those of the sample mean, whose largest is biased upward.
        directions [N, d, k], unit columns for the k largest; zero where the
            eigenvalue is zero to rounding, since any vector would do.
        trace: tr G.  top: λ_max, cross-fitted where the root is sampled.
        bracket: a 95 % bracket (lower, upper) of λ_max [N] each, None if exact.
        stability: angle between the worst directions of two halves of the draws [N],
            in degrees; None if exact.
    """

    eigenvalues: Tensor
    directions: Tensor
    trace: Estimate
    top: Estimate
    bracket: tuple[Tensor, Tensor] | None = None
    stability: Tensor | None = None

    @property
    def rank(self) -> Tensor:
        """The number of eigenvalues above rounding [N]; NaN where G is not finite."""
        count = (self.eigenvalues > 0).sum(dim=1).to(self.eigenvalues)
        return torch.where(self.eigenvalues[:, 0].isnan(), torch.nan, count)

    @property
    def effective_rank(self) -> Tensor:
        """‖Λ‖₁² / ‖Λ‖₂² [N]: how many directions matter; NaN where G = 0."""
        total = self.eigenvalues.sum(dim=1).square()
        return total / self.eigenvalues.square().sum(dim=1)

    @property
    def gap(self) -> Tensor:
        """(λ₁ − λ₂) / λ₁ [N]: 1 for a single direction, 0 where no one is worse."""
        first = self.eigenvalues[:, 0]
        if self.eigenvalues.shape[1] == 1:
            return torch.where(first > 0, torch.ones_like(first), torch.nan)
        return (first - self.eigenvalues[:, 1]) / first
