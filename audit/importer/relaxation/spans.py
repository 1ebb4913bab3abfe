"""Intervals of every value of a tape over balls, forwards, two ways at once.

**Interval arithmetic**: the value at the middle of its inputs' intervals, and the sum
of the absolute values of what may be added to it.

**First-order forms** (`forms`), which say more of values that curves read. Either is
met with the other.

**Rounding.** The value at the middle and the sum are each off by γ of the magnitudes
that make them at most (`bounds`): twice that is added. A copy has the ends that it
copies, and rounds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from audit.importer.relaxation.ball import UNIT, Ball
from audit.importer.relaxation.curves import Curve, Lines
from audit.importer.relaxation.forms import Forms, gamma_of
from audit.importer.relaxation.slopes import Slopes
from audit.importer.relaxation.surfaces import Near, Surface
from audit.importer.relaxation.tape import Affine, Bend, Tape

Ends = tuple[Tensor, Tensor]
_SHARE = 0.3  # of a half width that a backward pass might take away, if not less


@dataclass
class Spans:
    """What is known of the values so far.

    Args:
        tape: the function. ball: B balls around its centre.
        slopes: of the tape; None: interval arithmetic alone.
        intervals: of each value. roundings: of those that were asked for, by place.
        drawn: lines around curves, by their places.
        around: what is known of the inputs of surfaces. parted: the rests of these.
    """

    tape: Tape
    ball: Ball
    slopes: Slopes | None
    intervals: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    roundings: dict[int, Tensor] = field(default_factory=dict)
    drawn: dict[int, Lines] = field(default_factory=dict)
    around: dict[int, Near] = field(default_factory=dict)
    parted: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    forms: Forms | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.slopes is not None:
            given = (self.tape, self.ball, self.slopes, self._beyond, self.left)
            self.forms = Forms(*given)

    def source(self) -> None:
        """Append the input."""
        x, radius = self.tape.x, self.ball.radius() * (1 + 4 * UNIT)
        slack = UNIT * (x.abs() + radius)
        low, high = x - radius - slack, x + radius + slack
        self._keep(low, high)

    def affine(self, index: int, entry: Affine) -> None:
        """Append the value of an affine entry; a copy has the ends that it copies."""
        known = [self.intervals[i] for i in entry.inputs]
        if self.forms is not None:
            self.forms.affine(index, entry)
        if entry.once:
            self._keep(*(entry.run(*ends) for ends in zip(*known, strict=True)))
            return
        middle = entry.run(*((low + high) / 2 for low, high in known))
        gamma = gamma_of(self.tape, entry.inputs, middle)
        wide = [
            (high - low) / 2 + 2 * gamma * size_of(low, high) for low, high in known
        ]
        spread = entry.absolute(*wide)
        if entry.bias is not None:
            spread = spread + 2 * gamma * entry.bias.abs()
        self._keep(middle - spread, middle + spread)

    def bend(self, index: int, entry: Bend) -> None:
        """Append the value of a curve."""
        low, high = self.intervals[entry.input]
        if self.slopes is not None:
            self.slopes.bend(index, entry, low, high)
        self._keep(*entry.curve.range(low, high, partial(self.lines, index)))

    def surface(self, index: int, entry: Surface, passed: Ends | None = None) -> None:
        """Append the value of a surface; `passed` is what it asked passes for."""
        ends = tuple(self.intervals[i] for i in entry.inputs)
        if self.forms is not None:
            self.forms.surface(index, entry)
        values = tuple(self.tape.values[i] for i in entry.inputs)
        value = self.tape.values[index]
        gamma = gamma_of(self.tape, entry.inputs, value)
        reach = self.ball.reach.reshape(-1, *(1,) * (value.dim() - 1))
        self.around[index] = Near(values, ends, gamma, reach, passed=passed)
        self._keep(*entry.range(ends, gamma))

    def left(self, index: int) -> Ends:
        """Return an interval of the rest of a surface."""
        if index not in self.parted:
            entry, near = self.tape.entries[index], self.around[index]
            assert isinstance(entry, Surface)
            if self.forms is not None and self.forms.measured(index):
                near = self.forms.near(index, entry, near)
            self.parted[index] = entry.rest(near)
        return self.parted[index]

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
            elif isinstance(entry, Surface):
                self.roundings[index] = self._of_surface(index, entry)
            else:
                bent = isinstance(entry, Bend)
                self.roundings[index] = (self._of_lines if bent else self.slack)(index)
        return self.roundings[index]

    def _of_affine(self, entry: Affine) -> Tensor:
        sizes = [size_of(*self.intervals[i]) for i in entry.inputs]
        magnitude = entry.absolute(*sizes)
        gamma = gamma_of(self.tape, entry.inputs, magnitude)
        if entry.bias is not None:
            magnitude = magnitude + entry.bias.abs()
        return gamma * magnitude

    def _of_surface(self, index: int, entry: Surface) -> Tensor:
        values = tuple(self.tape.values[i] for i in entry.inputs)
        sizes = tuple(
            size_of(*self.intervals[i]) + value.abs()
            for i, value in zip(entry.inputs, values, strict=True)
        )
        value = self.tape.values[index]
        gamma = gamma_of(self.tape, entry.inputs, value)
        return 16 * gamma * (entry.absolute(values, sizes) + value.abs())

    def _of_lines(self, index: int) -> Tensor:
        lines, entry = self.lines(index), self._curve(index)
        low, high = self.intervals[entry.input]
        slope = size_of(lines.above, lines.below)
        level = size_of(lines.above_level, lines.below_level)
        return gamma_of(self.tape, (index,), low) * (slope * size_of(low, high) + level)

    def slack(self, index: int) -> Tensor:
        """Return γ |v| of a value [B, *shape]."""
        low, high = self.intervals[index]
        return gamma_of(self.tape, (index,), low) * size_of(low, high)

    def direct(self, index: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return Jᵀ, c and r of a value from which functionals go straight to u."""
        return None if self.forms is None else self.forms.direct(index)

    def undecided(self, target: int, curve: Curve | None) -> Tensor:
        """Tell which ends a backward pass may move to some avail [B, 2, *shape].

        Those of factors all matter: they have no curve.
        """
        low, high = self.intervals[target]
        every = torch.ones_like(low, dtype=torch.bool)
        ends = (every, every) if curve is None else curve.undecided(low, high)
        found = torch.stack(ends, dim=1)
        if self.forms is None or not self.forms.measured(target):
            return found
        return found & ~self.forms.settled(target, _SHARE).unsqueeze(1)

    def _beyond(self, index: int, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return an interval of f(v) − k v of a curve."""
        entry = self._curve(index)
        ends, lines = self.intervals[entry.input], partial(self.lines, index)
        return entry.curve.beyond(k, *ends, lines)

    def _curve(self, index: int) -> Bend:
        entry = self.tape.entries[index]
        assert isinstance(entry, Bend)
        return entry

    def _keep(self, low: Tensor, high: Tensor) -> None:
        """Append an interval, met with that of the form where there is one."""
        at = len(self.intervals)
        if self.forms is not None and self.forms.measured(at):
            ends = self.forms.ends(at)
            low, high = torch.fmax(low, ends[0]), torch.fmin(high, ends[1])
        self.intervals.append((low, high))


def size_of(low: Tensor, high: Tensor) -> Tensor:
    """Return the largest absolute value between two ends."""
    return torch.maximum(low.abs(), high.abs())
