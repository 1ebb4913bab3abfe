"""Sums of products of two values that move: attention's Q Kᵀ, and its weights times V.

P(a, b) sums a_i b_j over what both share. For any numbers a₀, b₀ (those at the centre)

    P(a, b) = P(a, b₀) + P(a₀, b) − P(a₀, b₀) + P(a − a₀, b − b₀),

an affine map, carried like any other, and a rest of second order. Between |a − a₀| ≤ α
and |b − b₀| ≤ β the rest is within ± P(α, β): these are the planes in the middle of
McCormick's for each product, added up (as near to it as his at the centre, and tangent
there, so that first-order slopes stay exact).

With first-order forms (`forms`) a − a₀ = J u + f and b − b₀ = K u + g the rest is

    P(J u, K u) + P(J u, g) + P(f, K u) + P(f, g),

and (j·u)(k·u) = uᵀ ½(j kᵀ + k jᵀ) u, of the eigenvalues ½(j·k ± |j||k|) and 0. Over
‖u‖₂ ≤ ε the first term is therefore within ½ ε² [Σ_m P(J_m, K_m) ± P(‖J‖, ‖K‖)], half
as wide as ± ε² P(‖J‖, ‖K‖), which is left for p = 1 and ∞ with their dual norms.

**Rounding.** Coefficients of P are 1, so a computed P(a, b) is off by γ P(|a|, |b|). Of
at most sixteen of them and of what goes in, each is off by a few γ of P of the largest
values of both, and 16 γ P is added. A sum over m directions as well has m times the
terms, and γ for as many; |Σ_m P(J_m, K_m)| ≤ P(‖J‖, ‖K‖).

Source: McCormick, Mathematical Programming 10 (1976), 147-175.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.relaxation.ball import UNIT

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Joint:
    """Sums of products of two values: P(a, b), bilinear, with coefficients 1.

    Args:
        inputs: positions of a and b in the tape.
        axes: letters of the axes of a, of b and of the value, without the rows'.
    """

    inputs: tuple[int, int]
    axes: tuple[str, str, str]

    def run(self, a: Tensor, b: Tensor) -> Tensor:
        """Return P(a, b) of values [R, *in]."""
        return self._of("R", "R", a, b)

    def along(self, values: Pair, tangents: Pair) -> Tensor:
        """Return P(J, b) + P(a, K) [m, R, *out] for tangents [m, R, *in]."""
        (a, b), (one, two) = values, tangents
        return self._of("MR", "R", one, b) + self._of("R", "MR", a, two)

    def product(self, tangents: Pair) -> Tensor:
        """Return Σ_m P(J_m, K_m) [R, *out]."""
        left, right, out = self.axes
        text = f"MR{left},MR{right}->R{out}"
        return torch.einsum(text, *tangents)

    def back(self, functionals: Tensor, values: Pair) -> Pair:
        """Carry functionals [K, R, *out] over P(a, b₀) + P(a₀, b), at a₀ and b₀."""
        (left, right, out), (a, b) = self.axes, values
        one = torch.einsum(f"MR{out},R{right}->MR{left}", functionals, b)
        two = torch.einsum(f"MR{out},R{left}->MR{right}", functionals, a)
        return summed(one, a), summed(two, b)

    def _of(self, first: str, second: str, a: Tensor, b: Tensor) -> Tensor:
        left, right, out = self.axes
        lead = max(first, second, key=len)
        return torch.einsum(f"{first}{left},{second}{right}->{lead}{out}", a, b)


def summed(a: Tensor, value: Tensor) -> Tensor:
    """Sum functionals [K, R, *out] over the axes along which a value was repeated."""
    for axis in range(1, value.dim()):
        if value.shape[axis] == 1 and a.shape[axis + 1] > 1:
            a = a.sum(axis + 1, keepdim=True)
    return a


def range_of(entry: Joint, left: Pair, right: Pair, gamma: float) -> Pair:
    """Return an interval of P(a, b) for intervals of a and b."""
    (a, wide_a), (b, wide_b) = _halved(left), _halved(right)
    far_a, far_b = a.abs() + wide_a, b.abs() + wide_b
    middle = entry.run(a, b)
    spread = entry.run(wide_a, b.abs()) + entry.run(far_a, wide_b)
    spread = spread + 16 * gamma * entry.run(far_a, far_b)
    return middle - spread, middle + spread


def rest_by_intervals(
    entry: Joint, values: Pair, left: Pair, right: Pair, gamma: float
) -> Tensor:
    """Return an upper bound on |P(a − a₀, b − b₀)| for intervals of a and b."""
    far = [
        (high - value).maximum(value - low).clamp_min(0)
        + 2 * UNIT * low.abs().maximum(high.abs()).maximum(value.abs())
        for value, (low, high) in zip(values, (left, right), strict=True)
    ]
    return entry.run(*far) * (1 + 16 * gamma)


def rest_by_forms(
    entry: Joint, sways: Pair, rests: Pair, product: Tensor | None, gamma: float
) -> Pair:
    """Return an interval of P(a − a₀, b − b₀) for first-order forms of a and b.

    Args:
        entry: P.
        sways: ε ‖J‖_q and ε ‖K‖_q, rounded up.
        rests: |f| and |g|.
        product: ε² Σ_m P(J_m, K_m), for p = 2 alone.
        gamma: γ of as many terms as that has.
    """
    whole = entry.run(*sways)
    other = entry.run(sways[0], rests[1])
    other = other + entry.run(rests[0], sways[1] + rests[1])
    if product is None:
        wide = (whole + other) * (1 + 16 * gamma)
        return -wide, wide
    wide = (whole / 2 + other) * (1 + 16 * gamma) + 16 * gamma * whole
    return product / 2 - wide, product / 2 + wide


def _halved(ends: Pair) -> Pair:
    low, high = ends
    return (low + high) / 2, (high - low) / 2
