"""Divergences between normal laws of one number, and of scale families like them.

Source: Gil, Alajaji & Linder, Information Sciences 249 (2013).

Rényi divergences of exponential families, by two KL.

With log-partition A and natural parameters η, the law of order α between two members
has η = α η₁ + (1−α) η₂, and

    D_α = [A(η) − α A(η₁) − (1−α) A(η₂)] / (α − 1)
        = [α KL(η ‖ η₁) + (1−α) KL(η ‖ η₂)] / (1 − α).

The first form loses all digits for close laws; in the second every KL is of second
order by itself, and an error of η is of no first-order effect, for η minimises it.

Source: van Erven & Harremoës, IEEE Transactions on Information Theory 60 (2014),
theorem 30.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.families.univariate import Parameters
from audit.nodes.excess import CLOSE, log1p_excess, log_ratio, ratio_excess


def normal_log_density(y: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Return −z²/2 − ln σ − ½ ln 2π [...], z = (y − μ)/σ."""
    z = (y - loc) / scale
    return -z.square() / 2 - scale.log() - math.log(2 * math.pi) / 2


def normal_relative_entropy(left: Parameters, right: Parameters) -> Tensor:
    """Return KL [...] between normal laws (loc, scale)."""
    (loc, scale), (other_loc, other) = left, right
    stretch, shift = (scale - other) / other, (loc - other_loc) / other
    return (shift.square() + stretch.square()) / 2 + ratio_excess(other, scale)


def normal_relative_entropy_slope(left: Parameters, right: Parameters) -> Parameters:
    """Return the slopes [...] of KL between normal laws by the right (loc, scale).

    (μ₂ − μ₁) / σ₂² and [1 − (σ₁² + Δ²) / σ₂²] / σ₂, without cancellation.
    """
    (loc, scale), (other_loc, other) = left, right
    stretch, shift = (scale - other) / other, (loc - other_loc) / other
    return -shift / other, -(shift.square() + stretch * (2 + stretch)) / other


def normal_renyi(left: Parameters, right: Parameters, alpha: float) -> Tensor:
    """Return the Rényi divergence [...] between normal laws (loc, scale)."""
    (loc, scale), (other_loc, other) = left, right
    stretch = (scale - other) / other
    ratio, growth = stretch * (2 + stretch), 2 * log_ratio(other, scale)
    log_mixed = tilted_log(growth, alpha)  # ln v/σ₂²
    shift = loc - other_loc
    logs = shift.abs().log() - other.log() - log_mixed / 2  # of what may be ∞ · 0
    shift = shift / other * torch.exp(-log_mixed / 2)
    shift = torch.where(shift.isfinite(), shift, logs.exp())
    spread = renyi_of_scales(ratio, growth, alpha)
    return torch.where(log_mixed.isnan(), torch.inf, spread + alpha * shift**2) / 2


def renyi_of_scales(step: Tensor, growth: Tensor, alpha: float) -> Tensor:
    """Return −ln t − ln(α + (1−α) t) / (α−1) [...] with t = 1 + step = e^growth.

    It is the Rényi divergence between exponential laws with rates in the ratio t. With
    X(s) = s − ln(1+s) and β = 1−α it is [X(β step) − β X(step)] / (α−1).
    """
    beta, small = 1 - alpha, step.clamp(-CLOSE, CLOSE)
    near = log1p_excess(beta * small) - beta * log1p_excess(small)
    mixed = tilted_log(growth, alpha)
    far = -growth - mixed / (alpha - 1)
    value = torch.where(step == small, near / (alpha - 1), far)
    return torch.where(mixed.isnan(), torch.inf, value)


def tilted_log(growth: Tensor, alpha: float) -> Tensor:
    """Return ln(α + (1−α) e^growth) [...]; NaN where that is not positive."""
    if alpha < 1:
        first = torch.full_like(growth, math.log(alpha))
        return torch.logaddexp(first, growth + math.log1p(-alpha))
    lost = growth + math.log((alpha - 1) / alpha)
    mixed = math.log(alpha) + torch.log1p(-lost.clamp_max(0).exp())
    return torch.where(lost < 0, mixed, torch.nan)


def renyi_by_kl(to_left: Tensor, to_right: Tensor, alpha: float) -> Tensor:
    """Return D_α [...] from the KL of the law between to the left and right law.

    What is below zero is rounding of η.
    """
    return (to_right + alpha / (1 - alpha) * to_left).clamp_min(0)


class OfNormal:
    """Coordinates with the divergences of normal laws (loc, scale), here of y."""

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return location and scale."""
        loc, scale = parameters
        return loc, scale

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return −z²/2 − ln σ − ½ ln 2π."""
        return normal_log_density(y, *rows.unbind(-1))

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return ln(σ₂/σ₁) + (σ₁² + Δ²) / 2σ₂² − ½."""
        return normal_relative_entropy(left, right)

    def relative_entropy_slope(self, left: Parameters, right: Parameters) -> Parameters:
        """Return Δ / σ₂² and [1 − (σ₁² + Δ²) / σ₂²] / σ₂."""
        return normal_relative_entropy_slope(left, right)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return ln(σ₂/σ₁) + ln(σ₂²/v) / 2(α−1) + αΔ²/2v, v = (1−α)σ₁² + ασ₂²."""
        return normal_renyi(left, right, alpha)
