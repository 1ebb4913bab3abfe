"""The mean of G over the inputs: what one δ costs that is the same for all of them.

    Ḡ = (1/N) Σ_i G_i,      universality = λ_max(Ḡ) / mean λ_max(G_i)  in (0, 1]

Its top eigenvector v̄ is the universal direction (an instrument's bias, say); λ_max is
convex, so the ratio is at most 1, and it is 1 where one direction is the worst for
every input (Jensen). For a sampled G both are taken of the same draws.

G is added up as it comes, block by block. A block's sum does not depend on how blocks
are shared among jobs; sums of blocks are kept with what rounding dropped (Knuth's
two-sum), so the order in which jobs come back does not show in the 16 digits of the
total.

Source: Knuth, The Art of Computer Programming 2 (1997), section 4.2.2, theorem B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.linalg.averaged import Sampled
from audit.linalg.operators import Diagonal, Product
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix
from audit.measure.columns import Found
from audit.reports.values import Floats

MOST_FEATURES = 1024
"""A matrix of more rows is not kept: 8 MB each, and one for each part of a run."""


@dataclass(frozen=True)
class MeanForm:
    """The sum of the forms of some inputs, without c.

    Args:
        n: inputs whose form is finite. left_out: the others.
        matrix: Σ G [2, m, m] of the free features, the sum and what rounding dropped;
            [2, 0, 0] where there are more than `MOST_FEATURES`, or none is stored.
        top: Σ λ_max(G) [2], alike.
    """

    n: int
    left_out: int
    matrix: Floats
    top: Floats

    def __add__(self, other: MeanForm) -> MeanForm:
        return MeanForm(
            self.n + other.n,
            self.left_out + other.left_out,
            _sum(self.matrix, other.matrix),
            _sum(self.top, other.top),
        )

    @property
    def kept(self) -> bool:
        """Whether there is a matrix, and an input in it."""
        return self.n > 0 and self.matrix.size > 0

    def universal(self) -> tuple[Floats, float, float]:
        """Return v̄ [m], λ_max(Ḡ) and the mean of λ_max(G).

        The largest entry of v̄ is positive.
        """
        mean = self.matrix.sum(axis=0) / self.n
        values, vectors = np.linalg.eigh((mean + mean.T) / 2)
        v = vectors[:, -1] * np.sign(vectors[np.abs(vectors[:, -1]).argmax(), -1])
        return v, float(max(values[-1], 0.0)), float(self.top.sum() / self.n)

    def plain(self) -> dict[str, Any]:
        """Return arrays and numbers, as a part file keeps them."""
        return dict(vars(self))

    @classmethod
    def from_plain(cls, kept: Mapping[str, Any]) -> MeanForm:
        """Return what `plain` gave."""
        return cls(**kept)


def summed(parts: Sequence[MeanForm]) -> MeanForm:
    """Return the sum of one or more."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _sum(left: Floats, right: Floats) -> Floats:
    """Return left + right, each a number and what it leaves out, along axis 0."""
    a, b, found = left[:1], right[:1], np.empty_like(left)
    high = a + b
    virtual = high - a
    dropped = (a - (high - virtual)) + (b - virtual) + left[1:] + right[1:]
    whole = np.add(high, dropped, out=found[:1])
    np.subtract(dropped, whole - high, out=found[1:])
    return found


def means_of(
    found: Mapping[str, Found], kept: NDArray[np.intp], matrix_free: bool = False
) -> dict[str, MeanForm]:
    """Return the sums of the forms of some rows of a block, by divergence.

    Args:
        found: the forms.
        kept: rows of the block.
        matrix_free: whether a form is known by products, and has no matrix to add up.
    """
    return {name: _mean(one, kept, matrix_free) for name, one in found.items()}


def _mean(found: Found, kept: NDArray[np.intp], matrix_free: bool) -> MeanForm:
    trace = found.spectrum.trace.value
    rows = torch.from_numpy(kept).to(trace.device)
    rows = rows[torch.isfinite(trace[rows])]
    m = found.form.root.shape[2]
    top = np.array([float(found.spectrum.eigenvalues[rows, 0].sum()), 0.0])
    stored = m <= MOST_FEATURES and not matrix_free
    side = m if stored else 0
    matrix = np.zeros((2, side, side))
    if stored and len(rows):
        whole = len(rows) == len(trace)
        form = found.form if whole or _squared(found.form) else found.form.take(rows)
        matrix[0] = _gram_sum(form, rows).cpu().numpy()
    return MeanForm(len(rows), len(kept) - len(rows), matrix, top)


def _squared(form: QuadraticForm) -> bool:
    """Whether the form's BᵀB is known already, and is all that is summed."""
    root = form.root
    return isinstance(root, Sampled) and root.is_tall


def _gram_sum(form: QuadraticForm, rows: Tensor) -> Tensor:
    """Return Σ_i A_iᵀ A_i [m, m], by way of BᵀB where a root has many rows.

    Args:
        form: of the inputs, or of more where its squares are known.
        rows: the inputs among these.
    """
    root = form.root
    if isinstance(root, Sampled) and root.is_tall:
        return root.square[rows].sum(dim=0)
    if isinstance(root, Product):
        outer, inner = root.outer, root.inner
        if isinstance(outer, Diagonal) and isinstance(inner, Matrix):
            return inner.total_square(outer.entries)
        if outer.shape[1] > outer.shape[2]:
            factor, jacobian = outer.dense(), inner.dense()
            right = factor.mT @ (factor @ jacobian)
            return jacobian.flatten(0, 1).mT @ right.flatten(0, 1)
    each = root.dense().flatten(0, 1)
    return each.mT @ each
