"""Batches of N matrices that are stored, as they are or with a diagonal beside them.

What every operator answers stands here too: `LinearOperator`. Products with entries in
float32 are of float64, by parts (`wide`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from audit.linalg.wide import by_parts, cached_parts, columns_gram, square

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
class Wrapped:
    """What has the products of an operator, and knows something beside it."""

    operator: LinearOperator

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, rows, columns)."""
        return self.operator.shape

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return A V."""
        return self.operator.matmat(vectors)

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U."""
        return self.operator.rmatmat(vectors)


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
        return self._by_parts(square)

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

    def total_square(self, weights: Tensor) -> Tensor:
        """Return Σ_i Aᵀ W² A [columns, columns], W diagonal [N, rows] in float64."""
        columns = self.entries.shape[2]
        total = weights.new_zeros(columns, columns)
        for at in cached_parts(self.entries):
            rows = (self._part(at) * weights[at].unsqueeze(-1)).reshape(1, -1, columns)
            total += columns_gram(rows)[0]
        return total

    def _part(self, at: slice) -> Tensor:
        """Return some of the matrices in float64."""
        return self.entries[at].double()

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

    def _part(self, at: slice) -> Tensor:
        return self.entries[at] * self.scale[at].unsqueeze(-1)

    def take(self, rows: Tensor) -> Scaled:
        """Return some of the matrices."""
        return Scaled(self.entries[rows], self.scale[rows])

    @cached_property
    def _gram(self) -> Tensor:
        own = self._by_parts(square)
        return own.mul_(self.scale.unsqueeze(-1)).mul_(self.scale.unsqueeze(-2))

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
