"""What a decomposition of G = AᵀA answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A number for each input and how uncertain it is.

    Shapes: value [N]; standard_error [N], or None where nothing was sampled.
        interval: the ends (lower, upper) of its 95 % interval, [N] each, where one is
            known. It is not symmetric: read it, not the standard error.
    """

    value: Tensor
    standard_error: Tensor | None = None
    interval: tuple[Tensor, Tensor] | None = None

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate of `factor` times the same quantity."""
        error, ends = self.standard_error, self.interval
        if ends is not None:
            ends = ends if factor >= 0 else ends[::-1]
            ends = ends[0] * factor, ends[1] * factor
        return Estimate(
            self.value * factor, None if error is None else error * abs(factor), ends
        )


@dataclass(frozen=True)
class Spectrum:
    """Eigenpairs of G = AᵀA, without the divergence's constant c.

    Shapes, for N inputs, d features and m = min(r, d) eigenvalues:
        eigenvalues [N, m], descending, never negative. For a sampled root they are
            those of the sample mean, whose largest is biased upward.
        directions [N, d, k], unit columns for the k largest; zero where the
            eigenvalue is zero to rounding, since any vector would do.
        trace: tr G.  top: λ_max, cross-fitted where the root is sampled; its interval
            is a bracket, which need not lie about the value.
        units: independent units of draws, None if exact; below `intervals.means.LEAST`
            neither interval nor bracket covers as often as it says.
        stability: angle between the worst directions of two halves of the draws [N],
            in degrees; None if exact.
    """

    eigenvalues: Tensor
    directions: Tensor
    trace: Estimate
    top: Estimate
    stability: Tensor | None = None
    units: int | None = None

    @property
    def bracket(self) -> tuple[Tensor, Tensor] | None:
        """A 95 % bracket (lower, upper) of λ_max [N] each, None if exact."""
        return self.top.interval

    @property
    def at_rest(self) -> Tensor:
        """Where the form is zero [N]: no direction moves the law to second order."""
        return self.trace.value == 0

    @property
    def infinite(self) -> Tensor:
        """Where the form is infinite, or overflows [N]."""
        return self.trace.value == torch.inf

    @property
    def rank(self) -> Tensor:
        """The number of eigenvalues above rounding [N]; NaN where G is not finite."""
        count = (self.eigenvalues > 0).sum(dim=1).to(self.eigenvalues)
        return torch.where(self.eigenvalues[:, 0].isfinite(), count, torch.nan)

    @property
    def effective_rank(self) -> Tensor:
        """‖Λ‖₁² / ‖Λ‖₂² [N]: how many directions matter; NaN where G is not finite."""
        scaled = self.eigenvalues / self.eigenvalues[:, :1]  # squares would overflow
        number = scaled.sum(dim=1).square() / scaled.square().sum(dim=1)
        return torch.where(self.at_rest, 0.0, number)

    @property
    def gap(self) -> Tensor:
        """(λ₁ − λ₂) / λ₁ [N]: 1 for a single direction, 0 where no one is worse."""
        first = self.eigenvalues[:, 0]
        second = torch.zeros_like(first)
        if self.eigenvalues.shape[1] > 1:
            second = self.eigenvalues[:, 1]
        share = torch.where(first.isfinite(), (first - second) / first, torch.nan)
        return torch.where(self.at_rest, 0.0, share)
