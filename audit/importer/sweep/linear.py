"""A program at n inputs, and products with its Jacobian there, both ways.

    at.rows(cotangents, first, last, out)  the rows [last − first, P, d]
    at.columns(tangents)                   the columns [n, K, *row shape]

Backward passes by autograd walk the graph once for each row; here each step is walked
once, with the rows of all outputs and inputs in one tensor, and its partial derivatives
are computed once an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from audit.importer.sweep.pushed import pushed
from audit.importer.sweep.rows import Piece, dense, merged
from audit.importer.sweep.rules import Kept
from audit.importer.sweep.way import Way
from audit.importer.values import Value

Waiting = dict[int, list[Piece]]
"""Slot of a value -> its cotangents so far."""


@dataclass(frozen=True)
class Linear:
    """A graph at n inputs: its values, and what its rules keep.

    Args:
        way: the steps and their rules.
        values: the outputs, in order.
        kept: index of a step -> what its rule needs to pull back.
        inputs: n.
    """

    way: Way
    values: tuple[Value, ...]
    kept: dict[int, Kept]
    inputs: int

    def rows(
        self,
        cotangents: Sequence[Sequence[Piece]],
        first: int,
        last: int,
        out: Tensor,
        together: int = 0,
    ) -> None:
        """Pull cotangents of the outputs back to the input.

        Args:
            cotangents: of each output, in order.
            first: of the inputs that are asked for; all of them are where a step goes
                by itself (`Way.alone`).
            last: the input after them.
            out: [last − first, P, d], written into; the columns of one input after
                those of another.
            together: how many of them go on together after the narrow steps; 0: all,
                as they do where a step goes by itself.
        """
        path, (narrow, wide) = self.way.path, self.way.stages
        waiting: Waiting = {}
        for slot, pieces in zip(path.outputs, cotangents, strict=True):
            if slot in path.places and pieces:
                waiting.setdefault(slot, []).extend(pieces)
        count = last - first
        each = together or max(count, 1)
        if each >= count or self.way.alone:
            narrow, wide, each = (), self.way.backwards, max(count, 1)
        self._back(narrow, first, last, waiting)
        if each < count:
            wide = wide[self._shared(wide, waiting) :]
        for at in range(0, count, each):
            end = min(at + each, count)
            part = waiting if each >= count else _cut(waiting, at, end)
            self._back(wide, first + at, first + end, part)
            self._write(part, out[at:end])

    def _shared(self, steps: Sequence[int], waiting: Waiting) -> int:
        """Walk the first steps back that are the same at all inputs; return how many.

        Rows of the identity are, and what products with constants make of them.
        """
        for count, index in enumerate(steps):
            pieces = [waiting.get(slot, ()) for slot in self.way.stops[index].results]
            alike = all(piece.shared for own in pieces for piece in own)
            if not (alike and all(k.shape[0] == 1 for k in self.kept[index])):
                return count
            self._step_back(index, self.kept[index], waiting)
        return len(steps)

    def _back(
        self, steps: Sequence[int], first: int, last: int, waiting: Waiting
    ) -> None:
        """Walk some steps back at some inputs."""
        for index in steps:
            self._step_back(index, self._kept_at(index, first, last), waiting)

    def _kept_at(self, index: int, first: int, last: int) -> Kept:
        """Return what a rule needs at some inputs."""
        kept = self.kept[index]
        if (first, last) == (0, self.inputs):
            return kept
        return tuple(k if k.shape[0] == 1 else k[first:last] for k in kept)

    def _write(self, waiting: Waiting, out: Tensor) -> None:
        path = self.way.path
        shapes = [path.places[slot].shape for slot in path.sources]
        columns: Sequence[Tensor] = (out,)
        if len(shapes) > 1:
            columns = torch.split(out, [prod(shape) for shape in shapes], dim=2)
        for slot, shape, part in zip(path.sources, shapes, columns, strict=True):
            _write(waiting.get(slot, []), shape, part)

    def columns(self, tangents: Tensor) -> list[Tensor | None]:
        """Push tangents of the input forward.

        Args:
            tangents: [n, K, d], one after the other for each of the inputs.

        Returns:
            Those of each output [n, K, *row shape], in order; None where none moves.
        """
        return self.columns_to(tangents, self.way.path.outputs)

    def columns_to(self, tangents: Tensor, slots: Sequence[int]) -> list[Tensor | None]:
        """Push tangents of the input forward, to some values: those of each."""
        path = self.way.path
        shapes = [path.places[slot].shape for slot in path.sources]
        parts = torch.split(tangents, [prod(shape) for shape in shapes], dim=2)
        known = {
            slot: part.reshape(*tangents.shape[:2], *shape)
            for slot, shape, part in zip(path.sources, shapes, parts, strict=True)
        }
        return self._forth(known, slots, 0, self.inputs)

    def columns_from(
        self, known: dict[int, Tensor], first: int, last: int
    ) -> list[Tensor | None]:
        """Push tangents of other values forward to the outputs, at some inputs."""
        return self._forth(known, self.way.path.outputs, first, last)

    def _forth(
        self, known: dict[int, Tensor], slots: Sequence[int], first: int, last: int
    ) -> list[Tensor | None]:
        with torch.no_grad():
            for index in reversed(self.way.backwards):
                if known.keys() >= set(slots):
                    break
                kept = self._kept_at(index, first, last)
                self._step_forth(index, kept, known, slots)
        return [known.get(slot) for slot in slots]

    def rows_from(self, waiting: Waiting, first: int, last: int, out: Tensor) -> None:
        """Pull cotangents of some values back to the input, into `out`."""
        self._back(self.way.backwards, first, last, waiting)
        self._write(waiting, out)

    def _step_forth(
        self, index: int, kept: Kept, known: dict[int, Tensor], wanted: Sequence[int]
    ) -> None:
        path = self.way.path
        step, site = path.plan.steps[index], path.sites[index]
        given = [known.get(step.inputs[position]) for position in site.active]
        found = pushed(self.way.rules[index], site, kept, given)
        for position, tangent in zip(site.outputs, found, strict=True):
            if tangent is not None:
                known[step.outputs[position]] = tangent
        for slot in step.dead:
            if slot not in wanted:
                known.pop(slot, None)

    def _step_back(self, index: int, kept: Kept, waiting: Waiting) -> None:
        stop, moving = self.way.stops[index], False
        given: list[Piece | None] = []
        for slot, shape in zip(stop.results, stop.shapes, strict=True):
            pieces = waiting.pop(slot, None)
            given.append(merged(pieces, shape) if pieces else None)
            moving = moving or bool(pieces)
        if not moving:
            return
        pulled = stop.rule.pull(kept, given)
        for slot, found in zip(stop.operands, pulled, strict=True):
            if found:
                waiting.setdefault(slot, []).extend(found)


def _cut(waiting: Waiting, first: int, last: int) -> Waiting:
    """Return the cotangents of some inputs."""
    return {
        slot: [piece.cut(first, last) for piece in pieces]
        for slot, pieces in waiting.items()
    }


def _write(pieces: Sequence[Piece], shape: tuple[int, ...], out: Tensor) -> None:
    """Write the cotangents of the input, zero where there are none."""
    if not pieces:
        out.zero_()
        return
    piece = dense(merged(pieces, shape), shape)
    rows = piece.g if len(shape) == 1 else piece.g.flatten(2)
    if piece.g.shape[1] == out.shape[1]:
        out.copy_(rows)
        return
    out.zero_()
    out[:, piece.start : piece.stop] = rows
