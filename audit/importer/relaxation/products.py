"""Products and quotients of two values that move.

Two functions of one number have a curve for their product (`spelled`). Of others

    a b = ¼ (r a + b/r)² − ¼ (r a − b/r)²,

two curves of sums, for any r: a power of two, so that nothing is rounded. Where a and b
move by α and β, the squares are of intervals of half width r α + β/r, and what is lost
is least for r² = β/α. Of second order in both: the slopes of a product are carried
exactly.

A quotient a / b is a · (1/b), whose curve knows b > 0; where that is not proven nothing
finite is.
"""

from __future__ import annotations

from torch import Tensor

from audit.importer.relaxation import functions
from audit.importer.relaxation.affine import added, scaled
from audit.importer.relaxation.hinged import RECIPROCAL
from audit.importer.relaxation.spelled import product_of_one
from audit.importer.relaxation.tape import Tape


def product_of(tape: Tape, left: int, right: int, what: str, ratio: float = 1) -> int:
    """Append the product of two values.

    Args:
        tape: it grows.
        left: a.
        right: b, with as many axes.
        what: its name.
        ratio: r, a power of two.
    """
    if left == right:
        return tape.bend(left, functions.SQUARE)
    own = product_of_one(tape, left, right)
    if own is not None:
        return own
    pair = [_times(tape, left, ratio, what), _times(tape, right, 1 / ratio, what)]
    squares = [
        tape.bend(added(tape, pair, [1.0, sign], what), functions.SQUARE)
        for sign in (1.0, -1.0)
    ]
    return _times(tape, added(tape, squares, [1.0, -1.0], what), 0.25, what)


def quotient_of(tape: Tape, left: int | Tensor, right: int, what: str) -> int:
    """Append a value, or a constant, divided by a value."""
    inverse = tape.bend(right, RECIPROCAL)
    if isinstance(left, int):
        return product_of(tape, left, inverse, what)
    return scaled(tape, inverse, left, None, what)


def _times(tape: Tape, at: int, number: float, what: str) -> int:
    if number == 1:
        return at
    return scaled(tape, at, tape.x.new_tensor(number), None, what)
