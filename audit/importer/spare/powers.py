"""Squares, which exporters write as powers: one multiplication, no exponential."""

from __future__ import annotations

import torch

from audit.importer.spare.pieces import Readers

_SQUARE = 2.0


def squared(readers: Readers) -> None:
    """Write x² for Pow(x, 2) of floating numbers."""
    for piece in readers.pieces:
        if piece.op != "Pow" or piece.gone or len(piece.wants) != 2:
            continue
        base, exponent = piece.wants
        floating = base.value.dtype.is_floating_point
        alike = base.value.names.shape == piece.result.names.shape
        if floating and alike and readers.number(exponent) == _SQUARE:
            piece.op, piece.wants, piece.run = "Square", (base,), torch.square
