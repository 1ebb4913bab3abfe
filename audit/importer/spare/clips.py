"""v / (c + k |v|), how splines keep their parameters small, in one call.

Exporters write it as five operators. Its derivative is c / t² with t = c + k |v|, and t
is all that is kept for it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from audit.importer.spare.pieces import Piece, Readers


def clipped(readers: Readers) -> None:
    """Put the five operators together wherever nobody reads between them."""
    for piece in readers.pieces:
        if piece.op == "Div" and not piece.gone and len(piece.wants) == 2:
            _clip(readers, piece)


def _clip(readers: Readers, last: Piece) -> None:
    v, below = last.wants
    if not v.value.dtype.is_floating_point:
        return
    added = readers.maker(below.value)
    if added is None or added.op != "Add" or not readers.only(added.result, last):
        return
    shift, absolute = _with_constant(readers, added)
    if absolute is None or absolute.op != "Abs" or shift is None or not shift > 0:
        return
    gone, scale, inner = [added, absolute], 1.0, absolute.wants[0].value
    reader = absolute
    while tuple(inner.names.reshape(-1)) != tuple(v.value.names.reshape(-1)):
        step = readers.maker(inner)
        if step is None or step.op not in ("Mul", "Div"):
            return
        if not readers.only(step.result, reader) or len(step.wants) != 2:
            return
        factor, at = readers.number(step.wants[1]), 0
        if factor is None and step.op == "Mul":
            factor, at = readers.number(step.wants[0]), 1
        if not factor:
            return
        scale = scale * factor if step.op == "Mul" else scale / factor
        gone, reader, inner = [*gone, step], step, step.wants[at].value
    if last.result.names.shape != v.value.names.shape:
        return
    for each in gone:
        each.gone = True
    last.op, last.wants = "Clip", (v,)
    last.run = partial(clip, abs(scale), shift)


def _with_constant(readers: Readers, piece: Piece) -> tuple[float | None, Piece | None]:
    """Return the constant and the maker of the other operand of a sum."""
    if len(piece.wants) != 2:
        return None, None
    for at in (0, 1):
        constant = readers.number(piece.wants[at])
        other = readers.maker(piece.wants[1 - at].value)
        if constant is not None and other is not None:
            alone = readers.only(other.result, piece)
            return (constant, other) if alone else (None, None)
    return None, None


def clip(k: float, c: float, v: Tensor) -> Tensor:
    """Return v / (c + k |v|)."""
    if torch.is_grad_enabled() and v.requires_grad:
        found: Tensor = _Clip.apply(k, c, v)  # type: ignore[no-untyped-call]
        return found
    return v / _below(k, c, v)


def _below(k: float, c: float, v: Tensor) -> Tensor:
    return v.abs().mul_(k).add_(c)


class _Clip(Function):
    @staticmethod
    def forward(ctx: Any, k: float, c: float, v: Tensor) -> Tensor:  # noqa: ANN401
        """Return the value; keep what is below the line."""
        below = _below(k, c, v)
        ctx.k, ctx.c = k, c
        ctx.save_for_backward(v, below)
        return v / below

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, None, Tensor]:  # noqa: ANN401
        """Return g c / t²."""
        v, below = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            below = ctx.c + ctx.k * v.abs()
            return None, None, g * ctx.c / (below * below)
        found = torch.div(g, below).div_(below)
        return None, None, found if ctx.c == 1 else found.mul_(ctx.c)
