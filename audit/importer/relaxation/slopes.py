"""First-order slopes of the values of a tape, carried forwards over balls.

J of v(x + S u) with respect to u: m tangents go through all entries together, through
a curve by one number k for each element. Whatever k is, and however J is rounded, a
bound that is made with them is proven where it is used (`forms`). Of a smooth curve k
is its slope at the centre, so that balls of all sizes share J. A surface has
its slopes there, too. Of a curve with knots it is
the chord over the interval that the ball gives it: then f(v) − k v varies least, and
J belongs to those balls alone.

The larger of a and b is b + relu(a − b), of slope (1 − k) J_b + k J_a.

Kept are the numbers k, the dual norms ‖J‖_q of what curves read, 1/p + 1/q = 1, and of
every value a bound Σ_j |J_j||u_j| ≤ ε D, by D = |L| D and |k| D: what rounding is
measured by. The tangents themselves are large. Left of them are J of one value and,
where it is small, of the last ones before any curve: functionals that get there go to
u in one product.

**Windows.** A number of a tournament is moved by what moves an element of its window
alone, a few pixels of an image. Between the elements, if affine in u, and the end, J
has those directions of each window, [s, R, *shape] instead of [m, R, *shape].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from audit.importer.relaxation.ball import dual_norm
from audit.importer.relaxation.surfaces import Surface
from audit.importer.relaxation.tape import Affine, Bend, Larger, Tape, read_by
from audit.importer.relaxation.tournaments import funnels_of

_NUMBERS = 2**26  # of all tangents of the widest value
_SMALL = 2**17  # numbers of J that take the place of all entries before


@dataclass
class Slopes:
    """Of a tape, in a norm; followed entry by entry, in order.

    Args:
        tape: the function.
        free: which of the flattened features move [m].
        unit: what one unit of u is in each of them, [m] or [B, m].
        power: p.
        target: the value whose J is kept.
        rates: k of every curve, by its place [B, *shape].
        norms: ‖J‖_q of what curves read and of the target, by their places
            [R, *shape], R = 1 or B, rounded up.
        steps: D of each value [R, *shape].
        crossed: what surfaces keep of the tangents of their inputs.
        tangents: J of the values that are still to be read, and of those that are
            kept [m, R, *shape].
        straight: the last values before any curve.
        local: of tournaments of these, by the place of the elements: the directions
            that move each window [s, *out], and J of the elements along them.
    """

    tape: Tape
    free: Tensor
    unit: Tensor
    power: float
    target: int
    rates: dict[int, Tensor] = field(default_factory=dict)
    norms: dict[int, Tensor] = field(default_factory=dict)
    steps: list[Tensor] = field(default_factory=list)
    crossed: dict[int, Tensor] = field(default_factory=dict)
    tangents: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._alive = self.tape.ancestors(self.target)
        made_of = [self.tape.entries[i] for i in self._alive]
        bends = [entry for entry in made_of if isinstance(entry, Bend)]
        self._measured = {entry.input for entry in bends} | {self.target}
        for index in self._alive:
            entry = self.tape.entries[index]
            if isinstance(entry, Surface):
                self._measured.update({index, *entry.inputs})
        self.shared = not any(entry.curve.cornered for entry in bends)
        self.straight = self._straight()
        self.local = dict[int, tuple[Tensor, Tensor]]()
        self._funnels = {
            index: funnel
            for funnel in funnels_of(self.tape, self._alive).values()
            if funnel.at in self.straight
            for index in funnel.within(self.tape)
        }
        self._last = dict[int, int]()
        for index in sorted(self._alive):
            self._last.update(dict.fromkeys(_along(self.tape, index), index))

    @property
    def jacobian(self) -> Tensor:
        """J of the target [m, R, *shape]."""
        return self.tangents[self.target]

    def direct(self, index: int) -> Tensor | None:
        """Return J of a value before any curve, if all rows share it [m, *shape]."""
        if index not in self.straight or self.tangents[index].shape[1] > 1:
            return None
        return self.tangents[index][:, 0]

    def anew(self) -> Slopes:
        """Return the slopes for other balls: these where they do not depend on them."""
        if self.shared:
            return self
        return replace(self, rates={}, norms={}, steps=[], crossed={}, tangents={})

    def source(self) -> None:
        """Begin with the input."""
        if self.steps:
            return
        free, x = self.free, self.tape.x
        own = self.unit.to(x).reshape(-1, len(free)).T
        seeds = x.new_zeros(*own.shape, x[0].numel())
        seeds[torch.arange(len(free), device=free.device), :, free] = own
        steps = seeds.abs().sum(0).reshape(-1, *x.shape[1:])
        self._keep(0, seeds.reshape(*own.shape, *x.shape[1:]), steps)

    def affine(self, index: int, entry: Affine) -> None:
        """Follow an affine entry."""
        if index < len(self.steps):
            return
        if isinstance(entry, Larger):
            self._larger(index, entry)
            return
        tangent = None
        if index in self._alive:
            tangent = entry.along(*(self._read(i, index) for i in entry.inputs))
        steps = entry.absolute(*(self.steps[i] for i in entry.inputs))
        self._keep(index, tangent, steps)

    def bend(self, index: int, entry: Bend, low: Tensor, high: Tensor) -> None:
        """Follow a curve on an interval of what it reads; 0 where k is no number."""
        if index < len(self.steps):
            return
        value = self.tape.values[entry.input]
        k = entry.curve.secant(low, high, value).nan_to_num(0.0, 0.0, 0.0)
        self.rates[index] = k
        read = index in self._last or index == self.target
        tangent = self.tangents[entry.input] * k if read else None
        self._keep(index, tangent, k.abs() * self.steps[entry.input])

    def surface(self, index: int, entry: Surface) -> None:
        """Follow a surface, by its slopes at the centre."""
        if index < len(self.steps):
            return
        values = tuple(self.tape.values[i] for i in entry.inputs)
        tangent = None
        if index in self._alive:
            tangents = tuple(self.tangents[i] for i in entry.inputs)
            tangent = entry.along(values, tangents)
            crossed = entry.crossed(values, tangents, self.power)
            if crossed is not None:
                self.crossed[index] = crossed
        steps = entry.absolute(values, tuple(self.steps[i] for i in entry.inputs))
        self._keep(index, tangent, steps)

    def _larger(self, index: int, entry: Larger) -> None:
        at, excess = entry.inputs
        k, tangent = self.rates[excess], None
        if index in self._alive:
            a, b, rest = entry.parts(self._read(at, index), 2)
            tangent = torch.lerp(b, a, k)
            if rest.shape[2]:
                rest = rest.expand(-1, tangent.shape[1], *rest.shape[2:])
                tangent = torch.cat([tangent, rest], dim=2)
        a, b, rest = entry.parts(self.steps[at], 1)
        steps = (1 - k).abs() * b + k.abs() * a
        rest = rest.expand(len(steps), *rest.shape[1:])
        self._keep(index, tangent, torch.cat([steps, rest], dim=1))

    def _read(self, at: int, reader: int) -> Tensor:
        """Return J of a value as its reader takes it, by windows in a tournament."""
        funnel = self._funnels.get(reader)
        if funnel is None or at != funnel.at:
            return self.tangents[at]
        if at not in self.local:
            tangent = self.tangents[at]
            moved = (tangent != 0).flatten(1, 2).any(1)
            most = int(moved.sum(0).max())
            spots = torch.argsort(moved.byte(), dim=0, descending=True)[:most]
            places = spots[:, None, None].expand(-1, *tangent.shape[1:])
            self.local[at] = spots, tangent.gather(0, places)
        return self.local[at][1]

    def _spread(self, at: int, tangent: Tensor) -> Tensor:
        """Return J of the end of a tournament in all directions [m, R, *shape]."""
        spots = self.local[at][0].reshape(-1, 1, *tangent.shape[2:])
        whole = tangent.new_zeros(len(self.free), *tangent.shape[1:])
        return whole.scatter_(0, spots.expand_as(tangent), tangent)

    def _straight(self) -> set[int]:
        """Return the values that are affine in x and read by what is not, if small."""
        bent, found = set[int](), set[int]()
        for index in sorted(self._alive):
            entry = self.tape.entries[index]
            read = set(read_by(entry))
            if isinstance(entry, Bend | Surface) or read & bent:
                bent.add(index)
                found |= read - bent
        sizes = {i: self.tape.values[i][0].numel() * len(self.free) for i in found}
        return {i for i, size in sizes.items() if i and size <= _SMALL}

    def _keep(self, index: int, tangent: Tensor | None, steps: Tensor) -> None:
        self.steps.append(steps)
        if tangent is not None:
            if index in self._measured:
                self.norms[index] = dual_norm(tangent, self.power)
            funnel = self._funnels.get(index)
            if funnel is not None and index == funnel.end:
                tangent = self._spread(funnel.at, tangent)
            self.tangents[index] = tangent
        for done in _along(self.tape, index):
            kept = done in self.straight or done == self.target
            if self._last.get(done) == index and not kept:
                self.tangents.pop(done, None)


def slopes_of(
    tape: Tape, free: Tensor, unit: Tensor, power: float, target: int
) -> Slopes | None:
    """Return slopes to be followed; None where they are too many to be worth it.

    Args:
        tape: the function.
        free: which of the flattened features move [m].
        unit: what one unit of u is in each of them, [m] or [B, m].
        power: p.
        target: the value whose J is kept.
    """
    widest = max(value[0].numel() for value in tape.values)
    if len(free) * tape.rows * widest > _NUMBERS:
        return None
    return Slopes(tape, free, unit, power, target)


def _along(tape: Tape, index: int) -> tuple[int, ...]:
    """Return the values whose tangents an entry's is made of."""
    entry = tape.entries[index]
    return entry.inputs[:1] if isinstance(entry, Larger) else read_by(entry)
