"""Products and quotients of two values that move.

Two functions of one number have a curve for their product (`spelled`). Of others

    a b = ¼ (a + b)² − ¼ (a − b)²,

two curves of sums. Of second order in both: the slopes of a product are carried
exactly.

v (mean v² + e)^(−½) is a norm of v, however its root and quotient are written, and is
enclosed as one (`normed`).

A quotient a / b is a · (1/b), whose curve knows b > 0; where that is not proven nothing
finite is.
"""

from __future__ import annotations

from torch import Tensor

from audit.importer.relaxation import functions
from audit.importer.relaxation.affine import added, scaled
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.hinged import RECIPROCAL, ROOT_RECIPROCAL
from audit.importer.relaxation.normed import Normed
from audit.importer.relaxation.spelled import product_of_one
from audit.importer.relaxation.tape import Affine, Bend, Tape


def product_of(tape: Tape, left: int, right: int, what: str) -> int:
    """Append the product of two values.

    Args:
        tape: it grows.
        left: a.
        right: b, with as many axes.
        what: its name.
    """
    if left == right:
        return tape.bend(left, functions.SQUARE)
    for value, factor in ((left, right), (right, left)):
        normed = _normed(tape, value, _squared(tape, factor), what)
        if normed is not None:
            return normed
    own = product_of_one(tape, left, right)
    if own is not None:
        return own
    squares = [
        tape.bend(added(tape, [left, right], [1.0, sign], what), functions.SQUARE)
        for sign in (1.0, -1.0)
    ]
    quarter = tape.x.new_tensor(0.25)
    return scaled(tape, added(tape, squares, [1.0, -1.0], what), quarter, None, what)


def quotient_of(tape: Tape, left: int | Tensor, right: int, what: str) -> int:
    """Append a value, or a constant, divided by a value."""
    if isinstance(left, int):
        normed = _normed(tape, left, _within(tape, right, functions.SQRT), what)
        if normed is not None:
            return normed
    inverse = tape.bend(right, RECIPROCAL)
    if isinstance(left, int):
        return product_of(tape, left, inverse, what)
    return scaled(tape, inverse, left, None, what)


def _normed(tape: Tape, value: int, square: int | None, what: str) -> int | None:
    """Append v / √(mean v² + e) as a norm; None where that is not what is there.

    Args:
        tape: it grows by one entry.
        value: v.
        square: what is below the root.
        what: the operator's name.
    """
    if square is None:
        return None
    entry, epsilon = tape.entries[square], 0.0
    if isinstance(entry, Affine) and entry.factor is not None:
        slope, epsilon = entry.factor
        if slope != 1 or epsilon < 0:
            return None
        entry = tape.entries[entry.inputs[0]]
    if not isinstance(entry, Affine) or not entry.mean:
        return None
    if _within(tape, entry.inputs[0], functions.SQUARE) != value:
        return None
    return tape.surface(Normed((value,), entry.mean, epsilon), what)


def _squared(tape: Tape, factor: int) -> int | None:
    """Return m of a factor m^(−½), as one curve or as two; None if it is neither."""
    entry = tape.entries[factor]
    if isinstance(entry, Affine) and entry.factor == (1.0, 0.0):
        return _squared(tape, entry.inputs[0])
    root = _within(tape, factor, ROOT_RECIPROCAL)
    inverse = _within(tape, factor, RECIPROCAL)
    return root if inverse is None else _within(tape, inverse, functions.SQRT)


def _within(tape: Tape, at: int, curve: Curve) -> int | None:
    """Return what a curve is of; None where that is not the curve."""
    entry = tape.entries[at]
    return entry.input if isinstance(entry, Bend) and entry.curve is curve else None
