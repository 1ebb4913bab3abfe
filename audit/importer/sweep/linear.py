"""A program linearised once: rows of its Jacobian for all P outputs in one sweep.

    sweep = sweep_of(graph, ["x"], more, fewer)
    at = sweep.linearise(inputs)           values, and what each step keeps of them
    at.rows(cotangents, first, last, out)  the rows [last − first, P, d]

Backward passes by autograd walk the graph once for each row; here each step is walked
once, with the rows of all outputs and inputs in one tensor, and its partial derivatives
are computed once an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from math import prod

import torch
from torch import Tensor

from audit.importer.graph import Graph
from audit.importer.plan import failure
from audit.importer.sweep import (
    convolved,
    moved,
    normal,
    pointwise,
    products,
    recurrent,
    reduced,
)
from audit.importer.sweep.alone import Alone
from audit.importer.sweep.path import Path, path_between, put
from audit.importer.sweep.peepholes import looked_through
from audit.importer.sweep.pushed import pushed
from audit.importer.sweep.rows import Axes, Dense, Piece, dense, merged
from audit.importer.sweep.rules import RULES, Kept, NotSwept, Rule, Site
from audit.importer.values import Value

TABLES = (convolved, moved, normal, pointwise, products, recurrent, reduced)
"""The modules that fill `RULES`."""
Waiting = dict[int, list[Piece]]
"""Slot of a value -> its cotangents so far."""
_NEVER = 2**62
_LAYERS, _IMAGES, _STEPS = 3 * 2**18, 2**21, 2**20
_NARROW = 4  # times narrower than the widest step


@dataclass(frozen=True)
class Stop:
    """A step of the way back.

    Args:
        rule: of the step.
        results: the slots of its active results. shapes: of their rows.
        operands: the slots of its active operands.
    """

    rule: Rule
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Sweep:
    """A graph whose Jacobian is taken by rules.

    Args:
        path: what lies between the input and the outputs.
        rules: index of a step -> its rule, for every step on the path.
    """

    path: Path
    rules: dict[int, Rule]

    @property
    def alone(self) -> tuple[str, ...]:
        """The operators that have no rule here, in order."""
        steps = self.path.plan.steps
        return tuple(
            steps[index].node.op
            for index, rule in self.rules.items()
            if isinstance(rule, Alone)
        )

    @cached_property
    def backwards(self) -> tuple[int, ...]:
        """The steps on the path, the last first."""
        return tuple(sorted(self.rules, reverse=True))

    @property
    def at_once(self) -> int:
        """How many numbers of the widest cotangents are best pulled back together.

        As measured on processors with 1 to 2 MiB of second-level cache: about that
        much for layers; more where a recurrence takes hundreds of small steps; and most
        for images. Those of one input may be larger than that cache already, and what
        is done between two kernels takes longer than to read them from the next one.
        """
        kinds = {type(rule) for rule in self.rules.values()}
        if recurrent.Recurrent in kinds:
            return _STEPS
        return _IMAGES if self.has_images else _LAYERS

    @property
    def has_images(self) -> bool:
        """Whether a convolution is on the path."""
        return any(isinstance(one, convolved.Convolved) for one in self.rules.values())

    @property
    def worth(self) -> int:
        """How many rows make a sweep cheaper than a backward pass for each.

        As measured: a recurrence always is, with its hundreds of steps; convolutions
        are from three rows on, and layers from eight. With fewer, the partial
        derivatives cost more than they save. Attention and the splines of flows are
        mostly movements of elements, which autograd does without copies: a sweep takes
        twice as long there.
        """
        kinds = {type(rule) for rule in self.rules.values()}
        if not kinds.isdisjoint((products.Multiplied, reduced.Gathered)):
            return _NEVER
        if recurrent.Recurrent in kinds:
            return 1
        return 3 if convolved.Convolved in kinds else 8

    @cached_property
    def stages(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The steps backwards while rows are narrow, and all that follow.

        Where a network ends in layers after images, their weights are read once for
        several inputs, and the images of one input at a time stay in the cache.
        """
        limit = self.widest // _NARROW
        widths = (self._widths[index] for index in self.backwards)
        count = sum(1 for _ in takewhile(lambda width: width <= limit, widths))
        return self.backwards[:count], self.backwards[count:]

    @cached_property
    def narrow(self) -> int:
        """The numbers of a row at its widest in the narrow stage; 0 without one."""
        return max((self._widths[index] for index in self.stages[0]), default=0)

    @cached_property
    def stops(self) -> dict[int, Stop]:
        """Index of a step on the path -> where its cotangents come from and go."""
        places, found = self.path.places, {}
        for index, rule in self.rules.items():
            step, site = self.path.plan.steps[index], self.path.sites[index]
            results = tuple(step.outputs[position] for position in site.outputs)
            shapes = tuple(places[slot].shape for slot in results)
            operands = tuple(step.inputs[position] for position in site.active)
            found[index] = Stop(rule, results, shapes, operands)
        return found

    @cached_property
    def _widths(self) -> dict[int, int]:
        return {i: _width(rule, self.path.sites[i]) for i, rule in self.rules.items()}

    @cached_property
    def widest(self) -> int:
        """The numbers of a row of cotangents at its widest, at one input."""
        return max(self._widths.values())

    def linearise(self, inputs: Sequence[Value]) -> Linear:
        """Return the graph at n inputs.

        Raises:
            NotSwept: a value does not have the shape that it had at first.
            ModelError: an operator rejects its values.
        """
        path, plan = self.path, self.path.plan
        slots, kept = list(plan.slots), {}
        for slot, value in zip(plan.inputs, path.graph.fitted(inputs), strict=True):
            slots[slot] = value
        x = slots[path.sources[0]]
        assert isinstance(x, Tensor)
        rows = path.places[path.sources[0]].count(x)
        for index, step in enumerate(plan.steps):
            arguments = [slots[slot] for slot in step.inputs]
            rule = self.rules.get(index)
            try:
                with torch.no_grad():
                    if rule is None:
                        result = step.run(*arguments)
                    else:
                        result, kept[index] = rule.run(arguments)
            except Exception as error:
                raise failure(step.node, error, arguments) from error
            put(slots, step, result)
            self._check(step.outputs, slots, rows)
            for slot in step.dead:
                slots[slot] = None
        values = tuple(slots[slot] for slot in path.outputs)
        return Linear(self, values, kept, rows)

    def _check(self, outputs: Sequence[int], slots: list[Value], rows: int) -> None:
        for slot in outputs:
            place = self.path.places.get(slot)
            if place is not None and not place.fits(slots[slot], rows):
                raise NotSwept("a value on the path has another shape than it had")


