"""A program of calls over numbered places, for any number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from audit.importer.values import Value

Run = Callable[..., Value]


@dataclass(frozen=True)
class Call:
    """places[out] = run(*(places[k] for k in reads)); `rows` comes first if asked for.

    Args:
        dead: places that nobody reads afterwards.
    """

    run: Run
    reads: tuple[int, ...]
    out: int
    rows: bool = False
    dead: tuple[int, ...] = ()


@dataclass(frozen=True)
class Emitted:
    """A program.

    Args:
        constants: place -> tensor.
        inputs: places of the inputs, in order. outputs: of the outputs.
        size: the number of places.
    """

    calls: tuple[Call, ...]
    constants: dict[int, Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    size: int

    def __call__(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs at the inputs' values."""
        rows = len(values[0])
        places: list[Value] = [None] * self.size
        for place, constant in self.constants.items():
            places[place] = constant
        for place, value in zip(self.inputs, values, strict=True):
            places[place] = value
        for call in self.calls:
            arguments = [places[k] for k in call.reads]
            if call.rows:
                arguments.insert(0, rows)  # type: ignore[arg-type]
            places[call.out] = call.run(*arguments)
            for place in call.dead:
                places[place] = None
        return tuple(places[k] for k in self.outputs)  # type: ignore[misc]


def with_deaths(calls: Sequence[Call], kept: Sequence[int]) -> tuple[Call, ...]:
    """Mark at each call the places that no later call reads."""
    later, found = set(kept), []
    for call in reversed(calls):
        dead = tuple(sorted({*call.reads, call.out} - later))
        later |= set(call.reads)
        found.append(Call(call.run, call.reads, call.out, call.rows, dead))
    return tuple(reversed(found))
