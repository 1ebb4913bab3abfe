"""Coordinates η of a law over balls: bounds on functionals of their change.

A change is taken from an enclosure of η(x) in real arithmetic, not from its rounded
value, and bounds are those of `audit.importer.relaxation`. What does not depend on the
sizes of the balls (the tape, its slopes, η(x)) is kept with the centres.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from audit.families.enclosures import Expansion
from audit.importer.relaxation import Ball, Relaxed, Slopes, Tape, dot, slopes_of
from audit.importer.relaxation.standing import standing

_STILL = 2.0**-32  # of η, and of 1: how far rounding is let go before it is looked at


@dataclass(frozen=True)
class Enclosed:
    """Coordinates η of B inputs, each in a ball of its own.

    Args:
        relaxed: the tape over the balls. at: η's place on it.
        fixed: the parameters that do not move.
        still: an interval of η(x) itself in real arithmetic; None: not known yet.
    """

    relaxed: Relaxed
    at: int
    fixed: Set[str]
    still: tuple[Tensor, Tensor] | None = None

    @property
    def centre(self) -> Tensor:
        """η(x) [B, q]."""
        return self.relaxed.tape.values[self.at]

    @property
    def reach(self) -> Tensor:
        """ε [B]."""
        return self.relaxed.ball.reach

    @property
    def power(self) -> float:
        """The norm's p."""
        return self.relaxed.ball.power

    @cached_property
    def _still(self) -> tuple[Tensor, Tensor]:
        if self.still is not None:
            return self.still
        return standing(self.relaxed.tape, self.at)

    @cached_property
    def _jacobian(self) -> Tensor:
        """J [B, q, m]; any numbers prove a bound, these make it tight."""
        eta, slopes = self.centre, self.relaxed.slopes
        if slopes is not None:
            return slopes.jacobian.permute(1, 2, 0).expand(len(eta), -1, -1)
        eye = torch.eye(eta.shape[1], dtype=eta.dtype, device=eta.device)
        found = self.relaxed.derivative(self.at, eye.unsqueeze(1))
        return found.transpose(0, 1).expand(len(eta), -1, -1)

    def above(self, weights: Tensor) -> Tensor:
        """Return upper bounds [B, K] on w·Δη, w [B or 1, K, q]; they hold for u = 0."""
        w = weights.transpose(0, 1)
        top = self.relaxed.upper(self.at, w).top()
        return self._beyond(top, self._start(w)).T

    def expand(self, weights: Tensor) -> Expansion:
        """Return both bounds and the expansion of w·Δη, w [B or 1, K, q]."""
        w, count = weights.transpose(0, 1), weights.shape[1]
        both = torch.cat([w, -w])
        planes = self.relaxed.upper(self.at, both)
        start = self._start(both)
        slopes = weights @ self._jacobian
        signed = torch.cat([slopes, -slopes], dim=1).transpose(0, 1)
        top = self._beyond(planes.top(), start)
        rest = self._beyond(planes.top(signed), start)
        return Expansion(
            top[:count].T,
            -top[count:].T,
            slopes,
            torch.maximum(rest[:count], rest[count:]).T,
        )

    def _start(self, w: Tensor) -> Tensor:
        """Return a lower bound on w·η(x) [K, B] in real arithmetic.

        `centre` is rounded on its way, and a change is taken from where η really is: in
        an interval for which q products are added up.
        """
        low, high = self._still
        middle, half = (low + high) / 2, (high - low) / 2
        size = middle.abs() + half
        far = dot(w.abs(), half + (w.shape[-1] + 8) * 2.0**-52 * size)
        return dot(w, middle) - far

    @staticmethod
    def _beyond(top: Tensor, start: Tensor) -> Tensor:
        """Return top − start [K, B], rounded up; 0 is among the changes."""
        slack = 2.0**-52 * (top.abs() + start.abs())
        return (top - start + slack).clamp_min(0)


@dataclass
class Centred:
    """Coordinates η of B inputs at their centres, ready for balls of any size.

    Args:
        tape: η as a function of x. at: η's place on it.
        fixed: the parameters that do not move.
        free: the features that move [m].
        unit: what one unit of u is in each of them [m].
    """

    tape: Tape
    at: int
    fixed: Set[str]
    free: Tensor
    unit: Tensor
    known: dict[float, tuple[Slopes | None, tuple[Tensor, Tensor]]] = field(
        default_factory=dict
    )

    def within(self, reach: Tensor, power: float) -> Enclosed:
        """Return where they go in balls of sizes ε [B].

        What does not depend on the sizes is computed once for each norm.
        """
        ball = Ball(self.tape.x, reach, power, self.free, self.unit)
        if power not in self.known:
            given = (self.tape, self.free, self.unit, power, self.at)
            self.known[power] = slopes_of(*given), self._still(power)
        slopes, still = self.known[power]
        own = None if slopes is None else slopes.anew()
        relaxed = Relaxed(self.tape, ball, slopes=own)
        return Enclosed(relaxed, self.at, self.fixed, still)

    def _still(self, power: float) -> tuple[Tensor, Tensor]:
        """Return where η(x) is in real arithmetic [B, q].

        From entry to entry what is known of rounding grows with the sizes of all
        weights: over many steps of a recurrent network beyond all bounds. A ball of
        size 0 says it by backward passes, in which weights have their signs.
        """
        low, high = standing(self.tape, self.at)
        eta = self.tape.values[self.at]
        if bool((high - low <= _STILL * (1 + eta.abs())).all()):
            return low, high
        ball = Ball(
            self.tape.x,
            self.tape.x.new_zeros(self.tape.rows),
            power,
            self.free,
            self.unit,
        )
        eye = torch.eye(eta.shape[1], dtype=eta.dtype, device=eta.device)
        both = torch.cat([eye, -eye]).unsqueeze(1)
        above, below = Relaxed(self.tape, ball).upper(self.at, both).top().chunk(2)
        return torch.fmax(low, -below.T), torch.fmin(high, above.T)
