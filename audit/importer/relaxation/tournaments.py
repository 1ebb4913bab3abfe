"""Tournaments on a tape: maxima that narrow windows of k elements to one number each.

A tournament is taken as a whole where nothing else reads a part of it, with the curve
of straight pieces that never falls and alone reads it, if there is one. Its numbers are
those of single windows: `selections`, `funnels` and `slopes` make use of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import torch

from audit.importer.relaxation.tape import Affine, Bend, Larger, Tape, read_by

_STEPS = 10  # maxima in a row


@dataclass(frozen=True)
class Funnel:
    """A tournament on a tape.

    Args:
        at: the elements side by side [B, k, *out].
        maxima: the entries that narrow them, in order.
        curve: the one that reads what is left; None: whatever does.
    """

    at: int
    maxima: tuple[int, ...]
    curve: int | None

    @property
    def end(self) -> int:
        """The last entry."""
        return self.maxima[-1] if self.curve is None else self.curve

    def within(self, tape: Tape) -> set[int]:
        """Return the entries behind the elements, up to the last one."""
        excess = {read_by(tape.entries[index])[1] for index in self.maxima}
        gaps = {read_by(tape.entries[index])[0] for index in excess}
        after = set() if self.curve is None else set(read_by(tape.entries[self.curve]))
        return gaps | excess | {*self.maxima} | after | {self.end}


def funnels_of(tape: Tape, alive: Set[int]) -> dict[int, Funnel]:
    """Return the tournaments of which nothing else reads a part, by their ends."""
    readers = dict[int, set[int]]()
    for index in alive:
        for read in read_by(tape.entries[index]):
            readers.setdefault(read, set()).add(index)
    found = dict[int, Funnel]()
    for index in sorted(alive):
        entry = tape.entries[index]
        if not isinstance(entry, Larger):
            continue
        if not isinstance(tape.entries[entry.inputs[0]], Larger):
            funnel = _followed(tape, index, readers)
            found |= {} if funnel is None else {funnel.end: funnel}
    return found


def _followed(tape: Tape, first: int, readers: Mapping[int, set[int]]) -> Funnel | None:
    """Return the tournament that begins with a maximum, if it is one to the end."""
    maxima = list[int]()
    following = [first]
    while len(following) == 1 and len(maxima) < _STEPS:
        (index,) = following
        entry = tape.entries[index]
        assert isinstance(entry, Larger)
        elements, excess = entry.inputs
        if readers[elements] != {index, *read_by(tape.entries[excess])}:
            return None
        maxima.append(index)
        if tape.values[index].shape[1] == 1:
            at = read_by(tape.entries[first])[0]
            return Funnel(at, tuple(maxima), _curve_after(tape, index, readers))
        after = readers.get(index, set())
        following = [i for i in after if isinstance(tape.entries[i], Larger)]
    return None


def _curve_after(tape: Tape, index: int, readers: Mapping[int, set[int]]) -> int | None:
    """Return the curve that alone reads a maximum, put in place by a copy."""
    after = tuple(readers.get(index, ()))
    copy = tape.entries[after[0]] if len(after) == 1 else None
    if not isinstance(copy, Affine) or not _in_place(copy):
        return None
    after = tuple(readers.get(after[0], ()))
    bend = tape.entries[after[0]] if len(after) == 1 else None
    if not isinstance(bend, Bend) or not (bend.curve.cornered and bend.curve.rising):
        return None
    return after[0]


def _in_place(copy: Affine) -> bool:
    """Return whether a copy leaves each element where it is."""
    if not copy.once or copy.index is None or len(copy.inputs) > 1:
        return False
    flat = copy.index.reshape(-1)
    return bool((flat == torch.arange(len(flat), device=flat.device)).all())


def windowed(tape: Tape, funnels: Iterable[Funnel]) -> dict[int, tuple[int, int]]:
    """Return what curves read in tournaments: from where windows go back, to where.

    A copy of the last maximum leaves each element in place: it is bounded by that.
    """
    found = dict[int, tuple[int, int]]()
    for funnel in funnels:
        for index in funnel.maxima:
            excess = tape.entries[read_by(tape.entries[index])[1]]
            (gap,) = read_by(excess)
            found[gap] = gap, funnel.at
        if funnel.curve is not None:
            (last,) = read_by(tape.entries[funnel.curve])
            found[last] = funnel.maxima[-1], funnel.at
    return found
