"""Sums in float64 over entries that are stored in float32, by copies in the cache.

A Jacobian or a set of draws of a network that computes in float32 is kept in float32:
half the memory, and half of what has to be moved. Every product with it is one of
float64, of the same numbers: a few of the N matrices at a time are copied, about as
much as a second-level cache holds, and the copy is used at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_NUMBERS = 2**17  # of one copy: 1 MiB


def by_parts(
    function: Callable[..., Tensor], entries: Tensor, *others: Tensor
) -> Tensor:
    """Return function(entries, *others) [N, …], with the entries in float64.

    Args:
        function: of some of the matrices [n, …], each by itself.
        entries: [N, …].
        others: what it takes beside them, [N, …] or [1, …] each.
    """
    if entries.dtype == torch.float64:
        return function(entries, *others)
    parts = [
        function(entries[at].double(), *(o if len(o) == 1 else o[at] for o in others))
        for at in cached_parts(entries)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def cached_parts(entries: Tensor) -> Iterator[slice]:
    """Yield which of N matrices go together, so that a float64 copy fits the cache."""
    each = max(1, _NUMBERS // max(1, entries[:1].numel()))
    for first in range(0, max(len(entries), 1), each):
        yield slice(first, first + each)
