"""Block diagonal matrices, for families side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.stored import LinearOperator, Matrix, Stored


@dataclass(frozen=True)
class Blocks:
    """Block diagonal matrices, known by their blocks."""

    parts: Sequence[LinearOperator]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, sum of rows, sum of columns)."""
        shapes = [part.shape for part in self.parts]
        return shapes[0][0], sum(s[1] for s in shapes), sum(s[2] for s in shapes)

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        widths = [part.shape[2] for part in self.parts]
        return torch.cat(
            [
                part.matmat(piece)
                for part, piece in zip(self.parts, _cut(vectors, widths), strict=True)
            ],
            dim=1,
        )

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U."""
        heights = [part.shape[1] for part in self.parts]
        return torch.cat(
            [
                part.rmatmat(piece)
                for part, piece in zip(self.parts, _cut(vectors, heights), strict=True)
            ],
            dim=1,
        )

    def dense(self) -> Tensor:
        """Return A."""
        return _diagonal([part.dense() for part in self.parts])

    def gram(self) -> Tensor:
        """Return A Aᵀ, again block diagonal."""
        return _diagonal([part.gram() for part in self.parts])

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> Blocks:
        """Return the matrices with the entries of their blocks changed."""
        stored = (
            part if isinstance(part, Stored) else Matrix(part.dense())
            for part in self.parts
        )
        return Blocks([part.map_entries(change) for part in stored])


@dataclass(frozen=True)
class Repeats:
    """Block diagonal matrices of T blocks of one size, kept as N T matrices.

    Args:
        blocks: those of the first row, then those of the second [N T, r, p].
        count: T.
    """

    blocks: LinearOperator
    count: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, T r, T p)."""
        total, height, width = self.blocks.shape
        return total // self.count, self.count * height, self.count * width

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        return self._each(self.blocks.matmat, vectors)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U."""
        return self._each(self.blocks.rmatmat, vectors)

    def dense(self) -> Tensor:
        """Return A."""
        return self._spread(self.blocks.dense())

    def gram(self) -> Tensor:
        """Return A Aᵀ, again block diagonal."""
        return self._spread(self.blocks.gram())

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> Repeats:
        """Return the matrices with the entries of their blocks changed.

        A change that picks rows picks whole ones, with all their blocks.
        """
        inner, count = self.blocks, self.count
        stored = inner if isinstance(inner, Stored) else Matrix(inner.dense())

        def by_rows(entries: Tensor) -> Tensor:
            changed = change(entries.reshape(-1, count, *entries.shape[1:]))
            return changed.flatten(0, 1)

        return Repeats(stored.map_entries(by_rows), count)

    def _each(self, apply: Callable[[Tensor], Tensor], vectors: Tensor) -> Tensor:
        rows, _, columns = vectors.shape
        pieces = vectors.reshape(rows * self.count, -1, columns)
        return apply(pieces).reshape(rows, -1, columns)

    def _spread(self, blocks: Tensor) -> Tensor:
        total, height, width = blocks.shape
        rows, count = total // self.count, self.count
        whole = blocks.new_zeros(rows, count, height, count, width)
        place = torch.arange(count, device=blocks.device)
        parts = blocks.reshape(rows, count, height, width).transpose(0, 1)
        whole[:, place, :, place, :] = parts
        return whole.reshape(rows, count * height, count * width)


def blocks_of(roots: Sequence[LinearOperator | None]) -> Blocks | None:
    """Return the block diagonal of the roots; None if one is unknown."""
    known = [root for root in roots if root is not None]
    return Blocks(known) if len(known) == len(roots) else None


def _cut(vectors: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [vectors[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _diagonal(blocks: Sequence[Tensor]) -> Tensor:
    rows, columns = (sum(b.shape[i] for b in blocks) for i in (1, 2))
    whole = blocks[0].new_zeros(len(blocks[0]), rows, columns)
    row = column = 0
    for block in blocks:
        height, width = block.shape[1:]
        whole[:, row : row + height, column : column + width] = block
        row, column = row + height, column + width
    return whole
