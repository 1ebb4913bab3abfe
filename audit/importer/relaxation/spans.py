"""Intervals of every value of a tape over balls, forwards, two ways at once.

**Interval arithmetic**: the value at the middle of its inputs' intervals, and the sum
of the absolute values of what may be added to it.

**First-order forms.** With J and k of `slopes`,

    v(x + S u) = c + J u + e,    |e| ≤ r,    so  v ∈ c ± (ε ‖J‖_q + r).

An affine entry makes L c + b, L J and |L| r of them. A curve with f(v) − k v in [g', g]
on the interval of v has c' = k c + (g + g')/2 and r' = |k| r + (g − g')/2. For smooth
curves r is of second order in ε, and where a rectifier is on one side of its knot on
all of the ball it adds nothing. The larger of a and b, with a − b in [l, h], is

    b + relu(a − b) = (1 − k) b + k a + [relu(a − b) − k (a − b)],

so r' = |1 − k| r_b + |k| r_a + (g − g')/2: what is not known of b is there once, not
twice. That costs one forward pass of two numbers for each value, against a backward
pass for each functional.

**Rounding**, with γ as in `bounds`: the centre of an affine entry is off by at most
γ (|L||c| + |b|), and its J by γ |L||J|, which moves J u by at most γ |L| ε D (D of
`slopes`, Σ_j |J_j||u_j| ≤ ε D); both are added to r. D is rounded, too, and therefore
taken twice. A copy rounds nothing. A curve's terms are good to 2⁻⁴⁹, and so are the few
that make a maximum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from audit.importer.relaxation.ball import UNIT, Ball
from audit.importer.relaxation.curves import Curve, Lines
from audit.importer.relaxation.slopes import Slopes
from audit.importer.relaxation.tape import Affine, Bend, Larger, Tape

Form = tuple[Tensor, Tensor]
_SLACK = 2.0**-49
_SHARE = 0.3  # of a half width that a backward pass might take away, if not less


@dataclass
class Spans:
    """What is known of the values so far.

    Args:
        tape: the function. ball: B balls around its centre.
        slopes: of the tape; None: interval arithmetic alone.
        intervals: of each value. roundings: of those that were asked for, by place.
        forms: c and r of each, of curves where they were asked for.
        drawn: lines around curves, by their places.
        straight: what is known of values of which functionals go straight to u.
    """

    tape: Tape
    ball: Ball
    slopes: Slopes | None
    intervals: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    roundings: dict[int, Tensor] = field(default_factory=dict)
    forms: dict[int, Form] = field(default_factory=dict)
    drawn: dict[int, Lines] = field(default_factory=dict)
    straight: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def source(self) -> None:
        """Append the input."""
        x, radius = self.tape.x, self.ball.radius() * (1 + 4 * UNIT)
        slack = UNIT * (x.abs() + radius)
        if self.slopes is not None:
            self.slopes.source()
            self.forms[0] = x, torch.zeros_like(x)
        low, high = x - radius - slack, x + radius + slack
        self._keep(low, high)

    def affine(self, index: int, entry: Affine) -> None:
        """Append the value of an affine entry; a copy has the ends that it copies."""
        known = [self.intervals[i] for i in entry.inputs]
        if self.slopes is not None:
            self.slopes.affine(index, entry)
            larger = isinstance(entry, Larger)
            form = self._larger_form if larger else self._affine_form
            self.forms[index] = form(entry)  # type: ignore[arg-type]
        if entry.once:
            self._keep(*(entry.run(*ends) for ends in zip(*known, strict=True)))
            return
        middle = entry.run(*((low + high) / 2 for low, high in known))
        gamma = self.gamma(entry.inputs, middle)
        wide = [
            (high - low) / 2 + 2 * gamma * size_of(low, high) for low, high in known
        ]
        spread = entry.absolute(*wide)
        if entry.bias is not None:
            spread = spread + 2 * gamma * entry.bias.abs()
        self._keep(middle - spread, middle + spread)

    def bend(self, index: int, entry: Bend) -> None:
        """Append the value of a curve; who reads it may not need its form (`form`)."""
        low, high = self.intervals[entry.input]
        if self.slopes is not None:
            self.slopes.bend(index, entry, low, high)
        self._keep(*entry.curve.range(low, high, partial(self.lines, index)))

    def form(self, index: int) -> Form:
        """Return c and r of a value, made when first asked for if it is a curve's."""
        if index not in self.forms:
            self.forms[index] = self._bent_form(index)
        return self.forms[index]

    def lines(self, index: int) -> Lines:
        """Return the lines around a curve on the interval of what it reads."""
        if index not in self.drawn:
            entry = self._curve(index)
            self.drawn[index] = entry.curve.lines(*self.intervals[entry.input])
        return self.drawn[index]

    def rounding(self, index: int) -> Tensor:
        """Return γ M of an entry [R, *shape], M ≥ |L||v| + |b|, or |s||v| + |t|."""
        if index not in self.roundings:
            entry = self.tape.entries[index]
            if isinstance(entry, Affine):
                self.roundings[index] = self._of_affine(entry)
            else:
                bent = isinstance(entry, Bend)
                self.roundings[index] = (self._of_lines if bent else self.slack)(index)
        return self.roundings[index]

    def _of_affine(self, entry: Affine) -> Tensor:
        sizes = [size_of(*self.intervals[i]) for i in entry.inputs]
        magnitude = entry.absolute(*sizes)
        gamma = self.gamma(entry.inputs, magnitude)
        if entry.bias is not None:
            magnitude = magnitude + entry.bias.abs()
        return gamma * magnitude

    def _of_lines(self, index: int) -> Tensor:
        lines, entry = self.lines(index), self._curve(index)
        low, high = self.intervals[entry.input]
        slope = size_of(lines.above, lines.below)
        level = size_of(lines.above_level, lines.below_level)
        return self.gamma((index,), low) * (slope * size_of(low, high) + level)

    def slack(self, index: int) -> Tensor:
        """Return γ |v| of a value [B, *shape]."""
        low, high = self.intervals[index]
        return self.gamma((index,), low) * size_of(low, high)

    def direct(self, index: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return Jᵀ, c and r of a value from which functionals go straight to u.

        J [size, m] is that of all rows; r has the rounding of products with it.
        """
        if index in self.straight or self.slopes is None:
            return self.straight.get(index)
        tangents = self.slopes.direct(index)
        if tangents is None:
            return None
        centre, rest = self.form(index)
        gamma = self.gamma((0, index), centre)
        rest = rest + gamma * (centre.abs() + self._step(index))
        jacobian = tangents.flatten(1).mT.contiguous()
        self.straight[index] = jacobian, centre, rest
        return self.straight[index]

    def undecided(self, target: int, curve: Curve) -> Tensor:
        """Tell which ends a backward pass may move to some avail [B, 2, *shape]."""
        found = torch.stack(curve.undecided(*self.intervals[target]), dim=1)
        if self.slopes is None or target not in self.slopes.norms:
            return found
        rest = self.form(target)[1]
        known = rest <= _SHARE * (self._sway(target) + rest)
        return found & ~known.unsqueeze(1)

    def gamma(self, inputs: tuple[int, ...], value: Tensor) -> float:
        """Return γ of what an entry makes of some values."""
        terms = sum(self.tape.values[i][0].numel() for i in inputs)
        count = terms + value[0].numel() + len(self.tape.entries) + 32
        return count * UNIT / (1 - count * UNIT)

    def _affine_form(self, entry: Affine) -> Form:
        forms = [self.form(i) for i in entry.inputs]
        centre = entry.run(*(c for c, _ in forms))
        if entry.once:
            return centre, entry.absolute(*(r for _, r in forms))
        gamma = self.gamma(entry.inputs, centre)
        rests = [
            r + gamma * (c.abs() + self._step(i))
            for i, (c, r) in zip(entry.inputs, forms, strict=True)
        ]
        rest = entry.absolute(*rests)
        if entry.bias is not None:
            rest = rest + gamma * entry.bias.abs()
        return centre, rest * (1 + 2 * gamma)

    def _bent_form(self, index: int) -> Form:
        at = self._curve(index).input
        centre, rest = self.form(at)
        k, least, most = self._beyond(index)
        slack = _SLACK * k.abs() * (centre.abs() + self._step(at))
        wide = k.abs() * rest + (most - least) / 2 + slack
        wide = wide + _SLACK * torch.maximum(most.abs(), least.abs())
        return k * centre + (most + least) / 2, wide * (1 + _SLACK)

    def _larger_form(self, entry: Larger) -> Form:
        """Return the form of b + relu(g), g = a − b, beside that of what is left."""
        at, excess = entry.inputs
        k, least, most = self._beyond(excess)
        centre, rest = self.form(at)
        gamma = self.gamma(entry.inputs, centre)
        rest = rest + gamma * (centre.abs() + self._step(at))
        (a, b, left), (wide_a, wide_b, wide) = (
            entry.parts(part, 1) for part in (centre, rest)
        )
        own = gamma * (a.abs() + b.abs() + most.abs() + least.abs())
        lost = gamma * ((1 - k).abs() * wide_b + k.abs() * wide_a)
        whole = (1 - k).abs() * wide_b + k.abs() * wide_a + (most - least) / 2
        return (
            torch.cat([torch.lerp(b, a, k) + (most + least) / 2, left], dim=1),
            torch.cat([whole + own + lost, wide], dim=1),
        )

    def _beyond(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return k of a curve and an interval of f(v) − k v."""
        assert self.slopes is not None
        entry, k = self._curve(index), self.slopes.rates[index]
        ends, lines = self.intervals[entry.input], partial(self.lines, index)
        return k, *entry.curve.beyond(k, *ends, lines)

    def _curve(self, index: int) -> Bend:
        entry = self.tape.entries[index]
        assert isinstance(entry, Bend)
        return entry

    def _step(self, at: int) -> Tensor:
        """Return 2 ε D of a value [B, *shape]."""
        assert self.slopes is not None
        return 2 * self._reach(at) * self.slopes.steps[at]

    def _sway(self, at: int) -> Tensor:
        """Return ε ‖J‖_q of a value that a curve reads [B, *shape]."""
        assert self.slopes is not None
        return self._reach(at) * (1 + 2 * UNIT) * self.slopes.norms[at]

    def _reach(self, at: int) -> Tensor:
        return self.ball.reach.reshape(-1, *(1,) * (self.tape.values[at].dim() - 1))

    def _keep(self, low: Tensor, high: Tensor) -> None:
        """Append an interval, met with that of the form where there is one."""
        at = len(self.intervals)
        if self.slopes is not None and at in self.slopes.norms:
            centre, rest = self.form(at)
            wide = self._sway(at) + rest
            wide = wide + 4 * UNIT * (centre.abs() + wide)
            low = torch.fmax(low, centre - wide)
            high = torch.fmin(high, centre + wide)
        self.intervals.append((low, high))


def size_of(low: Tensor, high: Tensor) -> Tensor:
    """Return the largest absolute value between two ends."""
    return torch.maximum(low.abs(), high.abs())
