"""Batches of N matrices, known by what they do to vectors.

A root B of a metric tensor (Bᵀ B = G) is rarely worth storing: it is diagonal, or
one small block for each coordinate, or a product with a Jacobian. All of these answer
the same four questions. `gram` is A Aᵀ, on the side of the rows: the nonzero
eigenvalues of AᵀA are those of A Aᵀ, and rows (parameters) are fewer than columns
(input features) in almost every audit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.linalg.averaged import Averaged
from audit.linalg.stored import LinearOperator, Matrix, Stored, Takes


@dataclass(frozen=True)
class Diagonal:
    """Diagonal matrices, known by their entries [N, n]."""

    entries: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, n, n)."""
        n, rows = self.entries.shape
        return n, rows, rows

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        return self.entries.unsqueeze(-1) * vectors

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U, the same as A U."""
        return self.matmat(vectors)

    def dense(self) -> Tensor:
        """Return A [N, n, n]."""
        return torch.diag_embed(self.entries)

    def gram(self) -> Tensor:
        """Return A Aᵀ, the squared entries on the diagonal."""
        return torch.diag_embed(self.entries.square())

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> Diagonal:
        """Return the matrices with their diagonals changed."""
        return Diagonal(change(self.entries))


@dataclass(frozen=True)
class CoordinateBlocks:
    """One small matrix for each coordinate of a product of one-dimensional laws.

    φ is laid out parameter by parameter, (loc₁ … loc_n, scale₁ … scale_n, …), and the
    matrix couples only the q parameters of the same coordinate.

    Shapes: blocks [N, n, r, q]; the matrices are [N, r·n, q·n].
    """

    blocks: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, r·n, q·n)."""
        batch, n, rows, columns = self.blocks.shape
        return batch, rows * n, columns * n

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        return self._apply(self.blocks, vectors)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U."""
        return self._apply(self.blocks.mT, vectors)

    def dense(self) -> Tensor:
        """Return A [N, r·n, q·n]."""
        batch, n, rows, columns = self.blocks.shape
        spread = torch.diag_embed(self.blocks.permute(0, 2, 3, 1))  # [N, r, q, n, n]
        return spread.transpose(2, 3).reshape(batch, rows * n, columns * n)

    def gram(self) -> Tensor:
        """Return A Aᵀ, again one block for each coordinate."""
        return CoordinateBlocks(self.blocks @ self.blocks.mT).dense()

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> CoordinateBlocks:
        """Return the matrices with the entries of their blocks changed."""
        return CoordinateBlocks(change(self.blocks))

    @staticmethod
    def _apply(blocks: Tensor, vectors: Tensor) -> Tensor:
        batch, n, rows, columns = blocks.shape
        by_coordinate = vectors.reshape(batch, columns, n, -1).transpose(1, 2)
        return (blocks @ by_coordinate).transpose(1, 2).reshape(batch, rows * n, -1)


@dataclass(frozen=True)
class Product:
    """The matrix product outer · inner, never formed unless asked for."""

    outer: LinearOperator  # [N, r, p]
    inner: LinearOperator  # [N, p, d]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, r, d)."""
        n, rows, _ = self.outer.shape
        return n, rows, self.inner.shape[2]

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return outer (inner V)."""
        return self.outer.matmat(self.inner.matmat(vectors))

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return innerᵀ (outerᵀ U)."""
        return self.inner.rmatmat(self.outer.rmatmat(vectors))

    def dense(self) -> Tensor:
        """Return the product's entries [N, r, d]."""
        return self.outer.matmat(self.inner.dense())

    def gram(self) -> Tensor:
        """Return outer (inner innerᵀ) outerᵀ, on the small side only."""
        half = self.outer.matmat(self.inner.gram())
        return self.outer.matmat(half.mT)


@dataclass(frozen=True)
class Selection:
    """Matrices S [d, m] that keep some columns: (A S)_j = unit_j A_{c_j}.

    Args:
        columns: c [m]. unit: [m], or [N, m] where they are not all alike. count: N.
        d: the rows of S.
    """

    columns: Tensor
    unit: Tensor
    count: int
    d: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, d, m)."""
        return self.count, self.d, len(self.columns)

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return S V: each row at its place, times its unit."""
        placed = vectors.new_zeros(self.count, self.d, vectors.shape[2])
        placed[:, self.columns] = vectors * self.unit.unsqueeze(-1)
        return placed

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Sᵀ U: the kept rows, times their units."""
        return vectors[:, self.columns] * self.unit.unsqueeze(-1)

    def dense(self) -> Tensor:
        """Return S [N, d, m]."""
        size = (self.count, len(self.columns), len(self.columns))
        return self.matmat(torch.eye(size[1]).to(self.unit).expand(size))

    def gram(self) -> Tensor:
        """Return S Sᵀ, diagonal."""
        squares = self.unit.new_zeros(*self.unit.shape[:-1], self.d)
        squares[..., self.columns] = self.unit.square()
        return torch.diag_embed(squares).expand(self.count, -1, -1)


class Unstored(Product):
    """A Jacobian J (outer) in a frame S (inner) that nobody stores.

    Fewer rows will meet it than it has, so each row is pulled back by itself.
    """


def compose(outer: LinearOperator, inner: LinearOperator) -> LinearOperator:
    """Return outer · inner, with the columns picked at once where inner only selects.

    An average stays one, with its centre and its units; so it does where inner is not
    stored, and each of its rows is pulled back by itself.
    """
    if isinstance(inner, Selection) and isinstance(outer, Averaged):
        return outer.select(inner.columns, inner.unit)
    if isinstance(inner, Unstored) and isinstance(outer, Averaged):
        return outer.pulled(inner)
    return Product(outer, inner)


def rows_of(operator: LinearOperator, rows: Tensor) -> LinearOperator:
    """Return some of the N matrices of an operator."""
    if isinstance(operator, Product):
        inner = rows_of(operator.inner, rows)
        return replace(operator, outer=rows_of(operator.outer, rows), inner=inner)
    if isinstance(operator, Selection):
        unit = operator.unit if operator.unit.dim() == 1 else operator.unit[rows]
        return replace(operator, unit=unit, count=len(rows))
    if isinstance(operator, Averaged):
        center, beyond = (
            None if values is None else values[rows]
            for values in (operator.center, operator.beyond)
        )
        checks = {name: values[rows] for name, values in operator.checks.items()}
        operator = replace(operator, center=center, beyond=beyond, checks=checks)
    if isinstance(operator, Takes):
        return operator.take(rows)
    if isinstance(operator, Stored):
        return operator.map_entries(lambda entries: entries[rows])
    return Matrix(operator.dense()[rows])
