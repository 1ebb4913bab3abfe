"""Bounds on functionals of a tape over a ball, by backward linear relaxation (CROWN).

w·v of a value v is carried back: through an affine entry by its transpose, through a
curve f between lines s v + t ≥ f(v) ≥ s' v + t' by taking, for an upper bound, the line
above where the coefficient is positive and the one below where it is negative. At x it
is an affine function of the perturbation, whose maximum over the ball is Hölder's. The
lines need the interval of what each curve reads: they come from the same pass, with ±
each element for w, met with what interval arithmetic says.

Since bounds are affine functions of u, a linear function may be taken away before the
maximum: w·v(x+Su) − j·u ≤ level + max (a − j)·u. With j = w·J this is of second order
in ε where the curves are smooth, because lines around f on an interval of width h part
by O(h²), and their slopes differ from f' by O(h).

**Rounding.** A sum of n terms in float64, however it is ordered, is off by at most
γ_n Σ|terms|, γ_n = n 2⁻⁵³ / (1 − n 2⁻⁵³) (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1). Carrying a functional A over an entry v' = L v + b
rounds each coefficient of A L by γ_n |A||L|, which moves the bound by at most
γ_n |A| (|L||v|), and the level by γ_n |A||b|. So each entry keeps a magnitude
M ≥ |L||v| + |b| for all v of the enclosure, and γ |A|·M is added to the level at every
step, with n the numbers that go in and come out of a row, the entries of the tape and
32 more. That covers sums of functionals (residual connections), of the levels of all
entries, and the last product with x as well. What only copies each element once has no
rounding of its own. A ball of size 0 encloses the value at x itself in real arithmetic,
whatever its rounding.

Sources: Zhang et al., arXiv:1811.00866; Xu et al., arXiv:2002.12920, for graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.importer.relaxation.ball import Ball
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.passing import (
    Pair,
    Passed,
    exact_copies,
    paired,
    read_by_curves_alone,
)
from audit.importer.relaxation.planes import Planes, dot
from audit.importer.relaxation.slopes import Slopes
from audit.importer.relaxation.spans import Spans
from audit.importer.relaxation.tape import Affine, Bend, Source, Tape

BYTES = 2**21  # that the functionals of one pass may take: a cache holds them


@dataclass
class Relaxed:
    """A tape over balls: the interval of every value, and lines around every curve.

    Args:
        tape: the function. ball: B balls around its centre.
        tight: whether intervals are met with backward passes, too.
        slopes: of the tape; None: intervals know nothing of the first order.
    """

    tape: Tape
    ball: Ball
    tight: bool = True
    slopes: Slopes | None = None
    pairs: dict[int, Pair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.paid, self.free = read_by_curves_alone(self.tape), exact_copies(self.tape)
        self.spans = Spans(self.tape, self.ball, self.slopes)
        for index, entry in enumerate(self.tape.entries):
            if isinstance(entry, Source):
                self.spans.source()
            elif isinstance(entry, Affine):
                self.spans.affine(entry)
            else:
                self._bend(index, entry)

    @property
    def intervals(self) -> list[tuple[Tensor, Tensor]]:
        """Of every value, both ends [B, *shape]."""
        return self.spans.intervals

    def upper(self, target: int, weights: Tensor) -> Planes:
        """Return affine upper bounds on functionals of a value.

        Args:
            target: position of the value v [B, *shape].
            weights: w [K, R, *shape], R = 1 or B.
        """
        size = max(1, BYTES // (8 * self.tape.rows * self._widest))
        parts = [
            self._carried(target, weights[first : first + size], self._over)
            for first in range(0, len(weights), size)
        ]
        slopes, levels = zip(*parts, strict=True)
        rows = max(len(part[0]) for part in slopes)
        whole = [part.expand(-1, rows, -1) for part in slopes]
        return Planes(torch.cat(whole), torch.cat(levels), self.ball)

    def derivative(self, target: int, weights: Tensor) -> Tensor:
        """Return the gradients in u of functionals at the centre [K, R, m]."""
        return self._carried(target, weights, self._through)[0]

    @property
    def _widest(self) -> int:
        return max(value[0].numel() for value in self.tape.values)

    def _bend(self, index: int, entry: Bend) -> None:
        if self.tight:
            self._tighten(entry.input, entry.curve)
        low, high = self.intervals[entry.input]
        lines = entry.curve.lines(low, high)
        self.spans.bend(index, entry, lines)
        self.pairs[index] = paired(self.tape, index, lines, self.paid, self.spans)

    def _tighten(self, target: int, curve: Curve) -> None:
        """Meet the interval of a value with what backward passes say.

        Only where the curve depends on it: a rectifier whose interval is on one side of
        its knot already is a straight line. As many functionals as any row needs are
        carried, each row's own; where most are needed, all of them. Low ends come first
        among the 2 s ends of s elements, and are upper bounds of −v.
        """
        wanted = self.spans.undecided(target, curve).flatten(1)
        count = int(wanted.sum(1).max())
        if target == 0 or not count:
            return
        shape, rows = self.tape.values[target].shape[1:], self.tape.rows
        low, high = (end.flatten(1) for end in self.intervals[target])
        size = low.shape[1]
        if count < size:
            at = wanted.to(torch.int8).topk(count, dim=1).indices
            sign = torch.where(at < size, -1.0, 1.0).to(low)
            w = low.new_zeros(count, rows, size)
            w.scatter_(2, (at % size).T[..., None], sign.T[..., None])
        else:
            at = torch.arange(2 * size, device=low.device).expand(rows, -1)
            eye = torch.eye(size, dtype=low.dtype, device=low.device).unsqueeze(1)
            w = torch.cat([-eye, eye])
        top = self.upper(target, w.reshape(*w.shape[:2], *shape)).top().T
        ends = torch.cat([-low, high], dim=1)
        least = torch.minimum(ends.gather(1, at), top)
        below, above = ends.scatter(1, at, least).chunk(2, dim=1)
        self.intervals[target] = -below.reshape(-1, *shape), above.reshape(-1, *shape)

    # functionals

    def _carried(
        self, target: int, weights: Tensor, through: Callable[..., Passed]
    ) -> tuple[Tensor, Tensor]:
        """Carry functionals [K, R, *shape] to u: slopes [K, R, m], level [K, B]."""
        pending = {target: weights}
        level = weights.new_zeros(len(weights), self.tape.rows)
        for index in range(target, 0, -1):
            a = pending.pop(index, None)
            if a is None:
                continue
            entry = self.tape.entries[index]
            if isinstance(entry, Affine):
                if index == target or index not in self.paid:
                    level = level + self._own(index, entry, a)
                parts = zip(entry.inputs, entry.back(a), strict=True)
            else:
                assert isinstance(entry, Bend)
                slopes, more = through(index, entry, a)
                level = level + more
                parts = zip((entry.input,), (slopes,), strict=True)
            for place, part in parts:
                known = pending.get(place)
                pending[place] = part if known is None else known + part
        a = pending.pop(0, None)
        if a is None:
            return weights.new_zeros(len(weights), 1, len(self.ball.free)), level
        level = level + dot(a.abs(), self.spans.roundings[0]) + dot(a, self.tape.x)
        return self.ball.in_units(a), level

    def _own(self, index: int, entry: Affine, a: Tensor) -> Tensor:
        """Return what an affine entry adds to the levels: its rounding, and a·b."""
        found = a.new_zeros(())
        if index not in self.free:
            found = dot(a.abs(), self.spans.roundings[index])
        return found if entry.bias is None else found + dot(a, entry.bias)

    def _over(self, index: int, entry: Bend, a: Tensor) -> Passed:
        """Replace a curve by the line above or below it, by the sign of a."""
        pair, size = self.pairs[index], a.abs()
        level = dot(a, pair.level) + dot(size, pair.gap)
        return torch.addcmul(a * pair.slope, size, pair.turn), level

    def _through(self, index: int, entry: Bend, a: Tensor) -> Passed:
        """Replace a curve by its tangent at the centre (the level is not used)."""
        v = self.tape.values[entry.input]
        return a * entry.curve.slope(v), a.new_zeros(len(a), len(v))
