"""Roots of a Jacobian that is narrow: B (L J_h) as (B L) J_h, of few rows.

J = L J_h passes through a value h of w numbers (`Factored`). With B L [r, w] known, the
products that are left are those with J_h, and a Krylov space is made of vectors of at
most w numbers.

**Rows.** Of B L = C with more rows than columns any R [w, w] with RᵀR = CᵀC is enough:
A = R J_h has the same AᵀA. It is that of C = Q R, or, of very tall C, √Λ Vᵀ of
CᵀC = V Λ Vᵀ, which takes a third of the time. Computed so, RᵀR is off by a multiple of
w 2⁻⁵³ ‖C‖². Entries of C that are off by 2⁻²⁴ relative, as single precision makes
them, change CᵀC by 2⁻²³ ‖C‖² already: there it is nothing, and there alone it is done.

Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), 3.5 and 19.3, for
both errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from audit.linalg.matrix_free import MatrixFree
from audit.linalg.operators import Product, rows_of
from audit.linalg.sampled import root_of_square
from audit.linalg.stored import LinearOperator, Matrix
from audit.linalg.wide import columns_gram

_TALL = 8  # times as many rows as columns, from which a square is faster


@runtime_checkable
class Factored(Protocol):
    """An operator that may know itself as a product L · J_h, with L stored."""

    def factors(self) -> tuple[Iterable[Tensor], LinearOperator] | None:
        """Return L and J_h [N, w, columns]; None where no better.

        L comes in parts, the [n, rows, w] of some matrices after those of others.
        """


def regrouped(root: LinearOperator, single: bool = False) -> LinearOperator:
    """Return B (L J_h) as (B L) J_h, with B L stored, where that is to be had.

    Columns that are picked of J are picked of J_h.

    Args:
        root: B J.
        single: whether L and J_h are of single precision.
    """
    if not isinstance(root, Product) or not isinstance(root.inner, MatrixFree):
        return root
    operator = root.inner.operator
    free = operator.outer if isinstance(operator, Product) else operator
    found = free.factors() if isinstance(free, Factored) else None
    if found is None:
        return root
    lefts, inner = found
    if isinstance(operator, Product):
        inner = Product(inner, operator.inner)
    outer = torch.cat(list(_known(root.outer, lefts, single)))
    return Product(Matrix(outer), replace(root.inner, operator=inner))


def _known(
    outer: LinearOperator, lefts: Iterable[Tensor], single: bool
) -> Iterator[Tensor]:
    """Yield B L of some matrices after those of others, or its R."""
    count, last = outer.shape[0], 0
    for left in lefts:
        first, last = last, last + len(left)
        rows = torch.arange(first, last, device=left.device)
        own = outer if len(left) == count else rows_of(outer, rows)
        yield shortened(own.matmat(left), single)


def shortened(c: Tensor, single: bool) -> Tensor:
    """Return R [n, w, w] with RᵀR = CᵀC of C [n, r, w]; C itself of r ≤ w.

    Args:
        c: in float64.
        single: whether its entries come from single precision.
    """
    _, rows, columns = c.shape
    if rows <= columns:
        return c
    if single and rows >= _TALL * columns:
        square = columns_gram(c)
        if bool(torch.isfinite(square.diagonal(dim1=1, dim2=2)).all()):
            return root_of_square(square).entries
    found: Tensor = torch.linalg.qr(c, mode="r").R
    return found
