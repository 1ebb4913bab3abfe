"""What is to be emitted, one call each, while neighbours are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from audit.importer.spare.demand import Task
from audit.importer.spare.emitted import Run
from audit.importer.spare.numbering import Named, Table
from audit.importer.spare.work import Lanes, Want, Work


@dataclass
class Piece:
    """A call to come.

    Args:
        op: the operator, or what took its place.
        wants: what it reads, in order.
        result: what it makes.
        run: the call.
        work: the step that it comes from. lanes: of it.
        gone: whether another has taken its place.
    """

    op: str
    wants: tuple[Want, ...]
    result: Named
    run: Run
    work: Work
    lanes: Lanes | None
    gone: bool = False


def pieces_of(tasks: Iterable[Task]) -> list[Piece]:
    """Return one piece for each task."""
    found = []
    for task in tasks:
        work, lanes = task.work, task.lanes
        wants = tuple(work.wants(lanes).values())
        op = work.step.node.op
        run = work.call(lanes)
        found.append(Piece(op, wants, work.part(lanes), run, work, lanes))
    return found


@dataclass
class Readers:
    """Who makes a number, and who reads it."""

    table: Table
    pieces: Sequence[Piece]
    outputs: Sequence[Named]
    makers: dict[int, Piece] = field(default_factory=dict)
    readers: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, piece in enumerate(self.pieces):
            if piece.gone:
                continue
            for name in piece.result.names.reshape(-1).tolist():
                self.makers.setdefault(name, piece)
            for want in piece.wants:
                for name in set(want.value.names.reshape(-1).tolist()):
                    self.readers.setdefault(name, []).append(place)
        for value in self.outputs:
            for name in value.names.reshape(-1).tolist():
                self.readers.setdefault(name, []).append(-1)

    def maker(self, value: Named) -> Piece | None:
        """Return the piece that makes a value as it is; None where several do."""
        name = next(iter(self._computed(value)), 0)
        piece = self.makers.get(name)
        if piece is None or piece.gone or not same(piece.result, value):
            return None
        return piece

    def _computed(self, value: Named) -> Iterator[int]:
        """Yield the names in a value that are not those of constants."""
        marks = self.table.marks
        return (n for n in value.names.reshape(-1).tolist() if not marks[n])

    def only(self, value: Named, reader: Piece) -> bool:
        """Whether nobody but one piece reads any number of a value."""
        place = next(k for k, p in enumerate(self.pieces) if p is reader)
        names = set(self._computed(value))
        return all(set(self.readers.get(name, ())) <= {place} for name in names)

    def number(self, want: Want) -> float | None:
        """Return the one constant number that an operand consists of."""
        names = set(want.value.names.reshape(-1).tolist())
        if len(names) != 1:
            return None
        known = self.table.constants.get(names.pop())
        return None if known is None else float(known[1])


def same(a: Named, b: Named) -> bool:
    """Whether two values are the same numbers in the same shape."""
    return (
        a.axis == b.axis
        and a.names.shape == b.names.shape
        and bool((a.names == b.names).all())
    )
