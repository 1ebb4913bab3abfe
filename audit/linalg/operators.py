"""Batches of N matrices, known by what they do to vectors.

A root B of a metric tensor (Bᵀ B = G) is rarely worth storing: it is diagonal, or
one small block for each coordinate, or a product with a Jacobian. All of these answer
the same four questions. `gram` is A Aᵀ, on the side of the rows: the nonzero
eigenvalues of AᵀA are those of A Aᵀ, and rows (parameters) are fewer than columns
(input features) in almost every audit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from audit.linalg.wide import by_parts

_LARGEST_SQUARE = 256
"""Columns: three squares of more would take more memory than the rows."""


_SAFE = 1e100
"""Of a diagonal: times any number of float32 it is finite in float64."""


class LinearOperator(Protocol):
    """N real matrices of the same shape."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, rows, columns)."""

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V: [N, columns, K] -> [N, rows, K]."""

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U: [N, rows, K] -> [N, columns, K]."""

    def dense(self) -> Tensor:
        """Return A [N, rows, columns]."""

    def gram(self) -> Tensor:
        """Return A Aᵀ [N, rows, rows]."""


@runtime_checkable
class Stored(Protocol):
    """An operator that is known by entries of its own, the N matrices along axis 0."""

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> LinearOperator:
        """Return the operator with its entries changed, whatever its structure."""


@runtime_checkable
class Takes(Protocol):
    """An operator that gives some of its N matrices itself."""

    def take(self, rows: Tensor) -> LinearOperator:
        """Return some of the N matrices."""


