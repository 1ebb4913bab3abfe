"""Vectors of n numbers over their root mean square: y = c / s, s² = mean c² + e.

In n + 1 dimensions C = (c, √(n e)) has the length N = √n s, and y/√n is a part of the
direction C / N. With z = C₀ / N₀, D = (c − c₀) / N₀ = p z + q, q ⊥ z, in a plane

    C / N = ((1 + p) z + q) / ρ,    ρ = √((1 + p)² + |q|²).

The affine part is z + q: what moves c along itself does nothing. What is left is

    z ((1 + p)/ρ − 1) + q (1/ρ − 1).

For |p| ≤ P < 1 and |q| ≤ Q the first factor is the cosine of an angle whose tangent is
at most Q / (1 − P), less 1, and −(ρ² − 1)/(ρ (ρ + 1)) ≤ 1/ρ − 1 ≤ P/(1 − P) at the
largest ρ, √((1 + P)² + Q²). So for |q_i| ≤ Q_i

    |rest| ≤ |y₀| (1 − cos) + √n Q_i max(P/(1 − P), …),

of second order, and without P² where only the length moves. P and Q_i are bounds on
functionals of c: q_i √n is the affine part of y_i, p is z·(c − c₀)/N₀. They come from
forms and from backward passes. The last coordinate of q is −p √(n e)/N₀. The length of
q is at most that of (Q_i), and for p = 2 at most ε times the largest singular value of
its slopes, with what forms have beside these: for the Gram matrix G of slopes, and
k = 8, σ² ≤ ‖Gᵏ‖^(1/k), the root of what is beyond σ²ᵏ being small.

Beyond, y_i rises with c_i and is c_i / √((c_i² + S)/n + e), S the sum of the other
squares: its range over intervals of c is at ends of both. It never leaves ±√n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from audit.importer.relaxation.ball import UNIT, dual_norm
from audit.importer.relaxation.surfaces import Near, Pair, Surface, Values


@dataclass(frozen=True)
class Normed(Surface):
    """C / √(mean c² + e) over some axes.

    Args:
        axes: negative. epsilon: e.
    """

    axes: tuple[int, ...]
    epsilon: float

    def moved(self, inputs: tuple[int, ...]) -> Self:
        """Return the same function of another value."""
        return replace(self, inputs=inputs)

    def run(self, *values: Tensor) -> Tensor:
        """Return y."""
        (c,) = values
        return c / self._scale(c)

    def along(self, values: Values, tangents: Values) -> Tensor:
        """Return (t − y mean(y t)) / s."""
        (c,), (t,) = values, tangents
        s = self._scale(c)
        y = c / s
        return (t - y * self._mean(y * t)) / s

    def back(self, functionals: Tensor, values: Values) -> Values:
        """Return the same: J is symmetric."""
        return (self.along(values, (functionals,)),)

    def absolute(self, values: Values, magnitudes: Values) -> Tensor:
        """Return (m + |y| mean(|y| m)) / s."""
        (c,), (m,) = values, magnitudes
        s = self._scale(c)
        y = (c / s).abs()
        return (m + y * self._mean(y * m)) / s

    def range(self, ends: tuple[Pair, ...], gamma: float) -> Pair:
        """Return an interval of y: at ends of c_i and of the other squares' sum."""
        ((low, high),) = ends
        count = self._count(low)
        most = torch.maximum(low.square(), high.square())
        least = torch.minimum(low.square(), high.square())
        least = torch.where((low <= 0) & (high >= 0), 0.0, least)
        over, under = (self._mean(v) * count for v in (most, least))
        over = over - most + 16 * gamma * over
        under = (under - least - 16 * gamma * under).clamp_min(0)
        found = []
        for end, sign in ((low, -1.0), (high, 1.0)):
            others = torch.where(sign * end > 0, under, over)
            y = end / ((end.square() + others) / count + self.epsilon).sqrt()
            y = y + sign * 16 * gamma * y.abs()
            limit = math.sqrt(count) * (1 + 4 * UNIT)
            found.append(y.nan_to_num(sign * limit).clamp(-limit, limit))
        return found[0], found[1]

    def crossed(self, values: Values, tangents: Values, power: float) -> Tensor:
        """Return the norms of the slopes of p and of √n q [2, R, *groups]."""
        (c,), (t,) = values, tangents
        s = self._scale(c)
        p = dual_norm(self._mean(c / s * t) / s, power)
        if power != 2:
            return torch.stack([p, torch.full_like(p, torch.inf)])
        grouped = self.along(values, tangents).flatten(-len(self.axes)).movedim(0, -1)
        return torch.stack([p, _largest_singular(grouped).reshape(p.shape)])

    def wanted(self, values: Values) -> Tensor:
        """Return p of each group and √n q_i of each number, as functionals."""
        (c,) = values
        s, shape = self._scale(c), c.shape[1:]
        eye = torch.eye(shape.numel(), dtype=c.dtype, device=c.device)
        groups = torch.eye(s[0].numel(), dtype=c.dtype, device=c.device)
        groups = groups.reshape(-1, 1, *s.shape[1:]).expand(-1, 1, *shape)
        parallel = groups * (c / s / s / self._count(c))
        return torch.cat([parallel, self.along(values, (eye.reshape(-1, 1, *shape),))])

    def taken(self, bounds: Tensor, values: Values) -> Pair:
        """Return P [B, *groups] and √n Q_i [B, *shape]."""
        (c,) = values
        groups = self._scale(c).shape
        parts = torch.split_with_sizes(bounds, [groups[1:].numel(), c[0].numel()])
        return parts[0].T.reshape(groups), parts[1].T.reshape(c.shape)

    def rest(self, near: Near) -> Pair:
        """Return an interval of the rest: of the first order's, and of the range's."""
        (c,), far = near.values, near.far(0)
        y = self.run(c)
        low, high = self.range(near.ends, near.gamma)
        line = self.absolute(near.values, (far,)) * (1 + 16 * near.gamma)
        least, most = low - y - line, high - y + line
        p, q = self._parts(near, far)
        ends = _turned(y, p, q, self._length(p, q, near), near.gamma)
        least, most = torch.fmax(least, ends[0]), torch.fmin(most, ends[1])
        slack = 16 * near.gamma * (y.abs() + self.absolute(near.values, (far,)))
        return least - slack, most + slack

    def _parts(self, near: Near, far: Tensor) -> Pair:
        """Return P and √n Q_i, the least that is known of each."""
        (c,) = near.values
        s = self._scale(c)
        y = (c / s).abs()
        p, q = self._mean(y * far) / s, self.absolute(near.values, (far,))
        if near.rests is not None and near.crossed is not None:
            assert near.own is not None
            rests = near.rests[0]
            sway = near.crossed[0] * near.reach * (1 + 4 * UNIT)
            p = torch.fmin(p, sway + self._mean(y * rests) / s)
            q = torch.fmin(q, near.own + self.absolute(near.values, (rests,)))
        slack = 16 * near.gamma
        p = p * (1 + slack) + slack * self._mean(y * (far + c.abs())) / s
        q = q * (1 + slack) + slack * self.absolute(near.values, (far + c.abs(),))
        if near.passed is not None:
            p, q = torch.fmin(p, near.passed[0]), torch.fmin(q, near.passed[1])
        return p, q

    def _length(self, p: Tensor, q: Tensor, near: Near) -> Tensor:
        """Return an upper bound on |q|, by its coordinates and by its slopes."""
        (c,) = near.values
        length = self._mean(q.square()).sqrt()
        if near.rests is not None and near.crossed is not None:
            rests = self.absolute(near.values, (near.rests[0],))
            size = self.absolute(near.values, (near.far(0) + c.abs(),))
            rests = rests + 16 * near.gamma * (rests + size)
            sway = near.crossed[1] * near.reach / math.sqrt(self._count(c))
            length = torch.fmin(length, sway + self._mean(rests.square()).sqrt())
        last = p.square() * self.epsilon / self._scale(c).square()
        return (length.square() + last).sqrt() * (1 + 16 * near.gamma)

    def _scale(self, c: Tensor) -> Tensor:
        return (self._mean(c.square()) + self.epsilon).sqrt()

    def _mean(self, v: Tensor) -> Tensor:
        return v.mean(self.axes, keepdim=True)

    def _count(self, c: Tensor) -> int:
        return math.prod(c.shape[axis] for axis in self.axes)


