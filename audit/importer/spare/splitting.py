"""Products cut where their readers cut them.

Widths, heights and slopes of a spline are columns of one product. Cut out of it they
lie apart in memory, and a backward pass fills as many empty products as there are cuts.
As products of their own they lie together.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from audit.importer.spare.pieces import Piece, Readers
from audit.importer.spare.work import Product

_MOST = 4


def split_products(readers: Readers) -> list[Piece]:
    """Return the pieces, with products cut in parts that are read each by itself."""
    reads: dict[int, set[tuple[int, ...]]] = {}
    values = [w.value for p in readers.pieces if not p.gone for w in p.wants]
    for value in (*values, *readers.outputs):
        key = tuple(value.names.reshape(-1).tolist())
        for name in set(key):
            reads.setdefault(name, set()).add(key)
    found: list[Piece] = []
    for piece in readers.pieces:
        if piece.gone or not isinstance(piece.work, Product):
            found.append(piece)
        else:
            found += _parts(piece, reads)
    return found


def _parts(piece: Piece, reads: dict[int, set[tuple[int, ...]]]) -> list[Piece]:
    """Return a product's parts, in the order of their readers; else itself."""
    names = piece.result.names.reshape(-1).tolist()
    keys = {key for name in names for key in reads.get(name, set())}
    places = {name: k for k, name in enumerate(names)}
    wanted = [[n for n in dict.fromkeys(key) if n in places] for key in sorted(keys)]
    count = sum(map(len, wanted))
    if not 1 < len(wanted) <= _MOST or count != len(places) or len(places) < len(names):
        return [piece]
    lanes = piece.lanes
    columns = np.arange(len(names)) if lanes is None else lanes[1]
    return [
        replace(
            piece,
            lanes=(-1, columns[[places[n] for n in part]]),
            result=replace(piece.result, names=np.array([part], np.int64)),
        )
        for part in wanted
    ]
