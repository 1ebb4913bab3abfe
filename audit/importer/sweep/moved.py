"""Operators that move elements and compute nothing: Reshape, Slice, Concat, Gather.

Every element of the result is one element of an active operand, or a constant: which
one, `labelled` tells. The transpose adds cotangents back at their sources. An index
that is not a constant has no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from audit.importer.sweep.labelled import Part, labelled, map_of
from audit.importer.sweep.pushed import Tangents, moving
from audit.importer.sweep.rows import Axes, Dense, Piece, Some, dense
from audit.importer.sweep.rules import (
    KeepsNothing,
    Kept,
    Place,
    Rule,
    Site,
    only_piece,
    rule,
)
from audit.importer.values import Value

_FEW = 4  # an operand has so many times more elements than are taken: no zeros stored


@rule(
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile"),
    *("Concat", "Split", "Slice", "Gather", "GatherND", "Pad"),
    *("DepthToSpace", "SpaceToDepth", "Trilu", "ScatterElements", "ScatterND"),
)
def moved(site: Site) -> Rule | None:
    """Return the rule, where each element of every result has a fixed source."""
    if site.op == "Pad" and site.attribute("mode", "constant") not in (
        "constant",
        b"constant",
    ):
        return None
    if site.attribute("reduction", "none") not in ("none", b"none"):
        return None
    labels = labelled(site)
    if labels is None:
        return None
    result = site.step.run(*labels)
    results = result if isinstance(result, tuple) else (result,)
    maps = [
        map_of(results[position], place, site)
        for position, place in site.outputs.items()
    ]
    known = [each for each in maps if each is not None]
    if len(known) < len(maps):
        return None
    apart = all(place.joined is None for place in site.active.values())
    if site.op == "Transpose" and apart:
        return Turned(site)
    return Moved(site, known)


class Moved(KeepsNothing):
    """Elements at other places.

    Args:
        site: where it is.
        maps: for each active result, what it takes from each active operand.
    """

    def __init__(self, site: Site, maps: Sequence[Sequence[Part]]) -> None:
        self._run, self._maps = site.step.run, maps
        self._active, self._outputs = dict(site.active), dict(site.outputs)

    @property
    def reshapes(self) -> bool:
        """Whether it is one operand in another shape."""
        return (
            len(self._maps) == 1 and len(self._active) == 1 and self._maps[0][0].whole
        )

    @property
    def inverse(self) -> Tensor | None:
        """Where its operand's elements are in the result, if each is there once."""
        one = len(self._maps) == len(self._active) == 1
        return self._maps[0][0].inverse if one else None

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Bring cotangents back to where their elements came from."""
        found: list[list[Piece]] = [[] for _ in self._active]
        outputs = self._outputs.values()
        for piece, parts, out in zip(given, self._maps, outputs, strict=True):
            if piece is None:
                continue
            if isinstance(piece, Axes):
                picked = _picked(piece, parts, prod(out.shape))
                if picked is not None:
                    for own, each in zip(found, picked, strict=True):
                        own += each
                    continue
            if isinstance(piece, Some):
                passed = _passed(piece, parts, prod(out.shape))
                if passed is not None:
                    found[passed[0]].append(passed[1])
                    continue
            whole = dense(piece, out.shape)
            places = self._active.values()
            for own, part, place in zip(found, parts, places, strict=True):
                if len(part.where):
                    own.append(_placed(whole, part, place))
        return found

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Bring tangents to where their elements go; constants do not move."""
        like = moving(given)[0]
        found = []
        for parts, out in zip(self._maps, self._outputs.values(), strict=True):
            y: Tensor | None = None
            for part, tangent in zip(parts, given, strict=True):
                if tangent is None or not len(part.where):
                    continue
                flat = tangent.flatten(2) if tangent.dim() > 2 else tangent[..., None]
                if part.whole:
                    y = flat
                    continue
                if y is None:
                    y = like.new_zeros(*like.shape[:2], prod(out.shape))
                y.index_copy_(2, part.where, flat.index_select(2, part.source))
            if y is None:
                y = like.new_zeros(*like.shape[:2], prod(out.shape))
            found.append(y.reshape(*like.shape[:2], *out.shape))
        return found


