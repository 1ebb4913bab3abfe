"""Matrices that nobody stores: p and d are both large, and products are all there is.

J v and Jᵀ u each cost a pass of a network, J itself p of them and p · d numbers. What
has to be known of J is then found from random vectors, keyed by the input, so that no
number depends on which inputs are measured together.

Which rows of J are zero: with g normal, (J g)_i = 0 has probability zero unless row i
is, and exactly zero rows give exact zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from torch import Tensor

from audit.ground.errors import ConfigError
from audit.linalg.operators import Product
from audit.linalg.stored import LinearOperator, Wrapped

Draw = Callable[[int, int, int], Tensor]
"""(size, columns, stream) -> independent normal numbers [N, size, columns]."""
START, PROBES, MOVES = 0, 1, 2
"""Streams: where a Krylov space starts, what a trace is probed with, which rows move.
"""
_TRIES = 2  # random vectors that tell whether a row is zero


@dataclass(frozen=True)
class MatrixFree(Wrapped):
    """N matrices that are known by their products alone.

    Args:
        operator: gives the products.
        draw: random numbers keyed by the inputs.
    """

    draw: Draw

    def dense(self) -> Tensor:
        """Refuse.

        Raises:
            ConfigError: always: nobody stores it.
        """
        raise _not_stored(self.shape)

    def gram(self) -> Tensor:
        """Refuse.

        Raises:
            ConfigError: always: it takes all of the matrix.
        """
        raise _not_stored(self.shape)

    def moves(self) -> Tensor:
        """Return which rows [N, rows] are not zero."""
        moved = self.matmat(self.draw(self.shape[2], _TRIES, MOVES))
        return moved.abs().amax(dim=2) > 0

    def take(self, rows: Tensor) -> MatrixFree:
        """Return some of the matrices."""
        draw = self.draw

        def taken(size: int, columns: int, stream: int) -> Tensor:
            return draw(size, columns, stream)[rows]

        return replace(self, operator=_Some(self.operator, rows), draw=taken)


@dataclass(frozen=True)
class _Some:
    """Some of the N matrices of an operator, which multiplies all of them at once.

    A matrix that is taken several times gets the vectors of all its copies.
    """

    whole: LinearOperator
    rows: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(how many were taken, rows, columns)."""
        _, height, width = self.whole.shape
        return len(self.rows), height, width

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        return self._apply(self.whole.matmat, vectors)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U."""
        return self._apply(self.whole.rmatmat, vectors)

    def dense(self) -> Tensor:
        """Return A."""
        return self.whole.dense()[self.rows]

    def gram(self) -> Tensor:
        """Return A Aᵀ."""
        return self.whole.gram()[self.rows]

    def _apply(self, product: Callable[[Tensor], Tensor], vectors: Tensor) -> Tensor:
        taken, size, columns = vectors.shape
        if not taken:
            height = product(vectors.new_zeros(self.whole.shape[0], size, 1)).shape[1]
            return vectors.new_zeros(0, height, columns)
        same = self.rows.unsqueeze(0) == self.rows.unsqueeze(1)
        copy = same.tril(diagonal=-1).sum(dim=1)  # which copy of its matrix each is
        copies = int(copy.max()) + 1
        placed = vectors.new_zeros(self.whole.shape[0], copies, columns, size)
        placed[self.rows, copy] = vectors.mT
        found = product(placed.flatten(1, 2).mT)
        parts = found.mT.reshape(len(found), copies, columns, -1)
        return parts[self.rows, copy].mT


@runtime_checkable
class Blocked(Protocol):
    """An operator whose product with several vectors takes scarcely longer than one."""

    block: int
    """How many vectors are best multiplied together."""


def block_of(root: LinearOperator, usual: int) -> int:
    """Return how many vectors a root's products are best made of."""
    free = free_part(root)
    if free is None:
        return usual
    operator = free.operator
    inner = operator.outer if isinstance(operator, Product) else operator
    return inner.block if isinstance(inner, Blocked) else usual


def free_part(root: LinearOperator) -> MatrixFree | None:
    """Return the factor of a root that is not stored; None if every one is."""
    inner = root.inner if isinstance(root, Product) else root
    return inner if isinstance(inner, MatrixFree) else None


def _not_stored(shape: tuple[int, int, int]) -> ConfigError:
    _, rows, columns = shape
    return ConfigError(
        f"All {rows:,} × {columns:,} entries of a derivative were asked for, which is "
        "known by its products with vectors alone (--method krylov)",
        "Expected a question that products answer: trace, leading eigenvalues and "
        "directions",
        "Leave the question out, or pass --method dense with --memory to match",
    )
