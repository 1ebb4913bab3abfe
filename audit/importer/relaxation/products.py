"""Products and quotients of two values that move.

Two functions of one number have a curve for their product (`spelled`). Of others

    a b = ¼ (a + b)² − ¼ (a − b)²,

two curves of sums. Of second order in both: the slopes of a product are carried
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
    inverse = tape.bend(right, RECIPROCAL)
    if isinstance(left, int):
        return product_of(tape, left, inverse, what)
    return scaled(tape, inverse, left, None, what)
