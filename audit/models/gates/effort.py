"""How many differences the gate of the derivative takes of a file.

Each of n rows is moved along K directions, and a comparison is a median over n · K. A
few find a wrong rule, which is wrong nearly everywhere; many are for a file of few
parameters, where one direction may hide it. A pass of a deep network is a thousand
times that of a head, and differences go through float64, where convolutions are slow:
so the count falls with the multiply-adds of an input, directions first, to a least
number. They are counted from the graph, so a file is looked at alike everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

_WORK = 2**31  # multiply-adds of the points on one side of a comparison


class Effort(NamedTuple):
    """Rows n, and directions K of each."""

    rows: int = 8
    directions: int = 8


_LESS = (Effort(8, 4), Effort(8, 2), Effort(4, 2))
FULL, LEAST = Effort(), _LESS[-1]
FREE = _WORK / (FULL.rows * FULL.directions)
"""Multiply-adds of an input up to which nothing is spared."""


def effort_of(work: float) -> Effort:
    """Return the most that takes no more than its share, else the least.

    Args:
        work: multiply-adds of one input.
    """
    for effort in (FULL, *_LESS):
        if effort.rows * effort.directions * work <= _WORK:
            return effort
    return LEAST
