"""Intervals of every value of a tape over balls, forwards, two ways at once.

**Interval arithmetic**: the value at the middle of its inputs' intervals, and the sum
of the absolute values of what may be added to it.

**First-order forms.** With J and k of `slopes`, which all sizes share,

    v(x + S u) = c + J u + e,    |e| ≤ r,    so  v ∈ c ± (ε ‖J‖_q + r).

An affine entry makes L c + b, L J and |L| r of them. A curve f between its lines
s v + t ≥ f(v) ≥ s' v + t' on [l, h] has f(v) − k v between

    g' = min((s' − k) l, (s' − k) h) + t'    and    g = max((s − k) l, (s − k) h) + t,

so c' = k c + (g + g')/2 and r' = |k| r + (g − g')/2. Where the curves are smooth r is
of second order in ε, and where a rectifier is on one side of its knot on all of the
ball it adds nothing. That costs one forward pass of two numbers for each value, against
a backward pass for each functional.

**Rounding**, with γ as in `bounds`: the centre of an affine entry is off by at most
γ (|L||c| + |b|), and its J by γ |L||J|, which moves J u by at most γ |L| ε ‖J‖_q
(Hölder on absolute values); both are added to r. A curve's terms are good to 2⁻⁴⁹.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.importer.relaxation.ball import UNIT, Ball
from audit.importer.relaxation.curves import Curve, Lines
from audit.importer.relaxation.planes import range_of
from audit.importer.relaxation.slopes import Slopes
from audit.importer.relaxation.tape import Affine, Bend, Tape

_SLACK = 2.0**-49
_SHARE = 0.1  # of a half width: a backward pass could not make it narrower by more


@dataclass
class Spans:
    """What is known of the values so far.

    Args:
        tape: the function. ball: B balls around its centre.
        slopes: of the tape; None: interval arithmetic alone.
        intervals: of each value. roundings: γ M of each, M ≥ |L||v| + |b|.
        forms: c and r of each.
    """

    tape: Tape
    ball: Ball
    slopes: Slopes | None
    intervals: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    roundings: list[Tensor] = field(default_factory=list)
    forms: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def source(self) -> None:
        """Append the input."""
        x, radius = self.tape.x, self.ball.radius() * (1 + 4 * UNIT)
        slack = UNIT * (x.abs() + radius)
        self.forms.append((x, torch.zeros_like(x)))
        low, high = x - radius - slack, x + radius + slack
        size = torch.maximum(low.abs(), high.abs())
        self._keep(low, high, self.gamma((0,), x) * size)

    def affine(self, entry: Affine) -> None:
        """Append the value of an affine entry."""
        known = [self.intervals[i] for i in entry.inputs]
        sizes = [torch.maximum(low.abs(), high.abs()) for low, high in known]
        magnitude = entry.absolute(*sizes)
        if entry.bias is not None:
            magnitude = magnitude + entry.bias.abs()
        middle = entry.run(*((low + high) / 2 for low, high in known))
        spread = entry.absolute(*((high - low) / 2 for low, high in known))
        gamma = self.gamma(entry.inputs, middle)
        spread = spread + 2 * gamma * magnitude
        if self.slopes is not None:
            self.forms.append(self._affine_form(entry, gamma))
        self._keep(middle - spread, middle + spread, gamma * magnitude)

    def bend(self, index: int, entry: Bend, lines: Lines) -> None:
        """Append the value of a curve between lines on the interval of its input."""
        low, high = self.intervals[entry.input]
        size = torch.maximum(low.abs(), high.abs())
        slope = torch.maximum(lines.above.abs(), lines.below.abs())
        level = torch.maximum(lines.above_level.abs(), lines.below_level.abs())
        magnitude = slope * size + level
        if self.slopes is not None:
            k = self.slopes.rates[index]
            slack = _SLACK * (magnitude + k.abs() * size)
            self.forms.append(self._bent_form(entry, lines, k, slack))
        ends = range_of(entry.curve, low, high, lines)
        gamma = self.gamma((index,), self.tape.values[index])
        self._keep(*ends, gamma * magnitude)

    def undecided(self, target: int, curve: Curve) -> Tensor:
        """Tell which ends a backward pass may move to some avail [B, 2, *shape]."""
        found = torch.stack(curve.undecided(*self.intervals[target]), dim=1)
        if self.slopes is None:
            return found
        rest = self.forms[target][1]
        known = rest <= _SHARE * (self._sway(target) + rest)
        return found & ~known.unsqueeze(1)

    def gamma(self, inputs: tuple[int, ...], value: Tensor) -> float:
        """Return γ of what an entry makes of some values."""
        terms = sum(self.tape.values[i][0].numel() for i in inputs)
        count = terms + value[0].numel() + len(self.tape.entries) + 32
        return count * UNIT / (1 - count * UNIT)

    def _affine_form(self, entry: Affine, gamma: float) -> tuple[Tensor, Tensor]:
        forms = [self.forms[i] for i in entry.inputs]
        centre = entry.run(*(c for c, _ in forms))
        rests = [
            r + gamma * (c.abs() + self._sway(i))
            for i, (c, r) in zip(entry.inputs, forms, strict=True)
        ]
        rest = entry.absolute(*rests)
        if entry.bias is not None:
            rest = rest + gamma * entry.bias.abs()
        return centre, rest * (1 + 2 * gamma)

    def _bent_form(
        self, entry: Bend, lines: Lines, k: Tensor, slack: Tensor
    ) -> tuple[Tensor, Tensor]:
        low, high = self.intervals[entry.input]
        centre, rest = self.forms[entry.input]
        above, below = lines.above - k, lines.below - k
        most = torch.maximum(above * low, above * high) + lines.above_level
        least = torch.minimum(below * low, below * high) + lines.below_level
        slack = slack + _SLACK * k.abs() * (centre.abs() + self._sway(entry.input))
        wide = k.abs() * rest + (most - least) / 2
        return k * centre + (most + least) / 2, (wide + slack) * (1 + _SLACK)

    def _sway(self, at: int) -> Tensor:
        """Return ε ‖J‖_q of a value [B, *shape]."""
        assert self.slopes is not None
        norm = self.slopes.norms[at]
        reach = self.ball.reach.reshape(-1, *(1,) * (norm.dim() - 1))
        return reach * (1 + 2 * UNIT) * norm

    def _keep(self, low: Tensor, high: Tensor, rounding: Tensor) -> None:
        """Append an interval, met with that of the form where there is one."""
        if self.slopes is not None:
            centre, rest = self.forms[-1]
            wide = self._sway(len(self.forms) - 1) + rest
            wide = wide + 4 * UNIT * (centre.abs() + wide)
            low = torch.fmax(low, centre - wide)
            high = torch.fmin(high, centre + wide)
        self.intervals.append((low, high))
        self.roundings.append(rounding)