class Folded:
    """A movement that the product behind it takes along: cotangents are the operand's.

    Args:
        movement: what it was.
        place: of its operand.
    """

    def __init__(self, movement: Moved, place: Place) -> None:
        self._movement, self._shape = movement, place.shape

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value."""
        return self._movement.run(arguments)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Hand on, in the operand's shape."""
        piece = only_piece(given)
        g = dense(piece, self._shape).g
        whole = g.reshape(*g.shape[:2], *self._shape)
        return [[Dense(piece.start, whole, owned=True)]]

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Hand on, as one axis in the operand's order."""
        (t,) = moving(given)
        return [t.flatten(2)]


class Turned(KeepsNothing):
    """A permutation of axes."""

    def __init__(self, site: Site) -> None:
        self._run = site.step.run
        ((_, place),) = site.active.items()
        rank = place.rank
        perm = site.attribute("perm", None) or list(range(rank))[::-1]
        assert isinstance(perm, list)
        to = [axis for axis in range(rank) if axis != place.axis]
        taken = [to.index(axis) for axis in perm if axis != place.axis]
        back = [taken.index(axis) for axis in range(rank - 1)]
        self._perm = [0, 1, *(axis + 2 for axis in back)]
        numbers = torch.arange(prod(place.shape)).reshape(place.shape)
        self._source = numbers.permute(taken).reshape(-1)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Turn back."""
        piece = only_piece(given)
        if not isinstance(piece, Dense):
            index = self._source.to(piece.index.device)[piece.index]
            return [[replace(piece, index=index)]]
        return [[Dense(piece.start, piece.g.permute(self._perm), piece.owned)]]

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Turn."""
        (t,) = moving(given)
        forward = [self._perm.index(axis) for axis in range(len(self._perm))]
        return [t.permute(forward)]


def _placed(piece: Dense, part: Part, place: Place) -> Dense | Some:
    """Return the cotangents of an operand."""
    n, rows = piece.g.shape[:2]
    if part.once and len(part.source) * _FEW <= prod(place.shape):
        flat = piece.g.reshape(n, rows, -1)
        taken = flat if len(part.where) == flat.shape[2] else flat[:, :, part.where]
        return Some(piece.start, taken, part.source)
    if part.whole:
        return Dense(piece.start, piece.g.reshape(n, rows, *place.shape), piece.owned)
    flat = piece.g.reshape(n, rows, -1)
    if part.inverse is not None:
        g = flat.index_select(2, part.inverse)
    else:
        g = flat.new_zeros(n, rows, prod(place.shape))
        g.index_add_(2, part.source, flat.index_select(2, part.where))
    return Dense(piece.start, g.reshape(n, rows, *place.shape), owned=True)


def _passed(piece: Some, parts: Sequence[Part], width: int) -> tuple[int, Some] | None:
    """Return a few elements at their sources, and the operand that has them all.

    None where several operands have them, or one of them twice, or a constant.
    """
    for k, part in enumerate(parts):
        source = torch.full((width,), -1, device=piece.index.device)
        source[part.where] = part.source
        index = source[piece.index]
        if part.once and bool((index >= 0).all()):
            return k, replace(piece, index=index)
    return None


def _picked(piece: Axes, parts: Sequence[Part], width: int) -> list[list[Piece]] | None:
    """Return rows with one number each at their sources, cut where operands change.

    None where a row is at a constant: then it has no number at all.
    """
    owner = torch.full((width,), -1, device=piece.index.device)
    source = torch.zeros_like(owner)
    for k, part in enumerate(parts):
        owner[part.where], source[part.where] = k, part.source
    mine = owner[piece.index].tolist()
    if -1 in mine:
        return None
    found: list[list[Piece]] = [[] for _ in parts]
    places, first = source[piece.index], 0
    for last in range(1, len(mine) + 1):
        if last < len(mine) and mine[last] == mine[first]:
            continue
        scale = None if piece.scale is None else piece.scale[:, first:last]
        cut = Axes(piece.start + first, places[first:last], scale, piece.like)
        found[mine[first]].append(cut)
        first = last
    return found
