"""What is picked of an axis, with less around it.

Exporters write pick(v, i) and pick(v, i + 1) as one pick of v twice, stacked on an axis
of its own: here the index moves to the axis that is picked from, and v is there once.

f(v) of which only some numbers are picked is f of what is picked.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from audit.importer.spare.numbering import Named, Names
from audit.importer.spare.pieces import Piece, Readers
from audit.importer.spare.work import Want

_LATER = ("Exp", "Tanh", "Sigmoid", "Softplus", "Sqrt", "Abs", "Neg")


def folded(readers: Readers) -> None:
    """Move the axis along which the data of a pick are repeated into its index."""
    for piece in readers.pieces:
        if piece.op == "GatherElements" and not piece.gone:
            _fold(piece)
            if piece.work.closed == {-1} and _are_places(readers, piece.wants[1].value):
                piece.run = partial(_gathered, -1)


def _gathered(axis: int, data: Tensor, index: Tensor) -> Tensor:
    return data.gather(axis, index)


def _are_places(readers: Readers, index: Named) -> bool:
    """Whether whole numbers are none below zero, by how they are made.

    A remainder by a positive number is none, nor is a sum of such.
    """
    if index.dtype is not torch.int64:
        return False
    names = set(index.names.reshape(-1).tolist())
    constants = readers.table.constants
    made: dict[int, Piece] = {}
    for name in names:
        if name in constants:
            if constants[name][1] < 0:
                return False
        elif name in readers.makers:
            piece = readers.makers[name]
            made[id(piece)] = piece
        else:
            return False
    return all(_no_negatives(readers, piece) for piece in made.values())


def _no_negatives(readers: Readers, piece: Piece) -> bool:
    if piece.op == "Mod":
        by = readers.number(piece.wants[1]) if len(piece.wants) == 2 else None
        return (
            by is not None
            and by > 0
            and not piece.work.step.node.attributes.get("fmod")
        )
    if piece.op == "Add":
        return all(_are_places(readers, want.value) for want in piece.wants)
    return False


def _fold(piece: Piece) -> None:
    data, index = (want.value for want in piece.wants)
    (axis,) = piece.work.closed
    if axis != -1 or data.axis is None or index.names.shape[-1] != 1:
        return
    repeated = [
        k
        for k, size in enumerate(data.names.shape[:-1])
        if size > 1 and k != data.axis and (data.names == data.names.take([0], k)).all()
    ]
    if len(repeated) != 1:
        return
    (k,) = repeated
    after = data.axis - (data.axis > k)
    once = Named(np.squeeze(data.names.take([0], k), k), after, data.dtype)
    moved = Named(_turned(index.names, k), after, index.dtype)
    piece.wants = (Want(once), Want(moved))
    piece.result = Named(_turned(piece.result.names, k), after, piece.result.dtype)


def _turned(names: Names, axis: int) -> Names:
    """Return names [.., s, .., 1] with the axis s last, in place of the one."""
    return np.moveaxis(names[..., 0], axis, -1)


def later(readers: Readers) -> list[Piece]:
    """Return the pieces, with functions of what is picked behind their picks."""
    found: list[Piece] = []
    for piece in readers.pieces:
        function = _before(readers, piece)
        if function is None:
            found.append(piece)
            continue
        names = [
            readers.table.name(("before", function.op, name))
            for name in piece.result.names.reshape(-1).tolist()
        ]
        between = np.array(names, np.int64).reshape(piece.result.names.shape)
        dtype = function.wants[0].value.dtype
        inner = replace(piece.result, names=between, dtype=dtype)
        data = Want(function.wants[0].value)
        found.append(replace(piece, wants=(data, piece.wants[1]), result=inner))
        outer = replace(function, wants=(Want(inner),), result=piece.result)
        function.gone = True
        found.append(outer)
    return found


def _before(readers: Readers, piece: Piece) -> Piece | None:
    """Return the function whose result a pick alone reads."""
    if piece.op != "GatherElements" or piece.gone:
        return None
    function = readers.maker(piece.wants[0].value)
    if function is None or function.op not in _LATER or len(function.wants) != 1:
        return None
    data = function.wants[0].value
    alone = readers.only(function.result, piece)
    return (
        function if alone and data.names.shape == function.result.names.shape else None
    )
