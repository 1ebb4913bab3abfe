"""Sums in float64 over entries that are stored in float32, by copies in the cache.

A Jacobian or a set of draws of a network that computes in float32 is kept in float32:
half the memory, and half of what has to be moved. Every product with it is one of
float64, of the same numbers: a few of the N matrices at a time are copied, about as
much as a second-level cache holds, and the copy is used at once.

Squares BᵀB of few columns are numpy's on the CPU: its BLAS knows that they are
symmetric and computes half of them, in a third of the time that torch takes. Up to so
many columns it stays on one thread.

A Aᵀ is symmetric, and half of its products are enough: columns of it are made in
blocks, from the diagonal down, as wide as the kernels of dgemm like them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

_NUMBERS = 2**17  # of one copy: 1 MiB
_FEW = 64  # columns
_SIDE, _MANY = 24, 64  # columns of a block, twice as many from so many rows on
_LONG = 2**8  # columns of A, from which blocks are worth their calls


def by_parts(
    function: Callable[..., Tensor], entries: Tensor, *others: Tensor
) -> Tensor:
    """Return function(entries, *others) [N, …], with the entries in float64.

    Args:
        function: of some of the matrices [n, …], each by itself.
        entries: [N, …].
        others: what it takes beside them, [N, …] or [1, …] each.
    """
    parts = [
        function(own, *(o if len(o) == 1 else o[part] for o in others))
        for part, own in copies(entries)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def copies(entries: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield which of the matrices [N, …] they are, and a few of them in float64."""
    if entries.dtype == torch.float64:
        yield slice(None), entries
        return
    for part in cached_parts(entries):
        yield part, entries[part].double()


def cached_parts(entries: Tensor) -> Iterator[slice]:
    """Yield which of N matrices go together, so that a float64 copy fits the cache."""
    each = max(1, _NUMBERS // max(1, entries[:1].numel()))
    for first in range(0, max(len(entries), 1), each):
        yield slice(first, first + each)


def columns_gram(rows: Tensor) -> Tensor:
    """Return Σ b bᵀ [n, p, p] over the rows b of matrices [n, R, p] in float64."""
    if not rows.is_cpu or rows.requires_grad or rows.shape[-1] > _FEW:
        return rows.mT @ rows
    known = rows.numpy()
    return torch.from_numpy(np.matmul(known.transpose(0, 2, 1), known))


def square(a: Tensor) -> Tensor:
    """Return A Aᵀ [n, r, r] of A [n, r, d]."""
    n, rows, columns = a.shape
    side = _SIDE if rows < _MANY else 2 * _SIDE
    if rows <= side or columns < _LONG or not a.is_cpu:
        return a @ a.mT
    found = a.new_empty(n, rows, rows)
    for first in range(0, rows, side):
        last = first + side
        below = a[:, first:] @ a[:, first:last].mT
        found[:, first:, first:last] = below
        found[:, first:last, last:] = below[:, side:].mT
    return found
