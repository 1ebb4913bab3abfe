"""Room for all of Python's frames at once, so that no loop asks for some at each call.

CPython keeps the frames of calls in pieces of 16 KiB, and gives an empty piece back to
the system. A loop that stands at the end of a piece begins the next one with every
call: memory is mapped, touched and unmapped again, in some five microseconds. Where
that is depends on nothing but how deep the stack happens to be: `python -m audit` met
it 22,000 times while it imported torch, a twentieth of a scan of 100 inputs.

A piece is as large as the frame that begins it, to the next power of two. So a frame
that asks for more than half of 1 MiB, and uses nothing of it, leaves as much to all
calls within: a thousand frames, the depth that Python allows, of 60 values each.

Source: CPython 3.11, Python/pystate.c, push_chunk and _PyThreadState_PopFrame.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TypeVar

Result = TypeVar("Result")
_WIDE = 2**16  # values, of eight bytes: half a piece, which becomes one of 1 MiB


def roomy(run: Callable[[], Result]) -> Result:
    """Call a function, with room for the frames of all that it calls."""
    wide = FunctionType(_call.__code__.replace(co_stacksize=_WIDE), {})
    result: Result = wide(run)
    return result


def _call(run: Callable[[], Result]) -> Result:
    return run()
