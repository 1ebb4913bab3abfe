"""What a law is told of where its coordinates may go, and bounds that follow.

η(x + S u) − η(x) for ‖u‖_p ≤ ε is known by functionals w: an upper bound on each, and
an expansion |w·Δη − j·u| ≤ r with a matrix j. Where

    KL ≤ ½ Σ_k c_k D_k²,    D_k = j_k·u + e_k,  |e_k| ≤ r_k,

Minkowski's inequality gives KL ≤ ½ (‖C^½ J u‖ + ‖C^½ r‖)² ≤ ½ (ε γ + ‖C^½ r‖)² with γ
the largest gain of C^½ J. It is exact for an affine η and constant c, and its error is
of one order more than ε² where r is of second order.

ψ(t) = eᵗ − 1 − t and κ(t) = 2ψ(t)/t² = 2 ∫₀¹ (1−s) e^{st} ds, which rises with t.

Shapes: B inputs, K functionals, q coordinates, m features that move.
"""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from audit.linalg.gains import largest_gain
from audit.nodes.excess import exp_excess

RAISED = 1e-9  # relative, over all roundings of a bound: each is below 1e-13


class Expansion(NamedTuple):
    """Functionals of Δη over the ball.

    top, bottom: their bounds [B, K], not below and not above 0. slopes: j [B, K, m].
    rest: r [B, K].
    """

    top: Tensor
    bottom: Tensor
    slopes: Tensor
    rest: Tensor


class Enclosure(Protocol):
    """Where the coordinates η of a law go when the input is perturbed."""

    @property
    def centre(self) -> Tensor:
        """η(x) [B, q], laid out as φ."""

    @property
    def fixed(self) -> Set[str]:
        """The parameters that do not move."""

    @property
    def reach(self) -> Tensor:
        """ε [B]."""

    @property
    def power(self) -> float:
        """The p of ‖u‖_p ≤ ε."""

    def above(self, weights: Tensor) -> Tensor:
        """Return upper bounds [B, K] on functionals of Δη, w [B or 1, K, q]."""

    def expand(self, weights: Tensor) -> Expansion:
        """Return both bounds and the expansion of functionals, w [B or 1, K, q]."""


def growth(t: Tensor) -> Tensor:
    """Return κ(t) [...], 1 at 0."""
    small = t.abs() < 1e-4
    safe = torch.where(small, 1.0, t)
    series = 1 + t / 3 + t.square() / 12
    far = torch.where(torch.isposinf(t), t, 2 * exp_excess(safe) / safe.square())
    return torch.where(small, series, far)


def quadratic(enclosure: Enclosure, found: Expansion, costs: Tensor) -> Tensor:
    """Return max ½ Σ c_k D_k² over the ball, or above it [B].

    Args:
        enclosure: with ε and p.
        found: j and r of the functionals.
        costs: c [B, K], not negative.
    """
    root = costs.sqrt()
    beyond = ~torch.isfinite(root).all(-1) | ~torch.isfinite(found.rest).all(-1)
    gain = largest_gain(root.unsqueeze(-1) * found.slopes, enclosure.power)
    value = (gain * enclosure.reach + (root * found.rest).norm(dim=-1)).square() / 2
    return proven(torch.where(beyond, torch.inf, value))


def proven(*bounds: Tensor) -> Tensor:
    """Return the smallest of some bounds [B], raised over all rounding; NaN is ∞."""
    known = [torch.where(bound.isnan(), torch.inf, bound) for bound in bounds]
    least = torch.stack(known).amin(0).clamp_min(0)
    return least * (1 + RAISED)


def units(enclosure: Enclosure) -> Tensor:
    """Return the functionals that are the coordinates themselves [1, q, q]."""
    eta = enclosure.centre
    return torch.eye(eta.shape[1], dtype=eta.dtype, device=eta.device).unsqueeze(0)
