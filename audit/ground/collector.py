"""Python's search for circles of garbage, kept away from what is no garbage.

It looks at every object that is alive, again and again while a million are made: a
fifth of the time of importing torch, where nothing is thrown away. So it rests while
libraries are imported, and what they made is set aside: no later search looks there.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting() -> Iterator[None]:
    """Search for no garbage in the block; what it made is never searched after.

    Nothing happens where the search is off already: whoever did that has a reason.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
