"""Mapped arrays that take no memory while nobody looks.

The pages of a mapped file that were read count as memory of the process until the
kernel wants them back, which may be never. Who goes through a large file once says when
it is done with a part: the pages are let go, and read again where they are asked for.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def let_go(array: NDArray[Any]) -> None:
    """Give the pages of a mapped array back; its numbers stay readable.

    An array in memory is left alone. Where a system has no such word, nothing happens.
    """
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError, ValueError):
            owner.madvise(mmap.MADV_DONTNEED)
