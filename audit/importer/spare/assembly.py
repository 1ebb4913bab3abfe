"""Operands put together from what is there: views where they can be, else copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from audit.importer.spare import views
from audit.importer.spare.emitted import Call, Run
from audit.importer.spare.numbering import Named, Names, Table
from audit.importer.spare.seen import NotSpared

_FEW = 4  # slices of a value that are taken apart all at once


@dataclass
class Shelf:
    """Everything that is there, by names, and the calls that put it there."""

    table: Table
    device: torch.device
    calls: list[Call] = field(default_factory=list)
    constants: dict[int, Tensor] = field(default_factory=dict)
    values: list[Named] = field(default_factory=list)
    known: dict[object, int] = field(default_factory=dict)
    where: dict[int, dict[int, int]] = field(default_factory=dict)
    """name -> place -> position in it."""

    def put(self, value: Named) -> int:
        """Return the place of a value that is there from now on."""
        place = len(self.values)
        self.values.append(value)
        if value.names.size:
            self.known.setdefault(_key(value), place)
        for position, name in enumerate(value.names.reshape(-1).tolist()):
            self.where.setdefault(name, {}).setdefault(place, position)
        return place

    def call(
        self,
        run: Run,
        reads: Sequence[int],
        value: Named,
        rows: bool = False,
    ) -> int:
        """Emit a call that makes a value; return its place."""
        place = self.put(value)
        self.calls.append(Call(run, tuple(reads), place, rows))
        return place

    def fetch(self, value: Named, whole: bool = True) -> int:
        """Return the place of a value, put together if it is not there.

        Args:
            value: by names.
            whole: whether its repeated numbers have to be there, its rows too.
        """
        found = self.known.get(_key(value))
        if found is not None:
            return found
        if bool(self.table.are_constant(value.names).all()):
            return self._constant(value, whole)
        less = _narrowed(value)
        if less.names.shape != value.names.shape:
            place = self.fetch(less, whole)
            if not whole:
                return place
            sizes = tuple(
                -1 if k == value.axis else s for k, s in enumerate(value.names.shape)
            )
            return self.call(partial(views.expanded, sizes), (place,), value)
        place_of = self._single(value)
        return self._joined(value) if place_of is None else place_of

    def _constant(self, value: Named, whole: bool) -> int:
        bare = replace(value, axis=None)
        place = self.known.get(_key(bare))
        if place is None:
            numbers = [
                self.table.constants[name][1]
                for name in value.names.reshape(-1).tolist()
            ]
            tensor = torch.tensor(numbers, dtype=value.dtype, device=self.device)
            place = self.put(bare)
            self.constants[place] = tensor.reshape(value.names.shape)
        if value.axis is None or not whole:
            return place
        return self.call(
            partial(views.repeated, value.axis), (place,), value, rows=True
        )

    def _sources(self, names: Names) -> set[int]:
        """Return the places that hold all of some names."""
        found: set[int] | None = None
        for name in set(names.reshape(-1).tolist()):
            there = set(self.where.get(name, ()))
            found = there if found is None else found & there
            if not found:
                return set()
        return {place for place in found or () if self.values[place].axis is not None}

    def _single(self, value: Named) -> int | None:
        """Return a value that one place holds all of."""
        sources = sorted(
            self._sources(value.names), key=lambda p: (self.values[p].names.size, p)
        )
        for place in sources:
            viewed = self._viewed(place, value)
            if viewed is not None:
                return viewed
        return self._indexed(sources[0], value) if sources else None

    def _viewed(self, place: int, value: Named) -> int | None:
        """Return a value as a view of a place: all of it, or a stretch of an axis."""
        source = self.values[place]
        wanted = value.names.reshape(-1)
        if (
            source.names.size == wanted.size
            and (source.names.reshape(-1) == wanted).all()
        ):
            return self.call(views.shaper(source, value), (place,), value)
        for axis, size in enumerate(source.names.shape):
            per = source.names.size // size
            if axis == source.axis or wanted.size % per:
                continue
            length = wanted.size // per
            for start in range(size - length + 1):
                part = source.names.take(range(start, start + length), axis)
                if (part.reshape(-1) == wanted).all():
                    shaped = views.shaper(replace(source, names=part), value)
                    if length == 1 < size <= _FEW:
                        run = partial(views.one_of, axis, start, shaped)
                        return self.call(run, (self._apart(place, axis),), value)
                    run = partial(views.stretch, axis, start, length, shaped)
                    return self.call(run, (place,), value)
        return None

    def _apart(self, place: int, axis: int) -> int:
        """Return the place of all slices of a value: a backward pass stacks theirs."""
        key = ("apart", place, axis)
        if key not in self.known:
            nothing = Named(np.zeros(0, np.int64), None, self.values[place].dtype)
            slices = self.call(partial(views.unbound, axis), (place,), nothing)
            self.known[key] = slices
        return self.known[key]

    def _indexed(self, place: int, value: Named) -> int:
        """Return a value as numbers picked from one place."""
        source = self.values[place]
        index = [self.where[name][place] for name in value.names.reshape(-1).tolist()]
        flat = Named(value.names.reshape(1, -1), 0, value.dtype)
        shaped = views.shaper(flat, value)
        picked = torch.tensor(index, device=self.device)
        assert source.axis is not None
        return self.call(
            partial(views.picked, source.axis, picked, shaped), (place,), value
        )

    def _joined(self, value: Named) -> int:
        """Return a value put together from several places."""
        axis, groups = self._groups(value)
        if axis is None:
            flat = Named(value.names.reshape(1, -1), 0, value.dtype)
            if value.names.shape == flat.names.shape:
                raise NotSpared("a number is read before it is made")
            place = self.fetch(flat)
            return self.call(views.shaper(flat, value), (place,), value)
        parts = [
            self.fetch(replace(value, names=value.names.take(range(a, b), axis)))
            for a, b in groups
        ]
        return self.call(partial(views.cat, axis), parts, value)

    def _groups(self, value: Named) -> tuple[int | None, list[tuple[int, int]]]:
        """Return the axis with the fewest stretches of one source each, and these."""
        best: tuple[int | None, list[tuple[int, int]]] = (None, [])
        for axis, size in enumerate(value.names.shape):
            if axis == value.axis or size < 2:
                continue
            groups = self._stretches(value, axis)
            if groups and (best[0] is None or len(groups) < len(best[1])):
                best = axis, groups
        return best

    def _stretches(self, value: Named, axis: int) -> list[tuple[int, int]]:
        """Return stretches of an axis that have a source; none where some have none."""
        groups: list[tuple[int, int]] = []
        last: set[int] = set()
        for k in range(value.names.shape[axis]):
            part = value.names.take([k], axis)
            there = self._sources(part)
            if bool(self.table.are_constant(part).all()):
                there = {-1}
            if not there:
                return []
            if groups and last & there:
                groups[-1], last = (groups[-1][0], k + 1), last & there
            else:
                groups.append((k, k + 1))
                last = there
        return groups


def _key(value: Named) -> object:
    return value.names.shape, value.names.tobytes(), value.axis


def _narrowed(value: Named) -> Named:
    """Return a value with one place of each axis along which it is repeated."""
    names = value.names
    for axis, size in enumerate(names.shape):
        first = names.take([0], axis)
        if size > 1 and axis != value.axis and (names == first).all():
            names = first
    return replace(value, names=names)
