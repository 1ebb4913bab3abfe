"""First-order forms of the values of a tape over balls: v = c + J u + e, |e| ≤ r.

With J and k of `slopes`,

    v(x + S u) = c + J u + e,    |e| ≤ r,    so  v ∈ c ± (ε ‖J‖_q + r).

An affine entry makes L c + b, L J and |L| r of them. A curve with f(v) − k v in [g', g]
on the interval of v has c' = k c + (g + g')/2 and r' = |k| r + (g − g')/2. For smooth
curves r is of second order in ε, and where a rectifier is on one side of its knot on
all of the ball it adds nothing. The larger of a and b, with a − b in [l, h], is

    b + relu(a − b) = (1 − k) b + k a + [relu(a − b) − k (a − b)],

so r' = |1 − k| r_b + |k| r_a + (g − g')/2: what is not known of b is there once, not
twice. That costs one forward pass of two numbers for each value, against a backward
pass for each functional. Surfaces are affine up to the rest that each encloses.

**Rounding**, with γ as in `bounds`: the centre of an affine entry is off by at most
γ (|L||c| + |b|), and its J by γ |L||J|, which moves J u by at most γ |L| ε D (D of
`slopes`, Σ_j |J_j||u_j| ≤ ε D); both are added to r. D is rounded, too, and therefore
taken twice. A copy rounds nothing. A curve's terms are good to 2⁻⁴⁹, and so are the few
that make a maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from audit.importer.relaxation.ball import UNIT, Ball, flattened
from audit.importer.relaxation.slopes import Slopes
from audit.importer.relaxation.surfaces import Near, Surface
from audit.importer.relaxation.tape import Affine, Larger, Tape, read_by

Form = tuple[Tensor, Tensor]
_SLACK = 2.0**-49


@dataclass
class Forms:
    """What is known of the first order.

    Args:
        tape: the function. ball: B balls around its centre. slopes: of the tape.
        beyond: a curve's place and its k -> an interval of f(v) − k v.
        left: a surface's place -> an interval of its rest.
        known: c and r of each value, of curves where they were asked for.
        straight: what is known of values of which functionals go straight to u.
    """

    tape: Tape
    ball: Ball
    slopes: Slopes
    beyond: Callable[[int, Tensor], Form]
    left: Callable[[int], Form]
    known: dict[int, Form] = field(default_factory=dict)
    straight: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slopes.source()
        self.known[0] = self.tape.x, torch.zeros_like(self.tape.x)

    def affine(self, index: int, entry: Affine) -> None:
        """Follow an affine entry."""
        self.slopes.affine(index, entry)
        if isinstance(entry, Larger):
            self.known[index] = self._larger(entry)
        else:
            self.known[index] = self._affine(entry)

    def surface(self, index: int, entry: Surface) -> None:
        """Follow a surface; its form is made when asked for."""
        self.slopes.surface(index, entry)

    def of(self, index: int) -> Form:
        """Return c and r of a value, made when first asked for if it is a curve's."""
        if index not in self.known:
            entry = self.tape.entries[index]
            if isinstance(entry, Surface):
                self.known[index] = self._surface(index, entry)
            else:
                self.known[index] = self._bent(index)
        return self.known[index]

    def measured(self, index: int) -> bool:
        """Tell whether ‖J‖ of a value is known."""
        return index in self.slopes.norms

    def ends(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the interval [B, *shape] of a value that is measured."""
        centre, rest = self.of(index)
        wide = self._sway(index) + rest
        wide = wide + 4 * UNIT * (centre.abs() + wide)
        return centre - wide, centre + wide

    def settled(self, index: int, share: float) -> Tensor:
        """Tell where r is at most a share of ε ‖J‖ + r of a measured value."""
        rest = self.of(index)[1]
        return rest <= share * (self._sway(index) + rest)

    def direct(self, index: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return Jᵀ, c and r of a value from which functionals go straight to u.

        J [size, m] is that of all rows; r has the rounding of products with it.
        """
        if index in self.straight:
            return self.straight[index]
        tangents = self.slopes.direct(index)
        if tangents is None:
            return None
        centre, rest = self.of(index)
        gamma = gamma_of(self.tape, (0, index), centre)
        rest = rest + gamma * (centre.abs() + self._step(index))
        jacobian = flattened(tangents, 1).mT.contiguous()
        self.straight[index] = jacobian, centre, rest
        return self.straight[index]

    def _affine(self, entry: Affine) -> Form:
        forms = [self.of(i) for i in entry.inputs]
        centre = entry.run(*(c for c, _ in forms))
        if entry.once:
            return centre, entry.absolute(*(r for _, r in forms))
        gamma = gamma_of(self.tape, entry.inputs, centre)
        rests = [
            r + gamma * (c.abs() + self._step(i))
            for i, (c, r) in zip(entry.inputs, forms, strict=True)
        ]
        rest = entry.absolute(*rests)
        if entry.bias is not None:
            rest = rest + gamma * entry.bias.abs()
        return centre, rest * (1 + 2 * gamma)

    def _bent(self, index: int) -> Form:
        (at,), k = read_by(self.tape.entries[index]), self.slopes.rates[index]
        (centre, rest), (least, most) = self.of(at), self.beyond(index, k)
        slack = _SLACK * k.abs() * (centre.abs() + self._step(at))
        wide = k.abs() * rest + (most - least) / 2 + slack
        wide = wide + _SLACK * torch.maximum(most.abs(), least.abs())
        return k * centre + (most + least) / 2, wide * (1 + _SLACK)

    def near(self, index: int, entry: Surface, near: Near) -> Near:
        """Add what forms say of the inputs of a surface to what is known of them."""
        sways, rests = [], []
        for i, value in zip(entry.inputs, near.values, strict=True):
            centre, rest = self.of(i)
            sways.append(self._sway(i))
            slack = 4 * UNIT * (value.abs() + centre.abs())
            slack = slack + 16 * near.gamma * self._step(i)  # of products with J
            rests.append(rest + (centre - value).abs() + slack)
        return replace(
            near,
            sways=tuple(sways),
            rests=tuple(rests),
            own=self._sway(index),
            crossed=self.slopes.crossed.get(index),
            times=len(self.ball.free),
        )

    def _surface(self, index: int, entry: Surface) -> Form:
        """Return the form of f(v₀) + J (v − v₀) and of what is left."""
        values = tuple(self.tape.values[i] for i in entry.inputs)
        centres, rests = zip(*(self.of(i) for i in entry.inputs), strict=True)
        least, most = self.left(index)
        gamma = gamma_of(self.tape, entry.inputs, least)
        pairs = zip(values, centres, entry.inputs, strict=True)
        far = tuple(v.abs() + c.abs() + self._step(i) for v, c, i in pairs)
        off = tuple((c - v).unsqueeze(0) for v, c in zip(values, centres, strict=True))
        value = entry.run(*values)
        rest = entry.absolute(values, rests) + (most - least) / 2
        slack = entry.absolute(values, far) + most.abs() + least.abs() + value.abs()
        rest = rest + 16 * gamma * slack
        centre = value + entry.along(values, off)[0]
        return centre + (most + least) / 2, rest * (1 + 16 * gamma)

    def _larger(self, entry: Larger) -> Form:
        """Return the form of b + relu(g), g = a − b, beside that of what is left."""
        at, excess = entry.inputs
        k = self.slopes.rates[excess]
        (centre, rest), (least, most) = self.of(at), self.beyond(excess, k)
        gamma = gamma_of(self.tape, entry.inputs, centre)
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

    def _step(self, at: int) -> Tensor:
        """Return 2 ε D of a value [B, *shape]."""
        return 2 * self._reach(at) * self.slopes.steps[at]

    def _sway(self, at: int) -> Tensor:
        """Return ε ‖J‖_q of a value that a curve reads [B, *shape]."""
        return self._reach(at) * (1 + 2 * UNIT) * self.slopes.norms[at]

    def _reach(self, at: int) -> Tensor:
        return self.ball.reach.reshape(-1, *(1,) * (self.tape.values[at].dim() - 1))


def gamma_of(tape: Tape, inputs: tuple[int, ...], value: Tensor) -> float:
    """Return γ of what an entry makes of some values."""
    terms = sum(tape.values[i][0].numel() for i in inputs)
    return gamma(terms + value[0].numel() + len(tape.entries) + 32)


def gamma(count: int) -> float:
    """Return n 2⁻⁵³ / (1 − n 2⁻⁵³): how far a sum of n terms is off, relative."""
    return count * UNIT / (1 - count * UNIT)
