"""Rényi divergences of exponential families, by two KL.

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

from torch import Tensor


def renyi_by_kl(to_left: Tensor, to_right: Tensor, alpha: float) -> Tensor:
    """Return D_α [...] from the KL of the law between to the left and right law.

    What is below zero is rounding of η.
    """
    return (to_right + alpha / (1 - alpha) * to_left).clamp_min(0)
