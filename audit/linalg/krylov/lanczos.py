"""Block Lanczos steps of N inputs that are made together, each until its rule stops it.

A step multiplies the newest block by K, takes off what lies in the space already, twice
(full re-orthogonalisation), and makes an orthonormal basis of what is left the next
block. This is Golub-Kahan-Lanczos, since K is applied as A (Aᵀ ·). A basis that is full
is shrunk to its leading Ritz vectors (thick restart); T, being made of explicit
products, stays exact.

An input's pairs are fixed in the step where it stops, and its further vectors are zero:
they are the same bits whatever its neighbours still need.

References:
    Golub & Van Loan, Matrix Computations (2013), sections 10.1-10.4.
    Wu & Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems,
    SIAM J. Matrix Anal. Appl. 22 (2000).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from audit.linalg.krylov.halves import Halves
from audit.linalg.krylov.ritz import KEPT, WIDTH, RitzPairs
from audit.linalg.krylov.space import Side, Space, orthonormal


class Rule(Protocol):
    """When to stop."""

    def stops(self, space: Space, residuals: Tensor, going: Tensor) -> Tensor:
        """Take in a step; return where it is the last [N].

        Args:
            space: after the step.
            residuals: of the leading pairs [N, k or fewer].
            going: where the step was made [N].
        """

    def shrinks(self, space: Space, kept: int) -> None:
        """Take in that only the leading pairs of a space are kept, so many."""


class Lanczos:
    """Steps on one side of the roots of N inputs.

    Args:
        side: K.
        count: k, the leading pairs that are looked at.
    """

    def __init__(self, side: Side, count: int) -> None:
        self._side, self._count = side, count
        self._halves = Halves()

    def from_block(self, space: Space, block: Tensor, rule: Rule) -> RitzPairs:
        """Return the pairs where each input stops.

        Args:
            space: to be grown; it stays as it is.
            block: orthonormal vectors beside the space [N, s, b], the first to be
                multiplied; zero where no step is made.
            rule: that says where to stop.
        """
        space, found = replace(space), None
        while found is None or bool(_there(block).any()):
            going = _there(block)
            self._multiplied(space, block, going)
            values, y = space.pairs()
            residuals = space.residuals(values, y[:, :, : self._count])
            block = orthonormal(space.left, values[:, 0], space.q)
            stops = rule.stops(space, residuals, going)
            done = going & (~_there(block) | space.whole | stops)
            if found is None or bool(done.any()):
                now = RitzPairs.of(space, values, residuals, self._count)
                found = now if found is None else now.where(done, found)
                block = torch.where(done[:, None, None], 0.0, block)
            if space.q.shape[2] + block.shape[2] > WIDTH:
                rule.shrinks(space, KEPT)
                space.shrink(values, y, KEPT)
        return found

    def lifted(self, found: RitzPairs, top: int) -> Tensor:
        """Return the `top` eigenvectors of AᵀA [N, d, top], of any length."""
        ritz = found.vectors[:, :, :top]
        return self._halves.lifted(self._side, ritz, found.space.rank)

    def _multiplied(self, space: Space, block: Tensor, going: Tensor) -> None:
        """Take a block into a space, and keep the halves of its products."""
        halves = space.widen(self._side, block)
        if self._side.short:
            self._halves.add(block, halves, space.rank[going])


def _there(block: Tensor) -> Tensor:
    """Return where a block has vectors [N]."""
    return (block != 0).flatten(1).any(dim=1)
