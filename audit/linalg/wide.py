"""Sums in float64 over entries that are stored in float32, by copies in the cache.

A Jacobian or a set of draws of a network that computes in float32 is kept in float32:
half the memory, and half of what has to be moved. Every product with it is one of
float64, of the same numbers: a few of the N matrices at a time are copied, about as
much as a second-level cache holds, and the copy is used at once.

A Aᵀ and BᵀB are symmetric, and half of their products are enough: columns are made in
blocks, from the diagonal down. On the CPU those of up to so many columns are numpy's:
its BLAS has kernels for small products, which take half of the time of torch, and less
than its own for symmetric ones. They, and one thread, are for up to a quarter of a
million multiplications: so many terms of a sum go together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]
_NUMBERS = 2**17  # of one copy: 1 MiB
_FEW, _LANES = 128, 8  # columns; those of a block, as many as a register holds
_SMALL = 2**18  # multiplications of a small product
_SIDE, _LONG = 48, 2**8  # columns of a larger block; of A, from which it is worth it


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
    return square(rows.mT)


def square(a: Tensor) -> Tensor:
    """Return A Aᵀ [n, r, r] of A [n, r, d] in float64."""
    rows, columns = a.shape[1:]
    if not a.is_cpu or a.requires_grad:
        return a @ a.mT
    if rows <= _FEW:
        return torch.from_numpy(_of_few(a.numpy()))
    if columns < _LONG:
        return a @ a.mT
    found = a.new_empty(len(a), rows, rows)
    for first in range(0, rows, _SIDE):
        last = first + _SIDE
        below = a[:, first:] @ a[:, first:last].mT
        found[:, first:, first:last] = below
        found[:, first:last, last:] = below[:, _SIDE:].mT
    return found


def _of_few(a: Numbers) -> Numbers:
    """Return A Aᵀ of few rows, some terms of its sums at a time.

    The last block starts one row higher: of two operands that are one matrix and its
    transpose, numpy would take the product for symmetric ones.
    """
    n, rows, columns = a.shape
    found, turned = np.empty((n, rows, rows)), a.transpose(0, 2, 1)
    each = max(1, _SMALL // (_LANES * max(1, rows)))
    for first in range(0, rows, _LANES):
        last = min(first + _LANES, rows)
        top = first if last < rows else max(0, first - 1)
        below = a[:, top:, :each] @ turned[:, :each, first:last]
        for at in range(each, columns, each):
            part = slice(at, at + each)
            below += a[:, top:, part] @ turned[:, part, first:last]
        found[:, top:, first:last] = below
        if last < rows:
            found[:, first:last, last:] = below[:, last - top :].transpose(0, 2, 1)
    return found
