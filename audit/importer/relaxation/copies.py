"""Affine entries of a tape that put elements elsewhere, beside constants.

Which element goes where is found by running the operator on numbers of elements: what
follows a shift of the numbers is a copy, and the rest is constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audit.importer.relaxation.affine import multiplied
from audit.importer.relaxation.ball import flattened
from audit.importer.relaxation.tape import Affine, Tape, refusal

Run = Callable[..., Tensor]


def copied(tape: Tape, inputs: Sequence[int], run: Run, what: str) -> int:
    """Append an operator that only puts elements elsewhere, beside constants.

    Args:
        tape: it grows by one entry.
        inputs: what it reads that moves.
        run: values of the inputs -> value; other arguments are filled in.
        what: the operator's name.

    Raises:
        NoCertificate: it moves elements between rows, or a constant is infinite.
    """
    values = [tape.values[i] for i in inputs]
    sizes = [value[0].numel() for value in values]
    index = _index_of(tape, values, sizes, run, what)
    zero = run(*(torch.zeros_like(v) for v in values))
    bias = zero.masked_fill((index >= 0).expand_as(zero), 0.0)
    if not bool(bias.isfinite().all()):
        raise refusal(f"{what} with a constant that is no finite number")
    kept = bias if bool((bias != 0).any()) else None
    return _placed(tape, inputs, index, run, kept, what)


def picked(tape: Tape, at: int, places: Tensor, what: str) -> int:
    """Append elements of a value, by their numbers in a row [*out]."""
    flat = places.reshape(-1)

    def run(v: Tensor) -> Tensor:
        return flattened(v, 1)[:, flat].reshape(len(v), *places.shape)

    return _placed(tape, [at], places, run, None, what)


def _placed(
    tape: Tape,
    inputs: Sequence[int],
    index: Tensor,
    run: Run,
    bias: Tensor | None,
    what: str,
) -> int:
    """Append elements by their numbers [*out], beside constants where those are −1."""
    values = [tape.values[i] for i in inputs]
    sizes = [value[0].numel() for value in values]
    total, spots = sum(sizes), index.clamp_min(0).reshape(-1)
    there = index.reshape(-1) >= 0
    first = tape.entries[inputs[0]] if len(inputs) == 1 else None
    every = bool(there.all())
    whole = every and len(spots) <= total
    if isinstance(first, Affine) and first.across is not None and whole:
        return _moved(tape, first, index, what)
    order = _inverse_of(spots, total) if every else None

    def absolute(*magnitudes: Tensor) -> Tensor:
        rows = max(len(m) for m in magnitudes)
        parts = [flattened(m.expand(rows, *m.shape[1:]), 1) for m in magnitudes]
        flat = torch.cat(parts, dim=1)
        return found_in(flat, 1).reshape(len(flat), *index.shape)

    def found_in(flat: Tensor, axis: int) -> Tensor:
        if order is not None and not len(order):
            return flat
        found = flat.index_select(axis, spots)
        return found if every else found * there

    def back(a: Tensor, rows: Tensor | None = None) -> Sequence[Tensor]:
        flat = flattened(a, 2)
        if order is None:
            zeros = flat.new_zeros(*flat.shape[:2], total)
            whole = zeros.index_add_(2, spots, flat * there)
        else:
            whole = flat.index_select(2, order) if len(order) else flat
        parts = torch.split_with_sizes(whole, list(sizes), dim=2)
        return [
            part.reshape(*a.shape[:2], *v.shape[1:])
            for part, v in zip(parts, values, strict=True)
        ]

    def along(*tangents: Tensor) -> Tensor:
        rows = max(t.shape[1] for t in tangents)
        parts = [flattened(t.expand(-1, rows, *t.shape[2:]), 2) for t in tangents]
        flat = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        return found_in(flat, 2).reshape(len(flat), rows, *index.shape)

    exact = order is not None
    entry = Affine(tuple(inputs), run, absolute, back, along, bias, None, index, exact)
    return tape.affine(entry, what)


def _moved(tape: Tape, entry: Affine, index: Tensor, what: str) -> int:
    """Append a product with the columns of its matrix elsewhere [*out]."""
    assert entry.across is not None
    matrix = entry.across[index.reshape(-1)].mT
    bias = entry.bias
    if bias is not None:
        bias = flattened(bias, 1)[:, index.reshape(-1)].reshape(-1, *index.shape)
    moved = matrix.reshape(len(matrix), *index.shape)
    return multiplied(tape, entry.inputs[0], moved, bias, what)


def _index_of(
    tape: Tape, values: Sequence[Tensor], sizes: Sequence[int], run: Run, what: str
) -> Tensor:
    """Return which element of a row each element of the value is [*out]; −1: none.

    Elements are numbered over all rows and inputs; what follows a shift of the numbers
    is a copy, and the rest is constant. Row b of the value must hold numbers of row b.
    """
    rows, total = tape.rows, sum(sizes)
    shift, numbered, first = rows * total + 1, [], 0
    row = torch.arange(rows, dtype=torch.float64, device=tape.x.device)[:, None] * total
    for value, size in zip(values, sizes, strict=True):
        own = torch.arange(first, first + size, dtype=torch.float64, device=row.device)
        numbered.append((row + own).reshape(value.shape))
        first += size
    one, two = run(*numbered), run(*(n + shift for n in numbered))
    if one.shape[:1] != (rows,):
        raise refusal(f"{what} moves the axis of the rows")
    moved = two - one == shift
    within = one - row.reshape(-1, *(1,) * (one.dim() - 1))
    right = (within >= 0) & (within < total) & (within == within[:1])
    if not bool(torch.where(moved, right & moved[:1], moved[:1] == moved).all()):
        raise refusal(f"{what} mixes the rows of a batch")
    return torch.where(moved[0], within[0], -1.0).to(torch.int64)


def _inverse_of(spots: Tensor, total: int) -> Tensor | None:
    """Return where each element went, [0] if nowhere else; None if not all of them."""
    if len(spots) != total:
        return None
    order = torch.argsort(spots)
    every = torch.arange(total, device=spots.device)
    if not bool((spots[order] == every).all()):
        return None
    return order[:0] if bool((order == every).all()) else order
