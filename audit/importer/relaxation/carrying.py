"""Functionals carried back over a tape, to affine functions of the perturbation.

One pass goes from a value to u, over all entries on the way: what each adds to the
levels, and how its coefficients pass. `bounds` has the mathematics, `crossings` what
curves and tournaments do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.relaxation.ball import Ball, flattened
from audit.importer.relaxation.crossings import Crossings
from audit.importer.relaxation.passing import Passed, exact_copies
from audit.importer.relaxation.planes import dot
from audit.importer.relaxation.selections import Some, Windows, rows_of, taken
from audit.importer.relaxation.surfaces import Surface
from audit.importer.relaxation.tape import Affine, Bend, Larger

Through = Callable[..., Passed]


@dataclass
class Carrier:
    """Carries functionals of the values of a tape back to u.

    Args:
        ball: B balls around the centre of a tape.
        crossings: what is crossed on the tape.
    """

    ball: Ball
    crossings: Crossings

    def __post_init__(self) -> None:
        crossings = self.crossings
        self.tape, self.spans = crossings.tape, crossings.spans
        self.free = exact_copies(self.tape, crossings.alive)

    def carried(
        self, target: int, weights: Tensor, through: Through, some: Some = None
    ) -> tuple[Tensor, Tensor]:
        """Carry functionals [K, R, *shape] to u: slopes [K, R, m], level [K, B].

        Those of some rows are [K, n, *shape], those of windows [1, n, c], and so is
        the level [K, n].
        """
        pending, rows, crossings = {target: weights}, rows_of(some), self.crossings
        count = self.tape.rows if rows is None else len(rows)
        level = weights.new_zeros(len(weights), count)
        reached = list[Tensor]()
        for index in range(target, 0, -1):
            a = pending.pop(index, None)
            if a is None:
                continue
            at, added = index, index == target or index not in crossings.paid
            lined = through == crossings.over and rows is some
            if lined and index in crossings.funnels:
                planes = crossings.planes(index)
                if planes is not None:
                    slopes, more = planes.carried(a, rows)
                    reached.append(slopes)
                    level = level + more
                    continue
                a, more = crossings.narrowed(index, a, rows)
                level, added = level + more, False
                at = crossings.funnels[index].at
            straight = self.spans.direct(at)
            if straight is None:
                parts, more, some = self._back(at, a, through, some, added)
            else:
                more = _by_form(a, straight, some) if added else a.new_zeros(())
                reached.append(_gone(a, straight[0], some))
                parts = ()
            level = level + more
            for place, part in parts:
                known = pending.get(place)
                pending[place] = part if known is None else known + part
        a = pending.pop(0, None)
        if a is not None:
            roundings = taken(self.spans.rounding(0), rows)
            level = level + dot(a.abs(), roundings) + dot(a, taken(self.tape.x, rows))
            reached.append(self.ball.in_units(a, rows))
        none = weights.new_zeros(len(weights), 1, len(self.ball.free))
        return sum(reached[1:], reached[0]) if reached else none, level

    def both(self, target: int, a: Tensor, some: Some) -> tuple[Tensor, Tensor]:
        """Carry functionals of single rows and their negatives: [2, n, m] and [2, n].

        Those of rows are [1, n, *shape], of windows [1, n, c]. The way is plain.
        """
        odd, even = a.new_zeros(2, *a.shape[:2])
        *way, end = self.plain(target)
        for index in way:
            entry = self.tape.entries[index]
            assert isinstance(entry, Affine)
            if index == target or index not in self.crossings.paid:
                even = even + self._rounded(index, a, some)
                odd = odd + self._shifted(entry, a, some)
            ((_, a),), _, some = self._back(
                index, a, self.crossings.over, some, added=False
            )
        planes = self.crossings.planes(end)
        rows = rows_of(some)
        assert planes is not None
        assert rows is not None
        slopes, level = planes.both(a, rows)
        return slopes, level + torch.cat([even + odd, even - odd])

    def plain(self, target: int) -> list[int]:
        """Return the way over affine entries to a tournament with planes, if it is one.

        Its end is the last place; [] where a curve or two inputs are on the way.
        """
        found = [target]
        while found[-1] not in self.crossings.funnels:
            entry = self.tape.entries[found[-1]]
            if not isinstance(entry, Affine) or len(entry.inputs) > 1:
                return []
            found += entry.inputs
        return found if self.crossings.planes(found[-1]) is not None else []

    def tangent(self, index: int, entry: Bend, a: Tensor, some: Some) -> Passed:
        """Replace a curve by its tangent at the centre (the level is not used)."""
        v = taken(self.tape.values[entry.input], some)
        return a * entry.curve.slope(v), a.new_zeros(len(a), len(v))

    def width(self, target: int, some: Some) -> int:
        """Return the most numbers of a functional on its way from a value to u.

        Those of windows are few as long as they are of windows.
        """
        tape, first = self.tape, [target]
        if isinstance(some, Windows):
            if self.spans.direct(some.at) is not None:
                return len(self.ball.free)
            entry = tape.entries[some.at]
            assert isinstance(entry, Affine)
            first = [some.at] if entry.across is None else list(entry.inputs)
        planes, before = self.crossings.planes, range(target + 1)
        ends = {i for i in self.crossings.funnels if i in before and planes(i)}
        made_of = set().union(*(tape.ancestors(i, ends) for i in first))
        return max(tape.values[i][0].numel() for i in made_of)

    def _back(
        self, index: int, a: Tensor, through: Through, some: Some, added: bool
    ) -> tuple[Iterable[tuple[int, Tensor]], Tensor, Some]:
        """Return functionals of what an entry reads, by place, and its level.

        An affine entry has none where its reader has added it. What was of windows is
        of rows behind their elements.
        """
        entry = self.tape.entries[index]
        if isinstance(entry, Larger):
            at, excess = entry.inputs
            own, rest = a[:, :, : entry.half], a[:, :, entry.half :]
            slopes, level = through(excess, self.tape.entries[excess], own, some)
            rest = rest.expand(-1, slopes.shape[1], *rest.shape[2:])
            parts = [(at, torch.cat([slopes, own - slopes, rest], dim=2))]
            return parts, level, some
        if isinstance(entry, Bend):
            slopes, level = through(index, entry, a, some)
            return [(entry.input, slopes)], level, some
        if isinstance(entry, Surface):
            both, level = self.crossings.tangential(index, entry, a, some)
            return zip(entry.inputs, both, strict=True), level, some
        assert isinstance(entry, Affine)
        level = a.new_zeros(())
        if added:
            level = self._rounded(index, a, some) + self._shifted(entry, a, some)
        if isinstance(some, Windows) and index == some.at:
            functionals, some = self._before(index, entry, a, some), some.rows
        else:
            functionals = entry.back(a, rows_of(some))
        return zip(entry.inputs, functionals, strict=True), level, some

    def _rounded(self, index: int, a: Tensor, some: Some) -> Tensor:
        """Return what rounding of an affine entry adds to the levels."""
        if index in self.free:
            return a.new_zeros(())
        return dot(a.abs(), taken(self.spans.rounding(index), some))

    def _shifted(self, entry: Affine, a: Tensor, some: Some) -> Tensor:
        """Return a·b of an affine entry."""
        if entry.bias is None:
            return a.new_zeros(())
        return dot(a, taken(entry.bias, some))

    def _before(
        self, index: int, entry: Affine, a: Tensor, some: Windows
    ) -> Sequence[Tensor]:
        """Return functionals of whole rows that elements of windows are made of."""
        if entry.across is None:
            shape = self.tape.values[index].shape[1:]
            return entry.back(some.spread(a, shape), some.rows)
        event = self.tape.values[entry.inputs[0]].shape[1:]
        return [some.summed(a, entry.across).reshape(*a.shape[:2], *event)]


def _by_form(a: Tensor, straight: tuple[Tensor, Tensor, Tensor], some: Some) -> Tensor:
    """Return the level [K, B] of functionals that go to u by the form of a value."""
    centre, rest = (taken(part, some) for part in straight[1:])
    return dot(a, centre) + dot(a.abs(), rest)


def _gone(a: Tensor, jacobian: Tensor, some: Some) -> Tensor:
    """Return the slopes [K, R, m] of functionals of a value with the slopes Jᵀ."""
    if isinstance(some, Windows):
        return some.summed(a, jacobian)
    return flattened(a, 2) @ jacobian
