"""Which values of a tape are functions of one number each, and of which.

From a value one goes back through curves, multiples with a shift and sums of values of
one shape. What two values both are functions of is the nearest such value: their
product is then a curve of it.
"""

from __future__ import annotations

from audit.importer.relaxation.composed import Composed
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.expressions import (
    Expression,
    Itself,
    Line,
    Product,
    Sum,
    Through,
    Within,
)
from audit.importer.relaxation.jets import followed
from audit.importer.relaxation.tape import Affine, Bend, Tape


def product_of_one(tape: Tape, left: int, right: int) -> int | None:
    """Append the product of two functions of one number as a curve of that number.

    Returns:
        None where they are no such functions.
    """
    shared = _bases(tape, left) & _bases(tape, right)
    if not shared or tape.values[left].shape != tape.values[right].shape:
        return None
    base = max(shared)
    if left == right == base:
        return None
    both = Product(_expression(tape, left, base), _expression(tape, right, base))
    return tape.bend(base, Composed.of(both))


def _bases(tape: Tape, target: int) -> set[int]:
    """Return the values that one is a function of, number by number.

    Entries are followed in order, each once: in a recurrent network ways to a value are
    without number.
    """
    found = dict[int, set[int]]()
    for at in sorted(_elementwise(tape, target)):
        inner = [found[i] for i in _read_by_number(tape, at)]
        found[at] = {at}.union(set.intersection(*inner) if inner else ())
    return found[target]


def _elementwise(tape: Tape, target: int) -> set[int]:
    """Return the values that one is made of, number by number."""
    found, waiting = {target}, [target]
    while waiting:
        new = set(_read_by_number(tape, waiting.pop())) - found
        found |= new
        waiting.extend(new)
    return found


def _read_by_number(tape: Tape, at: int) -> tuple[int, ...]:
    """Return what an entry reads, if it makes one number of one of each."""
    entry = tape.entries[at]
    if isinstance(entry, Bend):
        return (entry.input,) if _known(entry.curve) else ()
    if not isinstance(entry, Affine):
        return ()
    if entry.factor is not None:
        same = tape.values[entry.inputs[0]].shape == tape.values[at].shape
        return entry.inputs if same else ()
    return entry.inputs if entry.signs is not None else ()


def _known(curve: Curve) -> bool:
    return isinstance(curve, Composed) or followed(curve)


def _expression(tape: Tape, at: int, base: int) -> Expression:
    """Return a value as a function of one of its bases."""
    if at == base:
        return Itself()
    entry = tape.entries[at]
    if isinstance(entry, Bend):
        inner = _expression(tape, entry.input, base)
        if isinstance(entry.curve, Composed):
            return Within(entry.curve.expression, inner)
        return Through(inner, entry.curve)
    assert isinstance(entry, Affine)
    if entry.factor is not None:
        return Line(_expression(tape, entry.inputs[0], base), *entry.factor)
    assert entry.signs is not None
    parts = tuple(_expression(tape, i, base) for i in entry.inputs)
    return Sum(parts, entry.signs)
