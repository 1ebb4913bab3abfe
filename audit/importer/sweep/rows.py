"""Cotangents of one value, for some of the P rows of a Jacobian at once.

A value has its batch on some axis and a *row shape* without it. Its cotangents are
[n, r, *row shape]: r of the P rows, from `start` on, at n inputs. What is the same at
all inputs has n = 1. Rows of the identity are a value of their own, `Axes`: a product
with a matrix picks rows of it, and no zeros are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Rows:
    """Numbers g [n or 1, r, …] of the rows from `start` on."""

    start: int
    g: Tensor

    @property
    def stop(self) -> int:
        """The row after the last one."""
        return self.start + self.g.shape[1]

    @property
    def shared(self) -> bool:
        """Whether they are the same at all inputs."""
        return self.g.shape[0] == 1


@dataclass(frozen=True)
class Dense(_Rows):
    """Cotangents g [n or 1, r, *row shape].

    Args:
        owned: whether nobody else reads g's memory, so that it may be written into.
    """

    owned: bool = False

    def cut(self, first: int, last: int) -> Dense:
        """Return the cotangents of some inputs; what all of them share is no one's."""
        if self.shared:
            return Dense(self.start, self.g)
        return Dense(self.start, self.g[first:last], self.owned)


@dataclass(frozen=True)
class Axes:
    """Rows with one number each: row t is scale[:, t] at the element index[t].

    Args:
        index: flat positions [r] in the row shape.
        scale: [n or 1, r]; None for ones.
        like: what the numbers are like (type and device).
    """

    start: int
    index: Tensor
    scale: Tensor | None
    like: Tensor

    @property
    def stop(self) -> int:
        """The row after the last one."""
        return self.start + len(self.index)

    @property
    def shared(self) -> bool:
        """Whether they are the same at all inputs."""
        return self.scale is None or self.scale.shape[0] == 1

    def cut(self, first: int, last: int) -> Axes:
        """Return the cotangents of some inputs."""
        if self.scale is None or self.shared:
            return self
        return replace(self, scale=self.scale[first:last])

    def dense(self, shape: Sequence[int]) -> Dense:
        """Return the rows with their zeros."""
        scale = self.scale
        if scale is None:
            scale = self.like.new_ones(1, len(self.index))
        flat = scale.new_zeros(*scale.shape, prod(shape))
        places = self.index.reshape(1, -1, 1).expand(*scale.shape, 1)
        flat.scatter_(2, places, scale.unsqueeze(-1))
        return Dense(self.start, flat.reshape(*scale.shape, *shape), owned=True)


@dataclass(frozen=True)
class Some(_Rows):
    """Cotangents g [n or 1, r, m] of a few elements, zero at all others.

    Args:
        index: flat positions [m] in the row shape, each once.
    """

    index: Tensor

    def cut(self, first: int, last: int) -> Some:
        """Return the cotangents of some inputs."""
        return self if self.shared else replace(self, g=self.g[first:last])

    def dense(self, shape: Sequence[int]) -> Dense:
        """Return the rows with their zeros."""
        n, rows = self.g.shape[:2]
        flat = self.g.new_zeros(n, rows, prod(shape))
        flat.index_copy_(2, self.index, self.g)
        return Dense(self.start, flat.reshape(n, rows, *shape), owned=True)


Piece = Dense | Axes | Some


def dense(piece: Piece, shape: Sequence[int]) -> Dense:
    """Return a piece with all its numbers stored."""
    return piece if isinstance(piece, Dense) else piece.dense(shape)


def merged(pieces: Sequence[Piece], shape: Sequence[int]) -> Piece:
    """Return one piece that is the sum of several.

    Args:
        pieces: at least one; rows that a piece does not have are zero in it.
        shape: the row shape of the value they belong to.
    """
    if len(pieces) == 1:
        return pieces[0]
    ordered = sorted(pieces, key=lambda piece: piece.start)
    if _follow(ordered):
        axes = [piece for piece in ordered if isinstance(piece, Axes)]
        if len(axes) == len(ordered):
            return _joined_axes(axes)
        return _joined([dense(piece, shape) for piece in ordered])
    return _summed([dense(piece, shape) for piece in ordered])


def _follow(ordered: Sequence[Piece]) -> bool:
    """Whether each piece starts where the one before it ends."""
    return all(a.stop == b.start for a, b in pairwise(ordered))


def _joined_axes(axes: Sequence[Axes]) -> Axes:
    index = torch.cat([piece.index for piece in axes])
    start, like = axes[0].start, axes[0].like
    if all(piece.scale is None for piece in axes):
        return Axes(start, index, None, like)
    scales = [
        like.new_ones(1, len(piece.index)) if piece.scale is None else piece.scale
        for piece in axes
    ]
    n = max(len(scale) for scale in scales)
    whole = torch.cat([scale.expand(n, -1) for scale in scales], dim=1)
    return Axes(start, index, whole, like)


def _joined(pieces: Sequence[Dense]) -> Dense:
    n = max(len(piece.g) for piece in pieces)
    parts = [piece.g.expand(n, *piece.g.shape[1:]) for piece in pieces]
    return Dense(pieces[0].start, torch.cat(parts, dim=1), owned=True)


def _summed(pieces: Sequence[Dense]) -> Dense:
    start, stop = pieces[0].start, max(piece.stop for piece in pieces)
    n = max(len(piece.g) for piece in pieces)
    same = [p for p in pieces if (p.start, p.stop, len(p.g)) == (start, stop, n)]
    if same:
        first = next((p for p in same if p.owned), same[0])
        total = first.g if first.owned else first.g.clone()
        rest = [piece for piece in pieces if piece is not first]
    else:
        like = pieces[0].g
        total = like.new_zeros(n, stop - start, *like.shape[2:])
        rest = list(pieces)
    for piece in rest:
        total[:, piece.start - start : piece.stop - start] += piece.g
    return Dense(start, total, owned=True)
