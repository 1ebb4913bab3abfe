"""Operators that pass some elements of their operands on: Where, Held, Cast.

Where(c, a, b) is no product: what it does not take is zero, also times ∞ or NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from audit.importer.ops.arithmetic import held_of
from audit.importer.sweep.rows import Axes, Dense, Piece, Some, dense
from audit.importer.sweep.rules import (
    KeepsNothing,
    Kept,
    Rule,
    Site,
    only_piece,
    rule,
)
from audit.importer.sweep.stretched import aligned, lifted, summed_to
from audit.importer.values import Value


@rule("Where")
def where(site: Site) -> Rule | None:
    """Return the rule of Where."""
    if list(site.outputs) != [0] or 0 in site.active:
        return None
    out = site.outputs[0]
    if not all(aligned(place, out) for place in site.active.values()):
        return None
    return Where(site)


@rule("Held")
def held(site: Site) -> Rule | None:
    """Return the rule of what is held where a branch is not taken."""
    return None if list(site.outputs) != [0] else Held(site)


@rule("Cast", "CastLike")
def cast(site: Site) -> Rule | None:
    """Return the rule of a cast between floating types."""
    found = site.only()
    return None if found is None or found[0] != 0 else Cast(site)


class Where:
    """What is taken passes on, the rest is zero."""

    def __init__(self, site: Site) -> None:
        self._run = site.step.run
        self._active, self._out = dict(site.active), site.outputs[0]

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value and the condition."""
        condition = arguments[0]
        assert isinstance(condition, Tensor)
        return self._run(*arguments), (lifted(condition, self._out),)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Pick."""
        piece = only_piece(given)
        (condition,) = kept
        whole = dense(piece, self._out.shape)
        found: list[list[Piece]] = []
        for position, place in self._active.items():
            taken = condition if position == 1 else ~condition
            g = torch.where(taken, whole.g, torch.zeros_like(whole.g[:1, :1]))
            found.append([Dense(whole.start, summed_to(g, place.shape), owned=True)])
        return found


class Held:
    """What is held has no derivative, whatever comes back to it."""

    def __init__(self, site: Site) -> None:
        self._out = site.outputs[0]

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value and where it is held."""
        x, dead = arguments
        assert isinstance(x, Tensor)
        assert isinstance(dead, Tensor)
        return x, (lifted(held_of(x, dead), self._out),)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Put to zero where it is held."""
        whole = dense(only_piece(given), self._out.shape)
        g = torch.where(kept[0], torch.zeros_like(whole.g[:1, :1]), whole.g)
        return [[Dense(whole.start, g, owned=True)]]


class Cast(KeepsNothing):
    """Another floating type."""

    def __init__(self, site: Site) -> None:
        self._run = site.step.run
        value = site.arguments[0]
        assert isinstance(value, Tensor)
        self._dtype = value.dtype

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Cast back."""
        piece = only_piece(given)
        if isinstance(piece, Some):
            return [[replace(piece, g=piece.g.to(self._dtype))]]
        if isinstance(piece, Axes):
            scale = None if piece.scale is None else piece.scale.to(self._dtype)
            like = piece.like.to(self._dtype)
            return [[Axes(piece.start, piece.index, scale, like)]]
        owned = piece.owned or piece.g.dtype != self._dtype
        return [[Dense(piece.start, piece.g.to(self._dtype), owned)]]
