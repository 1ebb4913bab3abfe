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
16 more. That covers sums of functionals (residual connections), of the levels of all
entries, and the last product with x as well. A ball of size 0 encloses the value at x
itself in real arithmetic, whatever its rounding.

Sources: Zhang et al., arXiv:1811.00866; Xu et al., arXiv:2002.12920, for graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.importer.relaxation.ball import Ball
from audit.importer.relaxation.curves import Curve, Lines
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
    lines: dict[int, Lines] = field(default_factory=dict)

    def __post_init__(self) -> None:
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
        self.lines[index] = entry.curve.lines(low, high)
        self.spans.bend(index, entry, self.lines[index])

    def _tighten(self, target: int, curve: Curve) -> None:
        """Meet the interval of a value with what backward passes say.

        Only where the curve depends on it: a rectifier whose interval is on one side of
        its knot already is a straight line. As many functionals as any row needs are
        carried, each row's own; where most are needed, all of them.
        """
        low, high = (end.flatten(1) for end in self.intervals[target])
        open_ = self.spans.undecided(target, curve).flatten(1)
        count = int(open_.sum(1).max())
        if target == 0 or not count:
            return
        shape = self.tape.values[target].shape[1:]
        if 2 * count < low.shape[1]:
            places = open_.to(torch.int8).topk(count, dim=1).indices
            w = low.new_zeros(count, *low.shape).scatter_(2, places.T[..., None], 1.0)
        else:
            places = torch.arange(low.shape[1], device=low.device).expand_as(low)
            w = torch.eye(low.shape[1], dtype=low.dtype, device=low.device)[:, None]
        w = w.reshape(*w.shape[:2], *shape)
        above, below = self.upper(target, torch.cat([w, -w])).top().T.chunk(2, dim=1)
        ends = (
            (low, torch.maximum(low.gather(1, places), -below)),
            (
                high,
                torch.minimum(high.gather(1, places), above),
            ),
        )
        self.intervals[target] = tuple(  # type: ignore[assignment]
            end.scatter(1, places, new).reshape(-1, *shape) for end, new in ends
        )

    # functionals

    def _carried(
        self,
        target: int,
        weights: Tensor,
        through: Callable[..., tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Carry functionals [K, R, *shape] to u: slopes [K, R, m], level [K, B]."""
        pending = {target: weights}
        level = weights.new_zeros(len(weights), self.tape.rows)
        for index in range(target, 0, -1):
            a = pending.pop(index, None)
            if a is None:
                continue
            entry = self.tape.entries[index]
            level = level + self._rounding(index, entry, a)
            if isinstance(entry, Affine):
                if entry.bias is not None:
                    level = level + dot(a, entry.bias)
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
        level = level + self._rounding(0, self.tape.entries[0], a)
        return self.ball.in_units(a), level + dot(a, self.tape.x)

    def _rounding(self, index: int, entry: object, a: Tensor) -> Tensor:
        value = self.tape.values[index]
        inputs = entry.inputs if isinstance(entry, Affine) else (index,)
        size = self.spans.gamma(inputs, value) * self.spans.magnitudes[index]
        return dot(a.abs(), size)

    def _over(self, index: int, entry: Bend, a: Tensor) -> tuple[Tensor, Tensor]:
        """Replace a curve by the line above or below it, by the sign of a."""
        lines = self.lines[index]
        up, down = a.clamp_min(0), a.clamp_max(0)
        level = dot(up, lines.above_level) + dot(down, lines.below_level)
        return up * lines.above + down * lines.below, level

    def _through(self, index: int, entry: Bend, a: Tensor) -> tuple[Tensor, Tensor]:
        """Replace a curve by its tangent at the centre (the level is not used)."""
        v = self.tape.values[entry.input]
        return a * entry.curve.slope(v), a.new_zeros(len(a), len(v))
