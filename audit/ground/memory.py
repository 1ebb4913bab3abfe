"""Memory that was freed stays with the process, to be used again.

The C library of Linux hands blocks above 128 KiB (later above the largest that was
freed) straight back to the system, and takes new ones from it, whose pages are zeroed
one by one when they are first touched: half a millisecond a MiB, more than most of the
arithmetic on them. Work in blocks of the same size frees and takes the same memory over
and over, so blocks up to 32 MiB (the most that can be asked) are kept.

Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
_BLOCK = 2**25  # bytes of one block: a larger threshold is refused
_KEPT = 2**29  # bytes at the end of the heap that are not given back


@cache
def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed; return whether it does.

    Other systems, and C libraries without `mallopt`, go on as they did.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP, _BLOCK)) and bool(mallopt(_TRIM, _KEPT))