@dataclass(frozen=True)
class Matrix:
    """Stored entries [N, rows, columns]: float64, or float32 with float64 products."""

    entries: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, rows, columns)."""
        n, rows, columns = self.entries.shape
        return n, rows, columns

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        return self._by_parts(torch.matmul, vectors)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U, as (Uᵀ A)ᵀ: A is read along its rows."""
        return self._by_parts(lambda a, u: u.mT @ a, vectors).mT

    def dense(self) -> Tensor:
        """Return the entries in float64."""
        return self.entries.double()

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the matrices with their entries changed."""
        return replace(self, entries=change(self.entries))

    @cached_property
    def _gram(self) -> Tensor:
        return self._by_parts(lambda a: a @ a.mT)

    def _by_parts(self, function: Callable[..., Tensor], *others: Tensor) -> Tensor:
        return by_parts(function, self.entries, *others)

    def finite(self) -> Tensor:
        """Return where all entries are finite [N]: their largest is."""
        if _surely_finite(self.entries):
            return torch.ones(
                len(self.entries), dtype=torch.bool, device=self.entries.device
            )
        largest = torch.linalg.vector_norm(self.entries, torch.inf, dim=(1, 2))
        return torch.isfinite(largest)

    def gram(self) -> Tensor:
        """Return A Aᵀ, computed once."""
        return self._gram

    @cached_property
    def _known(self) -> dict[str, Tensor]:
        return {}

    def remembered(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Return what is made of the entries, made once: several laws ask one map."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]


@dataclass(frozen=True)
class Scaled(Matrix):
    """Matrices D A with D diagonal in float64 and A stored, often in float32.

    The product is of float64, also where float32 has no such number. D goes to the
    small side: D A V = D (A V), (D A)ᵀ U = Aᵀ (D U) and D A Aᵀ D, whose entries are
    finite wherever those of D A have finite squares.

    Args:
        scale: the diagonal [N, rows].
    """

    scale: Tensor

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return D (A V)."""
        return super().matmat(vectors) * self.scale.unsqueeze(-1)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ (D U)."""
        return super().rmatmat(vectors * self.scale.unsqueeze(-1))

    def dense(self) -> Tensor:
        """Return D A in float64."""
        return self.entries * self.scale.unsqueeze(-1)

    def map_entries(self, change: Callable[[Tensor], Tensor]) -> Matrix:  # type: ignore[override]
        """Return the matrices D A with their entries changed."""
        return Matrix(change(self.dense()))

    def take(self, rows: Tensor) -> Scaled:
        """Return some of the matrices."""
        return Scaled(self.entries[rows], self.scale[rows])

    @cached_property
    def _gram(self) -> Tensor:
        own = self._by_parts(lambda a: a @ a.mT)
        return own * self.scale.unsqueeze(-1) * self.scale.unsqueeze(-2)

    def finite(self) -> Tensor:
        """Return where all entries of D A are finite [N]."""
        single = self.entries.dtype == torch.float32
        if single and bool((self.scale.abs() < _SAFE).all()):
            return Matrix(self.entries).finite()
        largest = torch.linalg.vector_norm(self.entries, torch.inf, dim=2)
        return torch.isfinite(largest * self.scale).all(dim=1)


def _surely_finite(entries: Tensor) -> bool:
    """Whether a sum over all entries is finite: then so are they.

    A sum may overflow where no entry does: then they are looked at one by one. It is
    many times faster than a look at each.
    """
    return bool(torch.isfinite(entries.sum()))


@dataclass(frozen=True)
class Averaged(Matrix):
    """A root that is an average: AᵀA = Σ_s w_s s_s s_sᵀ over nodes s with weights w_s.

    Args:
        entries: rows √w_s s_s [N, S, columns].
        center: what was subtracted from every s_s [N, columns]; None if nothing was.
        checks: what was found while averaging, by name, each [N].
        beyond: [N], see `Bounded`; None where every entry is a number.
    """

    center: Tensor | None = None
    checks: Mapping[str, Tensor] = field(default_factory=dict)
    beyond: Tensor | None = None

    def without(self, beyond: Tensor) -> Self:
        """Return the average with what its entries, now numbers, leave out."""
        center = self.center
        if center is not None:
            center = torch.where(torch.isfinite(center), center, 0.0)
        return replace(self, center=center, beyond=beyond)

    def select(self, columns: Tensor, unit: Tensor) -> Self:
        """Return A S for the columns that S keeps, each times its unit."""
        whole = len(columns) == self.entries.shape[2]
        if whole and bool((unit == 1).all()):
            return self
        center = None if self.center is None else self.center[:, columns] * unit
        entries = self.entries[:, :, columns] * unit.unsqueeze(-2)
        return replace(self, entries=entries, center=center)

    def pulled(self, inner: LinearOperator) -> Self:
        """Return A times another operator, row by row, with the rows stored."""
        center = self.center
        if center is not None:
            center = inner.rmatmat(center.unsqueeze(-1)).squeeze(-1)
        rows = inner.rmatmat(self.dense().mT).mT
        return replace(self, entries=rows, center=center)


@dataclass(frozen=True)
class Sampled(Averaged):
    """An average over random draws: what is computed from it has a standard error.

    Every draw has the weight one over their number. Draws come in units that are
    independent of each other, and so can be split in halves: single draws, antithetic
    pairs, the points of one randomised net, the batches of a chain.

    Args:
        draw: rows of one draw, e.g. the coordinates of θ.
        unit: draws of one unit; they follow each other.
    """

    draw: int = 1
    unit: int = 1

    @property
    def draws(self) -> int:
        """The number of draws, S."""
        return self.entries.shape[1] // self.draw

    @property
    def group(self) -> int:
        """The number of rows of a unit."""
        return self.draw * self.unit

    @property
    def units(self) -> Tensor:
        """The rows by their units [N, U, group, p]."""
        n, rows, p = self.entries.shape
        return self.entries.reshape(n, rows // self.group, self.group, p)

    def half(self, first: int) -> Tensor:
        """Return every other unit [N, U / 2, group, p], from one of the two on."""
        return self.units[:, first::2]

    @property
    def is_tall(self) -> bool:
        """Whether each half has more rows than columns, so that squares are smaller."""
        rows, columns = self.units.shape[1] // 2 * self.group, self.entries.shape[2]
        return columns < rows and columns <= _LARGEST_SQUARE

    @property
    def squares(self) -> Tensor:
        """Σ b bᵀ over the rows b of either half of the units [N, 2, p, p]."""

        def made() -> Tensor:
            halves = (by_parts(_square, self.half(first)) for first in (0, 1))
            return torch.stack([*halves], dim=1)

        return self.remembered("squares", made)

    @property
    def square(self) -> Tensor:
        """BᵀB [N, p, p]."""
        return self.remembered("square", lambda: self.squares.sum(dim=1))


def _square(units: Tensor) -> Tensor:
    """Return Σ b bᵀ [n, p, p] over the rows of units [n, U, group, p]."""
    rows = units.flatten(1, 2)
    return rows.mT @ rows


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
