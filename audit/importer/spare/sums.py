"""Running sums of shares, with what scales and shifts them, as one product.

Knots of a spline are a CumSum over a Softmax, behind a zero, times 2 B, minus B: a
matrix of ones above its diagonal, times a factor, and a bias. Of a Softmax only: its
numbers are finite or NaN all along the axis, so that no zero of the matrix meets an
infinity that the sum had not reached.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from audit.importer.products import straight
from audit.importer.spare.numbering import Named
from audit.importer.spare.pieces import Piece, Readers, same
from audit.importer.spare.work import Want

_SHARES = ("Softmax", "GuardedSoftmax")


def summed(readers: Readers, device: torch.device) -> None:
    """Put running sums and what follows them together."""
    for piece in readers.pieces:
        if piece.op == "CumSum" and not piece.gone and _plain(piece):
            _sum(readers, piece, device)


def _plain(piece: Piece) -> bool:
    """Whether it is a sum along the last axis, from the first on, of rows first."""
    attributes = piece.work.step.node.attributes
    value = piece.wants[0].value
    return (
        not attributes.get("exclusive", 0)
        and not attributes.get("reverse", 0)
        and piece.work.closed == frozenset((-1,))
        and value.axis == 0
        and value.names.ndim > 1
        and value.dtype.is_floating_point
    )


def _sum(readers: Readers, piece: Piece, device: torch.device) -> None:
    value = piece.wants[0].value
    fixed = readers.table.are_constant(value.names).reshape(-1, value.names.shape[-1])
    kept = np.flatnonzero(~fixed.all(axis=0))
    inner = replace(value, names=value.names[..., kept])
    shares = readers.maker(inner)
    if shares is None or shares.op not in _SHARES or -1 not in shares.work.closed:
        return
    gone = [value.names[..., k] for k in range(len(fixed[0])) if k not in kept]
    if any(readers.table.constants[int(n)][1] != 0 for part in gone for n in part.flat):
        return
    size = value.names.shape[-1]
    matrix = np.triu(np.ones((size, size)))[kept]  # [in, out]
    factor, shift, last = _affine(readers, piece)
    weight = torch.tensor((factor * matrix).T, dtype=value.dtype, device=device)
    bias = None
    if shift:
        bias = torch.full((size,), shift, dtype=value.dtype, device=device)
    last.op, last.wants = "Sum", (Want(inner),)
    last.run = partial(running, weight.contiguous(), bias)


def _affine(readers: Readers, piece: Piece) -> tuple[float, float, Piece]:
    """Return what is made of a sum by constants alone, and the last piece of it."""
    factor, shift = 1.0, 0.0
    while True:
        after = _next(readers, piece)
        if after is None:
            return factor, shift, piece
        at = 0 if same(after.wants[0].value, piece.result) else 1
        constant = readers.number(after.wants[1 - at])
        if constant is None or (at == 1 and after.op in ("Sub", "Div")):
            return factor, shift, piece
        match after.op:
            case "Mul":
                factor, shift = factor * constant, shift * constant
            case "Div" if constant:
                factor, shift = factor / constant, shift / constant
            case "Add":
                shift += constant
            case "Sub":
                shift -= constant
            case _:
                return factor, shift, piece
        piece.gone, piece = True, after


def _next(readers: Readers, piece: Piece) -> Piece | None:
    """Return the only reader of a result, where it reads all of it as it is."""
    marks = readers.table.marks
    names = {n for n in piece.result.names.reshape(-1).tolist() if not marks[n]}
    places = {place for name in names for place in readers.readers.get(name, ())}
    if len(places) != 1 or -1 in places:
        return None
    after = readers.pieces[places.pop()]
    reads = [same(want.value, piece.result) for want in after.wants]
    if (
        len(reads) != 2
        or sum(reads) != 1
        or not _same_shape(after.result, piece.result)
    ):
        return None
    return after


def _same_shape(a: Named, b: Named) -> bool:
    return a.axis == b.axis and a.names.shape == b.names.shape


def running(weight: Tensor, bias: Tensor | None, shares: Tensor) -> Tensor:
    """Return shares [..., in] times a matrix [out, in], plus a bias."""
    flat = shares.reshape(-1, shares.shape[-1])
    return straight(flat, weight, bias).reshape(*shares.shape[:-1], len(weight))
