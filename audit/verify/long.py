"""What is left out by default where a pass of the network is long.

An exact value is a pass of the network. A check of an input takes some hundreds of
them, and a search of its worst cases some thousands of gradients: seconds for a head,
hours for a deep convolutional network. So of files that take many multiply-adds an
input fewer inputs are checked by default, and of those that take the most no worst
cases are searched. Multiply-adds are counted from the graph, so a file is checked alike
everywhere; and whatever is asked for in words is done.
"""

from __future__ import annotations

from audit.measure import Questions
from audit.models.opening import OpenModel
from audit.verify.sites import Notes

CHECKED, LEAST = 64, 8
LONG = 2**27
"""Multiply-adds of an input from which on nothing is searched by default."""
_SHORT = 2**25  # up to so many CHECKED are checked, and of twice as many half as many


def checked_of(model: OpenModel) -> int:
    """Return how many inputs of a file are checked by default."""
    if not model.takes(_SHORT):
        return CHECKED
    return min(CHECKED, max(LEAST, int(CHECKED * _SHORT / model.work)))


def is_long(model: OpenModel, questions: Questions) -> bool:
    """Tell whether each value takes a long pass, of a file or of its products."""
    return questions.matrix_free or model.takes(LONG)


def said_of(model: OpenModel, count: int, total: int) -> Notes:
    """Return a note that fewer inputs are checked than of other files, if they are.

    Args:
        model: the file.
        count: how many are checked because nobody asked for a number.
        total: how many were measured.
    """
    if count >= min(CHECKED, total):
        return ()
    return (
        (
            "long_passes",
            f"an input takes {model.work:.1e} multiply-adds: {count} inputs are "
            f"checked, and not {min(CHECKED, total)}; --verify N checks more",
        ),
    )
