"""Where a program is narrow: a value through which all that x moves passes.

J = L J_h, with h such a value, L the derivative of the outputs by it, and J_h its own.
Products with J_h walk the steps before h alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from audit.importer.sweep.linear import Linear
from audit.importer.sweep.path import Path
from audit.importer.sweep.rows import Dense
from audit.importer.sweep.rules import Rule
from audit.importer.sweep.way import Way


@dataclass(frozen=True)
class Cut:
    """A value h between the input and the outputs.

    Args:
        slot: where it is.
        shape: of a row.
    """

    slot: int
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """The numbers of a row."""
        return prod(self.shape)

    def pulled(self, linear: Linear, g: Tensor, out: Tensor) -> None:
        """Pull cotangents of h [n, K, w] back to the input, into `out` [n, K, d]."""
        whole = Dense(0, g.reshape(*g.shape[:2], *self.shape))
        linear.rows_from({self.slot: [whole]}, 0, len(g), out)

    def pushed(self, linear: Linear, tangents: Tensor) -> Tensor:
        """Return tangents [n, K, d] of the input, pushed forward to h [n, K, w]."""
        found = linear.columns_to(tangents, (self.slot,))[0]
        if found is None:
            return tangents.new_zeros(*tangents.shape[:2], self.width)
        return found.flatten(2)

    def after(
        self, linear: Linear, like: Tensor, first: int, last: int
    ) -> list[Tensor | None]:
        """Return the derivative of each output by h [n, w, *row] at some inputs."""
        n, w = last - first, self.width
        own = torch.eye(w).to(like).expand(n, w, w).reshape(n, w, *self.shape)
        return linear.columns_from({self.slot: own}, first, last)


def narrowest(way: Way) -> Cut | None:
    """Return the narrowest value, and the first of these; None where there is none."""
    path = way.path
    found: Cut | None = None
    for slot in _alone(path, way.rules):
        here = Cut(slot, path.places[slot].shape)
        if slot not in path.sources and (found is None or here.width < found.width):
            found = here
    return found


def _alone(path: Path, rules: Mapping[int, Rule]) -> list[int]:
    """Return the values, each the only one that is still to be read at some time."""
    last = dict.fromkeys(path.outputs, max(rules, default=0) + 1)
    for index in sorted(rules):
        for slot in path.plan.steps[index].inputs:
            if slot in path.places:
                last[slot] = max(last.get(slot, 0), index)
    live = set(path.sources)
    found = []
    for index in sorted(rules):
        made = (slot for slot in path.plan.steps[index].outputs if slot in path.places)
        live |= set(made)
        live = {slot for slot in live if last.get(slot, -1) > index}
        if len(live) == 1:
            found += [slot for slot in live if slot not in found]
    return found
