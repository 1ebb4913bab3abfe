"""Bounds on functionals of a tape over a ball, by backward linear relaxation (CROWN).

w·v of a value v is carried back: through an affine entry by its transpose, through a
curve f between lines s v + t ≥ f(v) ≥ s' v + t' by taking, for an upper bound, the line
above where the coefficient is positive and the one below where it is negative. At x it
is an affine function of the perturbation, whose maximum over the ball is Hölder's. The
lines need the interval of what each curve reads: they come from the same pass, with ±
single elements of single rows for w where forms (`spans`) leave much open, met with
what these and interval arithmetic say. A functional that gets to a value before any
curve goes on by its form v = c + J u + e: to a J u + a c + |a| r.

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

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.importer.relaxation.ball import Ball
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.funnels import funnels_of, passed
from audit.importer.relaxation.passing import (
    Pair,
    Passed,
    exact_copies,
    paired,
    read_by_curves_alone,
)
from audit.importer.relaxation.planes import Planes, dot, taken
from audit.importer.relaxation.slopes import Slopes
from audit.importer.relaxation.spans import Spans
from audit.importer.relaxation.tape import Affine, Bend, Larger, Source, Tape

BYTES = 2**21  # that the functionals of one pass may take: a cache holds them


@dataclass
class Relaxed:
    """A tape over balls: the interval of every value, and lines around every curve.

    Args:
        tape: the function. ball: B balls around its centre.
        tight: whether intervals are met with backward passes, too.
        slopes: of the tape; None: intervals know nothing of the first order.
        pairs: of curves, made when first asked for. narrow: of tournaments (`funnels`).
    """

    tape: Tape
    ball: Ball
    tight: bool = True
    slopes: Slopes | None = None
    pairs: dict[int, Pair] = field(default_factory=dict)
    narrow: dict[int, Pair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        alive = self.tape.ancestors(len(self.tape.entries) - 1)
        straight = set[int]() if self.slopes is None else self.slopes.straight
        self.paid = read_by_curves_alone(self.tape) - straight
        self.free = exact_copies(self.tape, alive)
        self.maxima = {
            entry.inputs[1]: index
            for index, entry in enumerate(self.tape.entries)
            if isinstance(entry, Larger)
        }
        self.funnels = funnels_of(self.tape, alive)
        self.spans = Spans(self.tape, self.ball, self.slopes)
        for index, entry in enumerate(self.tape.entries):
            if isinstance(entry, Source):
                self.spans.source()
            elif isinstance(entry, Affine):
                self.spans.affine(index, entry)
            else:
                if self.tight and index in alive:
                    self._tighten(entry.input, entry.curve)
                self.spans.bend(index, entry)

    @property
    def intervals(self) -> list[tuple[Tensor, Tensor]]:
        """Of every value, both ends [B, *shape]."""
        return self.spans.intervals

    def upper(self, target: int, weights: Tensor, rows: Tensor | None = None) -> Planes:
        """Return affine upper bounds on functionals of a value.

        Args:
            target: position of the value v [B, *shape].
            weights: w [K, R, *shape], R = 1 or B; with rows [K, n, *shape].
            rows: of the batch, that functionals are of [n]; None for all.
        """
        ball = self.ball if rows is None else self.ball.taken(rows)
        size = max(1, BYTES // (8 * len(ball.reach) * self._widest))
        parts = [
            self._carried(target, part, self._over, rows)
            for part in torch.split(weights, size)
        ]
        slopes, levels = zip(*parts, strict=True)
        count = max(part.shape[1] for part in slopes)
        whole = [part.expand(-1, count, -1) for part in slopes]
        return Planes(torch.cat(whole), torch.cat(levels), ball)

    def derivative(self, target: int, weights: Tensor) -> Tensor:
        """Return the gradients in u of functionals at the centre [K, R, m]."""
        return self._carried(target, weights, self._through)[0]

    @property
    def _widest(self) -> int:
        return max(value[0].numel() for value in self.tape.values)

    def _pair(self, index: int) -> Pair:
        if index not in self.pairs:
            reader = self.maxima.get(index)
            self.pairs[index] = paired(self.tape, index, self.paid, self.spans, reader)
        return self.pairs[index]

    def _tighten(self, target: int, curve: Curve) -> None:
        """Meet the interval of a value with what backward passes say.

        Only where the curve depends on it: a rectifier whose interval is on one side of
        its knot already is a straight line. Each functional is of one row alone. Low
        ends come first among the 2 s ends of s elements, and are upper bounds of −v.
        """
        wanted = self.spans.undecided(target, curve).flatten(1)
        rows, at = wanted.nonzero(as_tuple=True)
        if target == 0 or not len(rows):
            return
        shape = self.tape.values[target].shape[1:]
        low, high = (end.flatten(1) for end in self.intervals[target])
        ends = torch.cat([-low, high], dim=1)
        size = max(1, BYTES // (8 * self._widest))
        for some, places in zip(
            *(torch.split(v, size) for v in (rows, at)), strict=True
        ):
            w = low.new_zeros(1, len(some), low.shape[1])
            sign = torch.where(places < low.shape[1], -1.0, 1.0).to(low)
            w[0, torch.arange(len(some), device=w.device), places % low.shape[1]] = sign
            w = w.reshape(1, len(some), *shape)
            top = self.upper(target, w, some).top()[0]
            ends[some, places] = torch.minimum(ends[some, places], top)
        below, above = ends.chunk(2, dim=1)
        self.intervals[target] = -below.reshape(-1, *shape), above.reshape(-1, *shape)

    # functionals

    def _carried(
        self,
        target: int,
        weights: Tensor,
        through: Callable[..., Passed],
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Carry functionals [K, R, *shape] to u: slopes [K, R, m], level [K, B].

        With rows [n] they are [K, n, *shape], each of one row of the batch, and so is
        the level.
        """
        pending = {target: weights}
        count = self.tape.rows if rows is None else len(rows)
        level = weights.new_zeros(len(weights), count)
        reached = list[Tensor]()
        for index in range(target, 0, -1):
            a = pending.pop(index, None)
            if a is None:
                continue
            at, added = index, index == target or index not in self.paid
            if index in self.funnels and through == self._over:
                at, a, more = self._narrowed(index, a, rows)
                level, added = level + more, False
            straight = self.spans.direct(at)
            if straight is None:
                parts, more = self._back(at, a, through, rows, added)
            else:
                more = _by_form(a, straight, rows) if added else a.new_zeros(())
                reached.append(a.flatten(2) @ straight[0])
                parts = ()
            level = level + more
            for place, part in parts:
                known = pending.get(place)
                pending[place] = part if known is None else known + part
        a = pending.pop(0, None)
        if a is not None:
            roundings = taken(self.spans.roundings[0], rows)
            level = level + dot(a.abs(), roundings) + dot(a, taken(self.tape.x, rows))
            reached.append(self.ball.in_units(a, rows))
        none = weights.new_zeros(len(weights), 1, len(self.ball.free))
        return sum(reached[1:], reached[0]) if reached else none, level

    def _narrowed(
        self, index: int, a: Tensor, rows: Tensor | None
    ) -> tuple[int, Tensor, Tensor]:
        """Return the elements of a tournament, functionals of them, and their level."""
        funnel = self.funnels[index]
        if index not in self.narrow:
            straight = self.spans.direct(funnel.at)
            form = None if straight is None else straight[1:]
            self.narrow[index] = passed(funnel, self.spans, form)
        slope, turn, *levels = (taken(part, rows) for part in self.narrow[index])
        a = a.reshape(*a.shape[:2], *slope.shape[2:])
        size = a.abs()
        level = dot(a, levels[0]) + dot(size, levels[1])
        a, size = a.unsqueeze(2), size.unsqueeze(2)
        return funnel.at, torch.addcmul(a * slope, size, turn), level

    def _back(
        self,
        index: int,
        a: Tensor,
        through: Callable[..., Passed],
        rows: Tensor | None,
        added: bool,
    ) -> tuple[Iterable[tuple[int, Tensor]], Tensor]:
        """Return functionals of what an entry reads, by place, and its level.

        An affine entry has none where its reader has added it.
        """
        entry = self.tape.entries[index]
        if isinstance(entry, Larger):
            at, excess = entry.inputs
            own, rest = a[:, :, : entry.half], a[:, :, entry.half :]
            slopes, level = through(excess, self.tape.entries[excess], own, rows)
            rest = rest.expand(-1, slopes.shape[1], *rest.shape[2:])
            return [(at, torch.cat([slopes, own - slopes, rest], dim=2))], level
        if isinstance(entry, Bend):
            slopes, level = through(index, entry, a, rows)
            return [(entry.input, slopes)], level
        assert isinstance(entry, Affine)
        own = self._own(index, entry, a, rows) if added else a.new_zeros(())
        return zip(entry.inputs, entry.back(a, rows), strict=True), own

    def _own(self, index: int, entry: Affine, a: Tensor, rows: Tensor | None) -> Tensor:
        """Return what an affine entry adds to the levels: its rounding, and a·b."""
        found = a.new_zeros(())
        if index not in self.free:
            found = dot(a.abs(), taken(self.spans.roundings[index], rows))
        if entry.bias is None:
            return found
        return found + dot(a, taken(entry.bias, rows))

    def _over(self, index: int, _: Bend, a: Tensor, rows: Tensor | None) -> Passed:
        """Replace a curve by the line above or below it, by the sign of a."""
        slope, turn, *levels = (taken(part, rows) for part in self._pair(index))
        size = a.abs()
        level = dot(a, levels[0]) + dot(size, levels[1])
        return torch.addcmul(a * slope, size, turn), level

    def _through(
        self, index: int, entry: Bend, a: Tensor, rows: Tensor | None
    ) -> Passed:
        """Replace a curve by its tangent at the centre (the level is not used)."""
        v = taken(self.tape.values[entry.input], rows)
        return a * entry.curve.slope(v), a.new_zeros(len(a), len(v))


def _by_form(
    a: Tensor, straight: tuple[Tensor, Tensor, Tensor], rows: Tensor | None
) -> Tensor:
    """Return the level [K, B] of functionals that go to u by the form of a value."""
    centre, rest = (taken(part, rows) for part in straight[1:])
    return dot(a, centre) + dot(a.abs(), rest)
