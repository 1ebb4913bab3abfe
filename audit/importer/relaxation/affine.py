"""Affine entries of a tape: products with constants, sums, and whole operators.

Each function returns the position of the new value. A constant that multiplies may
differ from row to row (a held input), a weight may not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audit.importer.relaxation.ball import flattened
from audit.importer.relaxation.joint import summed
from audit.importer.relaxation.tape import Affine, Tape, refusal

Run = Callable[..., Tensor]
_ROWS = 16  # that make it worth a product for each direction


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
    if not all(bool(c.isfinite().all()) for c in (factor, shift) if c is not None):
        raise refusal(f"{what} with a constant that is no finite number")
    number = factor.numel() == 1 and (shift is None or shift.numel() == 1)
    pair = (float(factor), 0.0 if shift is None else float(shift)) if number else None
    size = factor.abs()

    def run(v: Tensor) -> Tensor:
        found = v * factor if shift is None else v * factor + shift
        return found.expand(len(v), *shape[1:])

    def absolute(v: Tensor) -> Tensor:
        found = v * size
        return found.expand(len(found), *shape[1:])

    def back(a: Tensor, rows: Tensor | None = None) -> Sequence[Tensor]:
        several = rows is not None and factor.dim() == value.dim() and len(factor) > 1
        return [summed(a * (factor[rows] if several else factor), value)]

    def along(t: Tensor) -> Tensor:
        found = t * factor
        return found.expand(*found.shape[:2], *shape[1:])

    bias = None if shift is None else shift.expand(shape)
    entry = Affine((source,), run, absolute, back, along, bias, pair, alike=True)
    return tape.affine(entry, what)


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

    def back(a: Tensor, rows: Tensor | None = None) -> Sequence[Tensor]:
        pairs = zip(values, signs, strict=True)
        return [summed(a if sign == 1 else a * sign, value) for value, sign in pairs]

    alike = len({value.shape for value in values}) == 1
    kept = tuple(signs) if alike else None
    entry = Affine(tuple(inputs), run, absolute, back, run, signs=kept)
    return tape.affine(entry, what)


def product(
    tape: Tape, source: int, matrix: Tensor, bias: Tensor | None, what: str
) -> int:
    """Append v M + b over the last axis, M [n, m], b [..., m]."""
    size, across = matrix.abs(), matrix.mT.contiguous()

    def run(v: Tensor) -> Tensor:
        return v @ matrix if bias is None else v @ matrix + bias

    def back(a: Tensor, rows: Tensor | None = None) -> Sequence[Tensor]:
        return [a @ across]

    out = (1, *tape.values[source].shape[1:-1], matrix.shape[1])
    kept = None
    if bias is not None:
        rows = tape.rows if bias.dim() == len(out) and len(bias) > 1 else 1
        kept = bias.expand(rows, *out[1:])
    entry = Affine((source,), run, lambda v: v @ size, back, lambda t: t @ matrix, kept)
    return tape.affine(entry, what)


def multiplied(
    tape: Tape, source: int, matrix: Tensor, bias: Tensor | None, what: str
) -> int:
    """Append the product of all elements of a row with a matrix [in, *out], and b."""
    event, out = tape.values[source].shape[1:], matrix.shape[1:]
    flat = flattened(matrix, 1)
    size, across = flat.abs(), flat.mT.contiguous()

    def run(v: Tensor) -> Tensor:
        found = (flattened(v, 1) @ flat).reshape(-1, *out)
        return found if bias is None else found + bias

    def absolute(v: Tensor) -> Tensor:
        return (flattened(v, 1) @ size).reshape(-1, *out)

    def back(a: Tensor, rows: Tensor | None = None) -> Sequence[Tensor]:
        return [(flattened(a, 2) @ across).reshape(*a.shape[:2], *event)]

    def along(t: Tensor) -> Tensor:
        return _by_supports(flattened(t, 2), flat).reshape(*t.shape[:2], *out)

    entry = Affine(
        (source,), run, absolute, back, along, bias, alike=True, across=across
    )
    return tape.affine(entry, what)


def _by_supports(t: Tensor, matrix: Tensor) -> Tensor:
    """Return t M [m, R, out] for tangents t [m, R, in], over what is not 0 alone.

    A pixel moves what is near it, whatever the row.
    """
    moved = t.abs().amax(1) != 0
    counts = moved.sum(1).tolist()
    if t.shape[1] < _ROWS or 2 * sum(counts) > moved.numel():
        return t @ matrix
    found = t.new_empty(*t.shape[:2], matrix.shape[1])
    places = torch.split_with_sizes(moved.nonzero()[:, 1], counts)
    for tangent, own, moving in zip(t, places, found, strict=True):
        part = matrix.index_select(0, own)
        torch.mm(tangent.index_select(1, own), part, out=moving)
    return found


def operator(
    tape: Tape,
    source: int,
    run: Run,
    absolute: Run,
    bias: Tensor | None,
    what: str,
    alike: bool = False,
    mean: tuple[int, ...] = (),
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
        alike: whether that is so by its definition; else it is looked at.
        mean: the axes of a mean, as entries have them.

    Raises:
        NoCertificate: it does not treat every row alike.
    """
    if not alike:
        _check_any_number(tape.values[source], run, what)
    event = tape.values[source].shape[1:]
    traced: dict[int, tuple[Tensor, Tensor]] = {}  # of the last number of rows

    def back(a: Tensor, rows: Tensor | None = None) -> Sequence[Tensor]:
        with torch.inference_mode(mode=False), torch.enable_grad():
            flat = a.flatten(0, 1).clone()  # what autograd may keep
            if len(flat) not in traced:
                traced.clear()
                v = flat.new_zeros(len(flat), *event, requires_grad=True)
                traced[len(flat)] = v, run(v)
            v, value = traced[len(flat)]
            total = (value * flat).sum()  # a cotangent would have torch import sympy
        (found,) = torch.autograd.grad(total, v, retain_graph=True)
        return [found.reshape(*a.shape[:2], *event)]

    def whole(v: Tensor) -> Tensor:
        return run(v) if bias is None else run(v) + bias

    def along(t: Tensor) -> Tensor:
        found = run(t.flatten(0, 1))
        return found.reshape(*t.shape[:2], *found.shape[1:])

    entry = Affine(
        (source,), whole, absolute, back, along, bias, alike=alike, mean=mean
    )
    return tape.affine(entry, what)


def _check_any_number(value: Tensor, run: Run, what: str) -> None:
    """Raise where an operator makes something else of twice as many rows.

    A value of a single row has no other one that it could be mixed with.
    """
    marks = 1 + torch.arange(value.numel(), device=value.device) * 0.618 % 1
    marks = marks.to(value).reshape(value.shape)
    one, two = run(marks), run(torch.cat([marks, 2 * marks]))
    if two.shape[:1] != (2 * len(value),) or not torch.allclose(
        two, torch.cat([one, 2 * one]), 1e-9, 0.0
    ):
        raise refusal(f"{what} mixes the rows of a batch, or moves their axis")
