"""When a search ends: its pairs have settled, or nothing can have escaped it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.linalg.krylov.escape import Escape, lift
from audit.linalg.krylov.ritz import SETTLED, RitzPairs
from audit.linalg.krylov.space import Space

ESCAPED = 1e-3  # the probability of missing an eigenvalue that a search may leave
_LEAST = 12  # products before anything counts as settled
_BESIDE = 6  # products with a fresh vector, at the least, where that is not known


@dataclass
class Settling:
    """A search until k pairs have settled, or the products are used up.

    Args:
        count: k.
        block: vectors of a step.
        left: products that each input may still make [N].
    """

    count: int
    block: int
    left: Tensor

    def stops(self, space: Space, residuals: Tensor, going: Tensor) -> Tensor:
        """Return where all have settled, or no products are left [N]."""
        self.left = self.left - self.block * going
        enough = space.rank >= min(max(_LEAST, self.count), space.q.shape[1])
        settled = (residuals <= SETTLED).all(dim=1)
        return (enough & settled) | (self.left < self.block)

    def shrinks(self, space: Space, kept: int) -> None:
        """It does not matter."""


@dataclass
class Beside:
    """A search with a fresh vector beside spaces whose pairs have settled.

    It ends when an eigenvalue as large as the smallest pair's can have escaped it with
    a probability of at most `ESCAPED`, or else after as many steps as the first search
    made. Where vectors of a space are dropped the next one is not orthogonal to them:
    from there on steps are none of Lanczos, and tell nothing more.

    Args:
        escape: what may have escaped it.
        most: steps [N].
        dropped: where vectors were [N].
        steps: that were made.
    """

    escape: Escape
    most: Tensor
    dropped: Tensor
    steps: int = field(default=0)

    @classmethod
    def of(cls, found: RitzPairs, first: Tensor, block: int) -> Beside:
        """Return the rule beside some pairs.

        Args:
            found: the pairs.
            first: vectors that the first search multiplied [N].
            block: so many in a step.
        """
        least = torch.maximum(found.values[:, -1], SETTLED * found.values[:, 0])
        values, y = found.space.pairs()
        residuals = found.space.residuals(values, y)
        open_ = torch.where(residuals > SETTLED, residuals, 0.0)
        apart = (least - lift(least, values, open_)).clamp_min(0)
        size = found.space.q.shape[1] - found.space.filled
        most = (first / block).clamp_min(_BESIDE)
        return cls(Escape.of(apart, size), most, size < 0)

    def stops(self, space: Space, residuals: Tensor, going: Tensor) -> Tensor:
        """Take in the newest column; return where enough was seen [N]."""
        self.steps += 1
        along, beside = space.t[:, -1, -1], space.left[:, :, 0].norm(dim=1)
        self.escape = self.escape.stepped(along, beside, going & ~self.dropped)
        return (self.escape.chance <= ESCAPED) | (self.most <= self.steps)

    def shrinks(self, space: Space, kept: int) -> None:
        """Note where more vectors are there than are kept."""
        self.dropped = self.dropped | (space.filled > kept)
