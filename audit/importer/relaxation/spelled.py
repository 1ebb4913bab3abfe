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


def _bases(tape: Tape, at: int) -> set[int]:
    """Return the values that one is a function of, number by number."""
    entry, found = tape.entries[at], {at}
    if isinstance(entry, Bend) and _known(entry.curve):
        return found | _bases(tape, entry.input)
    if isinstance(entry, Affine) and entry.factor is not None:
        (inner,) = entry.inputs
        same = tape.values[inner].shape == tape.values[at].shape
        return found | _bases(tape, inner) if same else found
    if isinstance(entry, Affine) and entry.signs is not None:
        first, *rest = (_bases(tape, i) for i in entry.inputs)
        return found | first.intersection(*rest)
    return found


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
