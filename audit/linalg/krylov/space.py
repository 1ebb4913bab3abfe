"""A Krylov space of N inputs, and how it grows.

With K one of A Aᵀ and AᵀA, Q an orthonormal basis and T = QᵀK Q,

    K Q = Q T + L C + W Eᵀ,

where W is what the newest block leaves beside the space, E its columns, and L what
blocks before left there that nobody went on with, C where these are. For T y = θ y the
residual K (Q y) − θ Q y = (L C + W Eᵀ) y is computed and not estimated. A block that is
new takes its own part off L: what it spans is in the space then.

Columns that an input has no use for are zero. Spaces of all inputs have the same shape,
and what one input has there does not depend on the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from audit.linalg.operators import Product
from audit.linalg.stored import LinearOperator, Matrix

_NOTHING = 1e-11  # of the largest θ: a new column that is shorter is none


@dataclass(frozen=True)
class Side:
    """K = A Aᵀ or AᵀA, whichever is smaller."""

    root: LinearOperator

    @property
    def short(self) -> bool:
        """Whether A has no more rows than columns."""
        return self.root.shape[1] <= self.root.shape[2]

    @property
    def size(self) -> int:
        """The side s of K."""
        return min(self.root.shape[1:])

    def half(self, vectors: Tensor) -> Tensor:
        """Return Aᵀ U or A V, whose squared lengths are those of the form K."""
        return (self.root.rmatmat if self.short else self.root.matmat)(vectors)

    def back(self, halves: Tensor) -> Tensor:
        """Return K U or K V from what `half` gave."""
        return (self.root.matmat if self.short else self.root.rmatmat)(halves)

    @property
    def stored(self) -> Matrix | None:
        """H where A = H J has no more rows than columns, and H is stored."""
        root = self.root
        if not (self.short and isinstance(root, Product)):
            return None
        return root.outer if isinstance(root.outer, Matrix) else None

    def leaning(self, vectors: Tensor) -> Tensor:
        """Return H Hᵀ U [N, s, b], of unit length, where A = H J with H stored.

        It costs no product, and leans towards the leading eigenvectors.
        """
        outer = self.stored
        if outer is None:
            return vectors
        leant = outer.matmat(outer.rmatmat(vectors))
        length = leant.norm(dim=1, keepdim=True)
        usable = (length > 0) & torch.isfinite(length)
        return torch.where(usable, leant / torch.where(usable, length, 1.0), vectors)

    def lifted(self, vectors: Tensor) -> Tensor:
        """Return eigenvectors of AᵀA [N, d, k], of any length, from those of K."""
        return self.root.rmatmat(vectors) if self.short else vectors


@dataclass
class Space:
    """A Krylov space of N inputs as it grows.

    Shapes: q [N, s, M], orthonormal or zero columns; t = qᵀ K q [N, M, M]; left, W
        [N, s, b]; parked, L [N, s, l]; share, C [N, l, M]; rank, the columns of q that
        are not zero, or were not before it was shrunk [N]; parted, by how much A and Aᵀ
        part over the largest entry of T, NaN where a product was no number [N].
    """

    q: Tensor
    t: Tensor
    left: Tensor
    parked: Tensor
    share: Tensor
    rank: Tensor
    parted: Tensor

    @classmethod
    def empty(cls, count: int, size: int, like: Tensor) -> Space:
        """Return the space of nothing."""
        none, matrix = like.new_zeros(count, size, 0), like.new_zeros(count, 0, 0)
        zero = like.new_zeros(count)
        return cls(none, matrix, none, none, matrix, zero, zero)

    @property
    def whole(self) -> Tensor:
        """Where it is all there is, and nothing of it was dropped [N]."""
        size = self.q.shape[1]
        return (self.rank >= size) & (self.q.shape[2] >= size)

    @property
    def filled(self) -> Tensor:
        """The columns of q that are not zero now [N]."""
        return (self.q != 0).any(dim=1).sum(dim=1)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues [N, M] of T, the largest first, and its vectors."""
        values, vectors = torch.linalg.eigh(self.t)
        return values.clamp_min(0).flip(-1), vectors.flip(-1)

    def residuals(self, values: Tensor, vectors: Tensor) -> Tensor:
        """Return ‖K Q y − θ Q y‖ / θ₁ [N, k], with `parted`, for k eigenpairs of T."""
        last = vectors[:, vectors.shape[1] - self.left.shape[2] :]
        beside = self.left @ last + self.parked @ (self.share @ vectors)
        length, largest = beside.norm(dim=1), values[:, :1]
        relative = torch.where(largest > 0, length / largest, length)
        return relative + self.parted.unsqueeze(1)

    def widen(self, side: Side, new: Tensor) -> Tensor:
        """Multiply a block [N, s, b] by K, and take it into the space.

        Returns:
            Half of the product, Aᵀ U or A V.
        """
        block = new.shape[2]
        halves = side.half(new)
        w = side.back(halves)
        broken = ~torch.isfinite(w).flatten(1).all(dim=1)
        w = torch.where(broken[:, None, None], 0.0, w)
        self.parked = self.parked - new @ (new.mT @ self.parked)
        self.share = functional.pad(self.share, (0, block))
        self.q = torch.cat([self.q, new], dim=2)
        self.rank = self.rank + (new != 0).any(dim=1).sum(dim=1)
        along = self.q.mT @ w
        w = w - self.q @ along
        again = self.q.mT @ w
        self.left, along = w - self.q @ again, along + again
        self.t = _bordered(self.t, along)
        squares = torch.linalg.vector_norm(halves, dim=1, dtype=w.dtype).square()
        rayleigh = along[:, -block:].diagonal(dim1=1, dim2=2)
        apart = (rayleigh - squares).norm(dim=1)
        size = self.t.abs().amax(dim=(1, 2))
        parted = torch.where(size > 0, apart / size, apart)
        parted = torch.where(broken, torch.nan, parted)
        self.parked = torch.where(broken[:, None, None], 0.0, self.parked)
        self.parted = torch.maximum(self.parted, parted)
        return halves

    def shrink(self, values: Tensor, vectors: Tensor, kept: int) -> None:
        """Keep the leading Ritz vectors; T is their eigenvalues."""
        leading = vectors[:, :, :kept]
        self.q, self.share = self.q @ leading, self.share @ leading
        self.t = torch.diag_embed(values[:, :kept])

    def park(self, columns: int) -> Space:
        """Return the space at rest, with so many columns: its leading ones, or zeros.

        Nobody goes on with what is left, unless it is taken up again.
        """
        block, more = self.left.shape[2], columns - self.q.shape[2]
        own = torch.eye(block).to(self.t).expand(len(self.t), -1, -1)
        own = functional.pad(own, (self.q.shape[2] - block, 0))
        rest = replace(
            self,
            left=self.left[:, :, :0],
            parked=torch.cat([self.parked, self.left], dim=2),
            share=torch.cat([self.share, own], dim=1),
        )
        if more < 0:
            rest.shrink(*self.pairs(), columns)
        else:
            rest.q = functional.pad(rest.q, (0, more))
            rest.t = functional.pad(rest.t, (0, more, 0, more))
            rest.share = functional.pad(rest.share, (0, more))
        return rest

    def where(self, rows: Tensor, other: Space) -> Space:
        """Return this space at rest at some inputs [N], and the other at the others.

        Where less is parked in the other, the rest is nothing.
        """
        less = self.parked.shape[2] - other.parked.shape[2]
        other = replace(
            other,
            parked=functional.pad(other.parked, (0, less)),
            share=functional.pad(other.share, (0, 0, 0, less)),
        )

        def chosen(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(rows.reshape(-1, *(1,) * (new.dim() - 1)), new, old)

        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Space(*(chosen(new, old) for new, old in pairs))

    def beside(self, vectors: Tensor) -> Tensor:
        """Return vectors [N, s, K] without their part in the space."""
        for _ in range(2):
            vectors = vectors - self.q @ (self.q.mT @ vectors)
        return vectors


def _bordered(t: Tensor, along: Tensor) -> Tensor:
    """Return T [N, M, M] with the columns QᵀK q of a new block, symmetric."""
    n, total, block = along.shape
    whole = t.new_zeros(n, total, total)
    before = total - block
    whole[:, :before, :before] = t
    whole[:, :before, before:] = along[:, :before]
    whole[:, before:, :before] = along[:, :before].mT
    corner = along[:, before:]
    whole[:, before:, before:] = (corner + corner.mT) / 2
    return whole


def orthonormal(w: Tensor, largest: Tensor, before: Tensor) -> Tensor:
    """Return an orthonormal basis [N, s, b] of columns that are beside a space.

    A direction of w that is rounding, beside the largest θ [N], becomes a zero column.
    Lengths are taken of w V, V the eigenvectors of wᵀw: its eigenvalues are squares,
    and hold half the digits.
    """
    turned = w
    if w.shape[2] > 1:
        turned = w @ torch.linalg.eigh(w.mT @ w).eigenvectors.flip(-1)
    length = turned.norm(dim=1)
    kept = length > _NOTHING * largest.unsqueeze(1)
    scale = torch.where(kept, 1 / torch.where(kept, length, 1.0), 0.0)
    fresh = turned * scale.unsqueeze(1)
    fresh = fresh - before @ (before.mT @ fresh)
    return _polished(fresh, kept)


def _polished(fresh: Tensor, kept: Tensor) -> Tensor:
    """Return nearly orthonormal columns, made so by Gram-Schmidt, done twice."""
    done: list[Tensor] = []
    for column, there in zip(fresh.unbind(dim=2), kept.unbind(dim=1), strict=True):
        own = column
        for other in (*done, *done):
            own = own - other * (other * own).sum(dim=1, keepdim=True)
        length = own.norm(dim=1, keepdim=True)
        sound = there.unsqueeze(1) & (length > 0)
        done.append(torch.where(sound, own / length, 0.0))
    return torch.stack(done, dim=2)
