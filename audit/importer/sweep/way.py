"""The way from an input to outputs, and back: its steps, rules and widths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from math import prod

from audit.importer.sweep import (
    convolved,
    moved,
    normal,
    pointwise,
    products,
    recurrent,
    reduced,
    taken,
)
from audit.importer.sweep.alone import Alone
from audit.importer.sweep.path import Path
from audit.importer.sweep.rules import Rule, Site

TABLES = (convolved, moved, normal, pointwise, products, recurrent, reduced, taken)
"""The modules that fill `RULES`."""
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
class Way:
    """What lies between an input and outputs, and the rule of each step.

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
    def is_layers(self) -> bool:
        """Whether neither a convolution nor a recurrence is on the path."""
        return self.at_once == _LAYERS

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