@dataclass(frozen=True)
class Linear:
    """A graph at n inputs: its values, and what its rules keep.

    Args:
        sweep: the rules.
        values: the outputs, in order.
        kept: index of a step -> what its rule needs to pull back.
        inputs: n.
    """

    sweep: Sweep
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
                by itself (`Sweep.alone`).
            last: the input after them.
            out: [last − first, P, d], written into; the columns of one input after
                those of another.
            together: how many of them go on together after the narrow steps; 0: all,
                as they do where a step goes by itself.
        """
        path, (narrow, wide) = self.sweep.path, self.sweep.stages
        waiting: Waiting = {}
        for slot, pieces in zip(path.outputs, cotangents, strict=True):
            if slot in path.places and pieces:
                waiting.setdefault(slot, []).extend(pieces)
        count = last - first
        each = together or max(count, 1)
        if each >= count or self.sweep.alone:
            narrow, wide, each = (), self.sweep.backwards, max(count, 1)
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
            pieces = [waiting.get(slot, ()) for slot in self.sweep.stops[index].results]
            alike = all(piece.shared for own in pieces for piece in own)
            if not (alike and all(k.shape[0] == 1 for k in self.kept[index])):
                return count
            self._step_back(index, self.kept[index], waiting)
        return len(steps)

    def _back(
        self, steps: Sequence[int], first: int, last: int, waiting: Waiting
    ) -> None:
        """Walk some steps back at some inputs."""
        cut = (first, last) != (0, self.inputs)
        for index in steps:
            kept = self.kept[index]
            if cut and kept:
                kept = tuple(k if k.shape[0] == 1 else k[first:last] for k in kept)
            self._step_back(index, kept, waiting)

    def _write(self, waiting: Waiting, out: Tensor) -> None:
        path = self.sweep.path
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
        return self.columns_to(tangents, self.sweep.path.outputs)

    def columns_to(self, tangents: Tensor, slots: Sequence[int]) -> list[Tensor | None]:
        """Push tangents of the input forward, to some values: those of each."""
        path = self.sweep.path
        shapes = [path.places[slot].shape for slot in path.sources]
        parts = torch.split(tangents, [prod(shape) for shape in shapes], dim=2)
        known = {
            slot: part.reshape(*tangents.shape[:2], *shape)
            for slot, shape, part in zip(path.sources, shapes, parts, strict=True)
        }
        return self._forth(known, slots)

    def columns_from(self, known: dict[int, Tensor]) -> list[Tensor | None]:
        """Push tangents of other values forward to the outputs: those of each."""
        return self._forth(known, self.sweep.path.outputs)

    def _forth(
        self, known: dict[int, Tensor], slots: Sequence[int]
    ) -> list[Tensor | None]:
        with torch.no_grad():
            for index in reversed(self.sweep.backwards):
                if known.keys() >= set(slots):
                    break
                self._step_forth(index, known, slots)
        return [known.get(slot) for slot in slots]

    def rows_from(self, waiting: Waiting, first: int, last: int, out: Tensor) -> None:
        """Pull cotangents of some values back to the input, into `out`."""
        self._back(self.sweep.backwards, first, last, waiting)
        self._write(waiting, out)

    def _step_forth(
        self, index: int, known: dict[int, Tensor], wanted: Sequence[int]
    ) -> None:
        path = self.sweep.path
        step, site = path.plan.steps[index], path.sites[index]
        given = [known.get(step.inputs[position]) for position in site.active]
        found = pushed(self.sweep.rules[index], site, self.kept[index], given)
        for position, tangent in zip(site.outputs, found, strict=True):
            if tangent is not None:
                known[step.outputs[position]] = tangent
        for slot in step.dead:
            if slot not in wanted:
                known.pop(slot, None)

    def _step_back(self, index: int, kept: Kept, waiting: Waiting) -> None:
        stop, moving = self.sweep.stops[index], False
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


def sweep_of(
    graph: Graph,
    conditions: Sequence[str],
    more: Sequence[Value],
    fewer: Sequence[Value],
) -> Sweep:
    """Return the rules of a graph.

    Args:
        graph: with the outputs that are asked for.
        conditions: the names of the inputs that are differentiated.
        more: all its inputs, with three rows.
        fewer: the same with two.

    Raises:
        NotSwept: the rows of some value are not to be found, or a sequence is on the
            way.
    """
    path = path_between(graph, conditions, more, fewer)
    rules = {index: _rule_of(site) for index, site in path.sites.items()}
    return Sweep(path, looked_through(path, rules))


def _width(rule: Rule, site: Site) -> int:
    """Return the numbers of a row that a rule has at hand.

    What only moves elements has none of its own: a few of many come as they are, and
    all of them belong to its neighbours too.
    """
    if isinstance(rule, recurrent.Recurrent):
        return rule.width
    if isinstance(rule, moved.Moved | moved.Folded | moved.Turned):
        return 1
    inputs = sum(prod(place.shape) for place in site.active.values())
    return max(inputs, *(prod(place.shape) for place in site.outputs.values()))


def _rule_of(site: Site) -> Rule:
    """Return the rule of a step; where there is none, it goes alone."""
    maker = None if site.step.node.domain else RULES.get(site.op)
    found = None if maker is None else maker(site)
    return Alone(site) if found is None else found


__all__ = ["Axes", "Dense", "Linear", "NotSwept", "Sweep", "sweep_of"]
