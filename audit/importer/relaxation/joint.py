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
the few that make a bound and of what goes in, each is off by a few γ of P of the
largest values of both, and 16 γ P is added. A sum over m directions as well has m
times the terms, and γ for as many; |Σ_m P(J_m, K_m)| ≤ P(‖J‖, ‖K‖).

Source: McCormick, Mathematical Programming 10 (1976), 147-175.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from audit.importer.relaxation.surfaces import Near, Pair, Surface, Values


@dataclass(frozen=True)
class Joint(Surface):
    """Sums of products of two values: P(a, b), bilinear, with coefficients 1.

    Args:
        axes: letters of the axes of a, of b and of the value, without the rows'.
    """

    axes: tuple[str, str, str]

    def moved(self, inputs: tuple[int, ...]) -> Self:
        """Return the same sums of other values."""
        return replace(self, inputs=inputs)

    def run(self, *values: Tensor) -> Tensor:
        """Return P(a, b) of values [R, *in]."""
        return self._of("R", "R", *values)

    def along(self, values: Values, tangents: Values) -> Tensor:
        """Return P(J, b) + P(a, K) [m, R, *out]."""
        (a, b), (one, two) = values, tangents
        return self._of("MR", "R", one, b) + self._of("R", "MR", a, two)

    def back(self, functionals: Tensor, values: Values) -> Values:
        """Return functionals of both factors."""
        (left, right, out), (a, b) = self.axes, values
        one = torch.einsum(f"MR{out},R{right}->MR{left}", functionals, b)
        two = torch.einsum(f"MR{out},R{left}->MR{right}", functionals, a)
        return summed(one, a), summed(two, b)

    def absolute(self, values: Values, magnitudes: Values) -> Tensor:
        """Return P(m, |b|) + P(|a|, n)."""
        (a, b), (one, two) = values, magnitudes
        return self.run(one, b.abs()) + self.run(a.abs(), two)

    def range(self, ends: tuple[Pair, ...], gamma: float) -> Pair:
        """Return an interval of P(a, b), around that of the middles."""
        (a, b), (wide_a, wide_b) = zip(*map(_halved, ends), strict=True)
        far_a, far_b = a.abs() + wide_a, b.abs() + wide_b
        middle = self.run(a, b)
        spread = self.run(wide_a, b.abs()) + self.run(far_a, wide_b)
        spread = spread + 16 * gamma * self.run(far_a, far_b)
        return middle - spread, middle + spread

    def crossed(self, values: Values, tangents: Values, power: float) -> Tensor | None:
        """Return Σ_m P(J_m, K_m) [R, *out] for p = 2."""
        left, right, out = self.axes
        text = f"MR{left},MR{right}->R{out}"
        return torch.einsum(text, *tangents) if power == 2 else None

    def rest(self, near: Near) -> Pair:
        """Return an interval of P(a − a₀, b − b₀), by intervals and by forms."""
        most = self.run(near.far(0), near.far(1)) * (1 + 16 * near.gamma)
        if near.sways is None or near.rests is None:
            return -most, most
        (j, k), (f, g) = near.sways, near.rests
        whole, other = self.run(j, k), self.run(j, g) + self.run(f, k + g)
        slack = 16 * near.gamma * near.times
        if near.crossed is None:
            middle, wide = torch.zeros_like(whole), whole + other
        else:
            middle = near.crossed * near.reach * near.reach / 2
            wide = whole / 2 + other + slack * whole
        wide = wide * (1 + slack)
        return torch.fmax(-most, middle - wide), torch.fmin(most, middle + wide)

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


def _halved(ends: Pair) -> Pair:
    low, high = ends
    return (low + high) / 2, (high - low) / 2
