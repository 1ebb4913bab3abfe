"""Affine entries of a tape: copies, products with constants, sums, and whole operators.

Each function returns the position of the new value. A constant that multiplies may
differ from row to row (a held input), a weight may not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

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
        NoCertificate: it moves elements between rows.
    """
    values = [tape.values[i] for i in inputs]
    sizes = [value[0].numel() for value in values]
    index = _index_of(tape, values, sizes, run, what)
    zero = run(*(torch.zeros_like(v) for v in values))
    total, spots = sum(sizes), index.clamp_min(0).reshape(-1)
    there = index.reshape(-1) >= 0
    bias = zero.masked_fill((index >= 0).expand_as(zero), 0.0)

    def absolute(*magnitudes: Tensor) -> Tensor:
        flat = torch.cat([m.flatten(1) for m in magnitudes], dim=1)
        return (flat[:, spots] * there).reshape(len(flat), *index.shape)

    def back(a: Tensor) -> Sequence[Tensor]:
        flat = a.flatten(2) * there
        whole = flat.new_zeros(*flat.shape[:2], total).index_add_(2, spots, flat)
        parts = torch.split_with_sizes(whole, list(sizes), dim=2)
        return [
            part.reshape(*a.shape[:2], *v.shape[1:])
            for part, v in zip(parts, values, strict=True)
        ]

    kept = bias if bool((bias != 0).any()) else None
    return tape.affine(
        Affine(tuple(inputs), run, absolute, back, kept, index=index), what
    )


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


def scaled(
    tape: Tape, source: int, factor: Tensor, shift: Tensor | None, what: str
) -> int:
    """Append v · factor + shift, with NumPy's broadcasting.

    Raises:
        NoCertificate: the constants give v axes that it has not.
    """
    value = tape.values[source]
    shape = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        value.shape, factor.shape, () if shift is None else shift.shape
    )
    if len(shape) != value.dim():
        raise refusal(f"{what} gives a value more axes")
    number = factor.numel() == 1 and (shift is None or shift.numel() == 1)
    pair = (float(factor), 0.0 if shift is None else float(shift)) if number else None
    size = factor.abs()

    def run(v: Tensor) -> Tensor:
        found = v * factor if shift is None else v * factor + shift
        return found.expand(len(v), *shape[1:])

    def absolute(v: Tensor) -> Tensor:
        return (v * size).expand(len(v), *shape[1:])

    def back(a: Tensor) -> Sequence[Tensor]:
        return [summed(a * factor, value)]

    bias = None if shift is None else shift.expand(shape)
    return tape.affine(Affine((source,), run, absolute, back, bias, pair), what)


def added(tape: Tape, inputs: Sequence[int], signs: Sequence[float], what: str) -> int:
    """Append Σ ± v_i, with broadcasting among equal numbers of axes.

    Raises:
        NoCertificate: they have different numbers of axes.
    """
    values = [tape.values[i] for i in inputs]
    if len({value.dim() for value in values}) > 1:
        raise refusal(f"{what} gives a value more axes")

    def run(*found: Tensor) -> Tensor:
        total = found[0] * signs[0]
        for value, sign in zip(found[1:], signs[1:], strict=True):
            total = total + sign * value
        return total

    def absolute(*found: Tensor) -> Tensor:
        total = found[0]
        for value in found[1:]:
            total = total + value
        return total

    def back(a: Tensor) -> Sequence[Tensor]:
        pairs = zip(values, signs, strict=True)
        return [summed(a if sign == 1 else a * sign, value) for value, sign in pairs]

    return tape.affine(Affine(tuple(inputs), run, absolute, back), what)


def product(
    tape: Tape, source: int, matrix: Tensor, bias: Tensor | None, what: str
) -> int:
    """Append v M + b over the last axis, M [n, m], b [..., m]."""
    size, across = matrix.abs(), matrix.mT.contiguous()

    def run(v: Tensor) -> Tensor:
        return v @ matrix if bias is None else v @ matrix + bias

    def back(a: Tensor) -> Sequence[Tensor]:
        return [a @ across]

    out = (1, *tape.values[source].shape[1:-1], matrix.shape[1])
    kept = None
    if bias is not None:
        rows = tape.rows if bias.dim() == len(out) and len(bias) > 1 else 1
        kept = bias.expand(rows, *out[1:])
    return tape.affine(Affine((source,), run, lambda v: v @ size, back, kept), what)


def operator(
    tape: Tape, source: int, run: Run, absolute: Run, bias: Tensor | None, what: str
) -> int:
    """Append an operator that treats every row alike, whatever their number.

    Its transpose is that of autograd, with functionals and rows as one batch.

    Args:
        tape: it grows by one entry.
        source: what it reads.
        run: v [M, *in] -> L v [M, *out], for any M.
        absolute: the same with absolute coefficients.
        bias: b [1, *out].
        what: its name.
    """
    event = tape.values[source].shape[1:]

    def back(a: Tensor) -> Sequence[Tensor]:
        flat = a.flatten(0, 1)
        with torch.enable_grad():
            v = flat.new_zeros(len(flat), *event, requires_grad=True)
            total = (run(v) * flat).sum()  # a cotangent would have torch import sympy
            (found,) = torch.autograd.grad(total, v)
        return [found.reshape(*a.shape[:2], *event)]

    def whole(v: Tensor) -> Tensor:
        return run(v) if bias is None else run(v) + bias

    return tape.affine(Affine((source,), whole, absolute, back, bias), what)


def summed(a: Tensor, value: Tensor) -> Tensor:
    """Sum functionals [K, R, *out] over the axes along which a value was repeated."""
    for axis in range(1, value.dim()):
        if value.shape[axis] == 1 and a.shape[axis + 1] > 1:
            a = a.sum(axis + 1, keepdim=True)
    return a
