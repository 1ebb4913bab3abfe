"""Bounds on functionals of a tape over a ball, by backward linear relaxation (CROWN).

w·v of a value v is carried back: through an affine entry by its transpose, through a
curve f between lines s v + t ≥ f(v) ≥ s' v + t' by taking, for an upper bound, the line
above where the coefficient is positive and the one below where it is negative, and so
through surfaces between planes (`surfaces`). At x it
is an affine function of the perturbation, whose maximum over the ball is Hölder's. The
lines need the interval of what each curve reads: they come from the same pass, with ±
single elements of single rows for w where `forms` leave much open, met with
what these and interval arithmetic say. A functional that gets to a value before any
curve goes on by its form v = c + J u + e: to a J u + a c + |a| r. One that begins
inside a tournament of maxima is of one window, k numbers until it leaves that
(`selections`); those that arrive at one of elements with such a form end at its planes
(`sheets`), single elements and their negatives in one go if no curve is before.

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

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.relaxation.ball import Ball, flattened
from audit.importer.relaxation.carrying import Carrier
from audit.importer.relaxation.crossings import Crossings
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.forms import gamma_of
from audit.importer.relaxation.planes import Planes, dot
from audit.importer.relaxation.selections import Some, Windows, rows_of
from audit.importer.relaxation.slopes import Slopes
from audit.importer.relaxation.spans import Spans, size_of
from audit.importer.relaxation.surfaces import Surface
from audit.importer.relaxation.tape import Affine, Source, Tape

_STRAIGHT = 1e-6  # what is beyond the first order of a value that is all but affine
BYTES = 2**23  # that the functionals of one pass may take


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

    def __post_init__(self) -> None:
        alive = self.alive = self.tape.ancestors(len(self.tape.entries) - 1)
        self.spans = Spans(self.tape, self.ball, self.slopes)
        self.crossings = Crossings(self.tape, self.spans, alive)
        self.carrier = Carrier(self.ball, self.crossings)
        for index, entry in enumerate(self.tape.entries):
            if isinstance(entry, Source):
                self.spans.source()
            elif isinstance(entry, Affine):
                self.spans.affine(index, entry)
            elif isinstance(entry, Surface):
                for place in entry.inputs if self.tight and index in alive else ():
                    self._tighten(place, None)
                self.spans.surface(index, entry, self._asked(index, entry))
            else:
                if self.tight and index in alive:
                    self._tighten(entry.input, entry.curve)
                self.spans.bend(index, entry)

    @property
    def intervals(self) -> list[tuple[Tensor, Tensor]]:
        """Of every value, both ends [B, *shape]."""
        return self.spans.intervals

    def upper(self, target: int, weights: Tensor, some: Some = None) -> Planes:
        """Return affine upper bounds on functionals of a value.

        Args:
            target: position of the value v [B, *shape].
            weights: w [K, R, *shape], R = 1 or B; of some rows [K, n, *shape]; of
                windows [1, n, c].
            some: rows of the batch, or windows, that functionals are of; None for all.
        """
        rows = rows_of(some)
        ball = self.ball if rows is None else self.ball.taken(rows)
        size = max(1, BYTES // (8 * len(ball.reach) * self.carrier.width(target, some)))
        parts = [
            self.carrier.carried(target, part, self.crossings.over, some)
            for part in torch.split(weights, size)
        ]
        slopes, levels = zip(*parts, strict=True)
        count = max(part.shape[1] for part in slopes)
        whole = [part.expand(-1, count, -1) for part in slopes]
        return Planes(torch.cat(whole), torch.cat(levels), ball)

    def derivative(self, target: int, weights: Tensor) -> Tensor:
        """Return the gradients in u of functionals at the centre [K, R, m]."""
        return self.carrier.carried(target, weights, self.carrier.tangent)[0]

    def _tighten(self, target: int, curve: Curve | None) -> None:
        """Meet the interval of a value with what backward passes say.

        Only where the curve depends on it: a rectifier whose interval is on one side of
        its knot already is a straight line. Each functional is of one row alone, and in
        a tournament of one window. Low ends come first among the 2 s ends of s
        elements, and are upper bounds of −v.
        """
        wanted = flattened(self.spans.undecided(target, curve), 1)
        if target == 0 or not bool(wanted.any()):
            return
        shape = self.tape.values[target].shape[1:]
        low, high = (flattened(end, 1) for end in self.intervals[target])
        ends = torch.cat([-low, high], dim=1)
        start, _ = self.crossings.windowed.get(target, (target, None))
        plain = bool(self.carrier.plain(start))
        some = torch.stack(wanted.chunk(2, dim=1)).any(0) if plain else wanted
        rows, at = some.nonzero(as_tuple=True)
        parts = (torch.split(v, self._together(target)) for v in (rows, at))
        for own, places in zip(*parts, strict=True):
            if plain:
                places, top = self._both(target, own, places)
                top = torch.where(wanted[own, places], top, torch.inf)
            else:
                top = self.upper(*self._unit(target, own, places)).top()
            ends[own, places] = torch.minimum(ends[own, places], top)
        below, above = ends.chunk(2, dim=1)
        self.intervals[target] = -below.reshape(-1, *shape), above.reshape(-1, *shape)

    def _asked(self, index: int, entry: Surface) -> tuple[Tensor, Tensor] | None:
        """Return what backward passes say of functionals that a surface asks for.

        They are taken from the value at the centre: |w·(v − v₀)|.
        """
        values = tuple(self.tape.values[i] for i in entry.inputs)
        wanted = entry.wanted(values)
        if wanted is None or not self.tight or index not in self.alive:
            return None
        (at,), (value,) = entry.inputs, values
        forms = self.spans.forms
        known = forms if forms is not None and forms.measured(at) else None
        if known is not None and bool(known.settled(at, _STRAIGHT).all()):
            return None
        top, bottom = (self.upper(at, sign * wanted).top() for sign in (1.0, -1.0))
        start = dot(wanted, value)
        size = size_of(*self.intervals[at]) + value.abs()
        slack = 4 * gamma_of(self.tape, entry.inputs, value) * dot(wanted.abs(), size)
        return entry.taken(torch.maximum(top - start, bottom + start) + slack, values)

    def _both(self, target: int, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the places of both ends of single elements, and their bounds [2, n].

        The way of v is that of −v with the other sign until they come to a curve.
        """
        places = torch.stack([places, places + self.tape.values[target][0].numel()])
        start, w, some = self._unit(target, rows, places[1])
        planes = Planes(*self.carrier.both(start, w, some), self.ball.taken(rows))
        return places, planes.top().flip(0)

    def _together(self, target: int) -> int:
        """Return how many functionals of single elements go back at the same time."""
        start, some = self._unit(target, *torch.zeros(2, 1, dtype=torch.int64))[::2]
        return max(1, BYTES // (8 * self.carrier.width(start, some)))

    def _unit(
        self, target: int, rows: Tensor, places: Tensor
    ) -> tuple[int, Tensor, Some]:
        """Return ± single elements as functionals: of which value, and of what."""
        x, shape = self.tape.x, self.tape.values[target].shape[1:]
        start, at = self.crossings.windowed.get(target, (target, None))
        size, spots = shape.numel(), 1
        if at is not None:
            spots = self.tape.values[start].shape[2:].numel()
        w = x.new_zeros(1, len(rows), size // spots)
        sign = torch.where(places < size, -1.0, 1.0).to(x)
        w[0, torch.arange(len(rows), device=x.device), places % size // spots] = sign
        if at is None:
            return target, w.reshape(1, -1, *shape), rows
        return start, w, Windows(at, rows, places % size % spots)
