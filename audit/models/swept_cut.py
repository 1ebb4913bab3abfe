"""A Jacobian in two factors at the narrow place of its network.

J = L J_h with h the narrowest value on the way: L [p, w] is stored, and products walk
the network as far as h alone. A root B J = (B L) J_h then has a factor of few columns
that is known (`linalg.narrow.Factored`). Worth it where L is no larger than what a
pass has at hand anyway. A network of layers alone that is several times narrower than p
and d is worth more: the w columns of L take one product of matrices, and vectors of w
numbers are what a Krylov space is made of, not of min(p, d). Such an L is large, so it
is made for a few inputs at a time, and only its triangle is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.sweep import Linear, Way
from audit.importer.sweep.cut import Cut
from audit.linalg.stored import Matrix

_SMALL = 1e-12  # of a largest entry, that is brought to one
_BLOCK = 5  # vectors, where several are scarcely dearer than one
_NARROWER, _WIDEST = 4, 256  # than p and d, by which layers are cut, and to what width
_LEFT = 2**23
"""Numbers of L, at one input or at those whose L are made together."""
_COPIES = 3  # of L: itself, the root's product with it, its triangle
_TOGETHER = 2**24
"""Bytes of the widest cotangents that go together: longer ones are memory that the
system hands out anew, page by page, at every step."""


@dataclass(frozen=True)
class Hidden:
    """J_h [N, w, d] by rules, in the network's own type.

    Args:
        linear: the graph at the inputs.
        cut: h.
        x: the inputs [N, d].
    """

    linear: Linear
    cut: Cut
    x: Tensor

    @property
    def block(self) -> int:
        """How many vectors are best multiplied together."""
        return block_of(self.linear.way)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, w, d)."""
        n, d = self.x.shape
        return n, self.cut.width, d

    def rmatmat(self, vectors: Tensor) -> Tensor:
        """Return J_hᵀ U [N, d, K]: in float64 where no other type has such numbers."""
        unit, length = sized(vectors.mT)
        own = unit.to(self.x.dtype)
        found = self.x.new_empty(*own.shape[:2], self.x.shape[1])
        for part in self._parts(own.shape[1]):
            self.cut.pulled(self.linear, own[:, part], found[:, part])
        return (found if length is None else found * length).mT

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return J_h V [N, w, K] in float64."""
        unit, length = sized(vectors.mT)
        own = unit.to(self.x.dtype)
        found = unit.new_empty(*own.shape[:2], self.cut.width, dtype=torch.float64)
        for part in self._parts(own.shape[1]):
            found[:, part] = self.cut.pushed(self.linear, own[:, part])
        return (found if length is None else found * length).mT

    def dense(self) -> Tensor:
        """Return J_h, by a pass for each of its rows."""
        n, w, _ = self.shape
        return self.rmatmat(torch.eye(w).to(self.x).expand(n, w, w)).mT.double()

    def gram(self) -> Tensor:
        """Return J_h J_hᵀ."""
        return Matrix(self.dense()).gram()

    def _parts(self, columns: int) -> list[slice]:
        """Return which columns go together: a matter of shapes alone."""
        return together(len(self.x) * self.linear.way.widest, self.x.dtype, columns)


def is_worth(way: Way, width: int, p: int, d: int) -> bool:
    """Tell whether L [p, w] is worth being stored."""
    if width >= min(p, d):
        return False
    few = width <= min(_WIDEST, min(p, d) // _NARROWER) and p * width <= _LEFT
    return p * width <= way.widest or (few and way.is_layers)


def left_bytes(p: int, d: int) -> int:
    """Return the bytes that L [p, w] and its copies take at the most."""
    width = min(_WIDEST, min(p, d) // _NARROWER)
    return 8 * _COPIES * min(p * width, _LEFT)


def apart(inputs: int, numbers: int) -> list[slice]:
    """Return which inputs go together, with so many numbers of L each."""
    each = max(1, _LEFT // numbers)
    firsts = range(0, inputs, each)
    return [slice(first, min(first + each, inputs)) for first in firsts]


def block_of(way: Way) -> int:
    """Return how many vectors an input's are best multiplied together.

    Layers take the time that their weights take to be read; images have much to do for
    each weight, and several vectors take several times as long.
    """
    return 1 if way.has_images else _BLOCK


def together(numbers: int, dtype: torch.dtype, columns: int) -> list[slice]:
    """Return which columns, of so many numbers each, are multiplied together."""
    each = max(1, _TOGETHER // max(1, numbers * dtype.itemsize))
    firsts = range(0, columns, each)
    return [slice(first, min(first + each, columns)) for first in firsts]


def sized(vectors: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return vectors [N, K, m] in the range of float32, and what they were times.

    Those whose largest entry is far from one are divided by it; zeros stay, and so does
    what is no number. None where there are none.
    """
    ends = vectors.amax(dim=2, keepdim=True), -vectors.amin(dim=2, keepdim=True)
    largest = torch.maximum(*ends)  # many times faster than the norm that it is
    near = (largest <= 1 / _SMALL) & (largest >= _SMALL)
    far = (largest > 0) & torch.isfinite(largest) & ~near
    if not bool(far.any()):
        return vectors, None
    length = torch.where(far, largest, 1.0)
    return vectors / length, length