def _largest_singular(slopes: Tensor) -> Tensor:
    """Return an upper bound on the largest singular value of matrices [..., n, m].

    Of powers of G / ‖G‖, whose norm is 1 at most, each product is off by γ, and the
    eighth power by less than 64 γ.
    """
    turned = slopes if slopes.shape[-2] <= slopes.shape[-1] else slopes.mT
    gram = turned @ turned.mT
    whole = torch.linalg.matrix_norm(gram, keepdim=True)
    power, terms = gram / whole.clamp_min(1e-300), sum(slopes.shape[-2:]) + 8
    for _ in range(3):
        power = power @ power
    root = (torch.linalg.matrix_norm(power) + 64 * terms * UNIT) ** 0.125
    found: Tensor = (whole[..., 0, 0] * root).sqrt() * (1 + 8 * terms * UNIT)
    return found + 1e-150  # squares below 1e-300 are lost


def _turned(y: Tensor, p: Tensor, q: Tensor, length: Tensor, gamma: float) -> Pair:
    """Return y (cos − 1) and q (1/ρ − 1) as an interval; NaN or ∞ where P ≥ 1."""
    inner = torch.where(p < 1, 1 - p, torch.nan) * (1 - 4 * UNIT)
    tangent = length / inner
    root = (1 + tangent.square()).sqrt()
    cosine = tangent.square() / (root * (1 + root)) * (1 + 32 * UNIT)
    excess = 2 * p + p.square() + length.square()
    rho = (1 + excess).sqrt()
    turn = torch.maximum(p / inner, excess / (rho * (1 + rho))) * (1 + 32 * UNIT)
    wide = q * turn * (1 + 16 * gamma)
    fallen = -y * cosine
    return fallen.clamp_max(0) - wide, fallen.clamp_min(0) + wide
