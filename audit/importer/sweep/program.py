"""A program linearised once: rows of its Jacobian for all P outputs in one sweep.

sweep = sweep_of(graph, ["x"], more, fewer)
at = sweep.linearise(inputs)           values, and what each step keeps of them
at.rows(cotangents, first, last, out)  the rows [last − first, P, d]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.cleanup import OWN
from audit.importer.graph import Graph
from audit.importer.plan import failure
from audit.importer.sweep.alone import Alone
from audit.importer.sweep.linear import Linear
from audit.importer.sweep.path import path_between, put
from audit.importer.sweep.peepholes import looked_through
from audit.importer.sweep.rules import RULES, NotSwept, Rule, Site
from audit.importer.sweep.way import Way
from audit.importer.values import Value


@dataclass(frozen=True)
class Sweep(Way):
    """A graph whose Jacobian is taken by rules."""

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


def _rule_of(site: Site) -> Rule:
    """Return the rule of a step; where there is none, it goes alone."""
    own = site.step.node.domain in ("", OWN)
    maker = RULES.get(site.op) if own else None
    found = None if maker is None else maker(site)
    return Alone(site) if found is None else found
