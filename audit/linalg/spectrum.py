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

    def extended(self, beyond: Tensor) -> Estimate:
        """Return the estimate with ∞, which is certain, or NaN added [N]."""
        error, ends = self.standard_error, self.interval
        if error is not None:
            error = torch.where(torch.isinf(beyond), 0.0, error + beyond)
        if ends is not None:
            ends = ends[0] + beyond, ends[1] + beyond
        return Estimate(self.value + beyond, error, ends)

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
            is a bracket, which need not lie about the value; None if exact.
        units: independent units of draws, None if exact; below `intervals.means.LEAST`
            neither interval nor bracket covers as often as it says.
        stability: angle between the worst directions of two halves of the draws [N],
            in degrees; None if exact.
        residual: of the `top` eigenpairs, the largest ‖K u − λ u‖ / λ_max [N], K = A Aᵀ
            or AᵀA, where only the largest eigenvalues are known; those that did not
            settle are NaN. None where all eigenvalues are there.
    """

    eigenvalues: Tensor
    directions: Tensor
    trace: Estimate
    top: Estimate
    stability: Tensor | None = None
    units: int | None = None
    residual: Tensor | None = None

    def extended(self, beyond: Tensor) -> Spectrum:
        """Return the spectrum of forms to whose values ∞ or NaN is added [N]."""
        known = beyond == 0
        return Spectrum(
            extended(self.eigenvalues, beyond),
            torch.where(known[:, None, None], self.directions, 0.0),
            self.trace.extended(beyond),
            self.top.extended(beyond),
            None if self.stability is None else self.stability + 0 * beyond,
            self.units,
            self.residual,
        )

    @property
    def partial(self) -> bool:
        """Whether only the largest eigenvalues are known."""
        return self.residual is not None

    @property
    def unsettled(self) -> Tensor:
        """Where the form is known, and its largest eigenvalue is not [N]."""
        return self.eigenvalues[:, 0].isnan() & self.trace.value.isfinite()

    @property
    def at_rest(self) -> Tensor:
        """Where the form is zero [N]: no direction moves the law to second order."""
        return self.trace.value == 0

    @property
    def infinite(self) -> Tensor:
        """Where the form is infinite, or overflows [N]."""
        return self.trace.value == torch.inf

    @property
    def unknown(self) -> Tensor:
        """Where nothing resolves the form [N]."""
        return self.trace.value.isnan()

    @property
    def rank(self) -> Tensor:
        """The number of eigenvalues above rounding [N].

        NaN where G is not finite, or not all eigenvalues are known.
        """
        if self.partial:
            return torch.where(self.at_rest, 0.0, torch.nan)
        count = (self.eigenvalues > 0).sum(dim=1).to(self.eigenvalues)
        return torch.where(self.eigenvalues[:, 0].isfinite(), count, torch.nan)

    @property
    def effective_rank(self) -> Tensor:
        """‖Λ‖₁² / ‖Λ‖₂² [N]: how many directions matter.

        NaN where G is not finite, or not all eigenvalues are known.
        """
        if self.partial:
            return torch.where(self.at_rest, 0.0, torch.nan)
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


def extended(eigenvalues: Tensor, beyond: Tensor) -> Tensor:
    """Return eigenvalues [N, m] with ∞ or NaN [N] first, and then no others."""
    whole = torch.full_like(eigenvalues, torch.nan)
    whole[:, 0] = beyond
    return torch.where((beyond == 0).unsqueeze(-1), eigenvalues, whole)
