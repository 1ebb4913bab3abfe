"""Samplers that know torch's global generator alone, one at a time.

The generator belongs to the process: two threads that seed it would draw of each
other's numbers. Here one waits for the other, and what it was before is put back.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_ONE = threading.RLock()


@contextlib.contextmanager
def own_generator() -> Iterator[None]:
    """Have the global generator alone inside the block; seed it there."""
    with _ONE, torch.random.fork_rng(devices=[]):
        yield
