"""Leading eigenpairs and trace of G = AᵀA from products with A and Aᵀ alone.

**Krylov.** On the smaller side, K = A Aᵀ (r ≤ d) or AᵀA [s, s], a space grows from a
block of random vectors by block Lanczos steps (`lanczos`). The block is one vector, or
as many as a product takes scarcely longer for (`block_of`). Residuals are computed, and
not estimated (`ritz`).

**What was missed.** A residual says that θ is near an eigenvalue, not that no larger
one was missed. Of an eigenvalue that is there m times a single start finds one copy:
the part of the start in its eigenspace. So the search goes on beside the space once the
asked pairs have settled: a fresh random vector g, without its part in it, is multiplied
in its turn. There the eigenvalues that were found are zero, and a missed one stands
out. Ritz values of the joint space show it, being never above an eigenvalue: where one
of the asked rises, or a new one has not settled, the search goes on and another fresh
vector follows, until one finds nothing. One finds nothing when an eigenvector of an
eigenvalue as large as the smallest asked would have escaped it with a probability of
at most `ESCAPED` (`escape`): a few products where the asked stand out from the rest.
Where they do not, as in a spectrum that hardly falls, it is multiplied as often as the
first one was until its pairs had settled. A search that runs out of vectors says
nothing.

What A and Aᵀ part by, qᵀA Aᵀq − |Aᵀq|², is added to the residual: it is zero if they
belong to one matrix.

Modules: `space` (Q, T and what is left), `ritz` (its pairs), `lanczos` (its steps),
`rules` and `escape` (when a search ends), `halves` (directions without products),
`trace`.

References:
    Parlett, The Symmetric Eigenvalue Problem (1998), section 13.10, for copies.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from audit.linalg.exact import SINGLE, SQUARED, clean, unit_columns
from audit.linalg.krylov.lanczos import Lanczos
from audit.linalg.krylov.ritz import SETTLED, WIDTH, RitzPairs
from audit.linalg.krylov.rules import ESCAPED, Beside, Settling
from audit.linalg.krylov.space import Side, Space, orthonormal
from audit.linalg.krylov.trace import probed_trace
from audit.linalg.matrix_free import START, Draw, block_of
from audit.linalg.narrow import regrouped
from audit.linalg.spectrum import Estimate, Spectrum
from audit.linalg.stored import LinearOperator

MOST = 600  # products with K for an input
BLOCK = 1  # vectors that are multiplied together, unless a root has it otherwise
_SPARE = 2  # fresh vectors, beyond two for each pair


def decompose_krylov(
    root: LinearOperator, top: int, draw: Draw, rounding: float = SINGLE
) -> Spectrum:
    """Return the `top` leading eigenpairs of AᵀA and its trace, without A's entries.

    Args:
        root: A [N, r, d], by its products.
        top: how many directions.
        draw: random numbers keyed by the inputs.
        rounding: the relative precision of A's products.
    """
    side = Side(regrouped(root, rounding >= SQUARED))
    search = _Search(side, min(max(top, 2), side.size), draw)
    found = search.found()
    known = found.residuals <= SETTLED
    values = clean(found.values, max(rounding, SQUARED), side.size)
    values = torch.where(known, values, torch.nan)
    meaningful = (known & (values > 0))[:, :top]
    directions = unit_columns(search.lanczos.lifted(found, top), meaningful)
    return Spectrum(
        values,
        directions,
        probed_trace(side, found.space, draw),
        Estimate(values[:, 0]),
        residual=found.residuals[:, :top].amax(dim=1),
    )


class _Search:
    """The search for k leading pairs, in rounds that all inputs make together.

    Args:
        side: K. kept: k. draw: random numbers keyed by the inputs.
    """

    def __init__(self, side: Side, kept: int, draw: Draw) -> None:
        self.side, self.lanczos = side, Lanczos(side, kept)
        self.block = min(block_of(side.root, BLOCK), side.size)
        self.starts = draw(side.size, self.block + 2 * kept + _SPARE, START)
        products = self.starts.new_full((len(self.starts),), MOST)
        self.settling = Settling(kept, self.block, products)

    def found(self) -> RitzPairs:
        """Return the pairs; those that did not settle say so by their residuals."""
        found = self._first()
        open_ = found.settled & ~found.space.whole
        multiplied = found.space.rank
        for fresh in range(self.block, self.starts.shape[2]):
            if not bool(open_.any()):
                return found
            checked = self._searched_beside(found, fresh, open_, multiplied)
            risen = (checked.values - found.values).amax(dim=1)
            same = risen <= SETTLED * checked.values[:, 0]
            found = checked.where(open_, found)
            found, going = self._gone_on(found, open_)
            open_ = open_ & found.settled & ~found.space.whole & (going | ~same)
        never = torch.where(open_.unsqueeze(1), torch.inf, found.residuals)
        return replace(found, residuals=never)

    def _first(self) -> RitzPairs:
        """Return what the first block finds."""
        start = self.side.leaning(self.starts[:, :, : self.block])
        space = Space.empty(len(start), self.side.size, start)
        block = orthonormal(start, start.new_ones(len(start)), space.q)
        return self.lanczos.from_block(space, block, self.settling)

    def _searched_beside(
        self, found: RitzPairs, fresh: int, open_: Tensor, multiplied: Tensor
    ) -> RitzPairs:
        """Return what a fresh vector finds beside the spaces of some inputs [N]."""
        g = found.space.beside(self.starts[:, :, fresh : fresh + 1])
        new = orthonormal(g, g.new_ones(len(g)), found.space.q)
        new = torch.where(open_[:, None, None], new, 0.0)
        rule = Beside.of(found, multiplied, self.block)
        return self.lanczos.from_block(found.space, new, rule)

    def _gone_on(self, found: RitzPairs, open_: Tensor) -> tuple[RitzPairs, Tensor]:
        """Go on where what was found beside has not settled; return where, too [N]."""
        going = open_ & ~found.settled & (found.residuals < torch.inf).all(dim=1)
        going = going & (self.settling.left > 0)
        if not bool(going.any()):
            return found, going
        space = found.space
        new = orthonormal(space.parked, found.values[:, 0], space.q)
        new = torch.where(going[:, None, None], new, 0.0)
        taken = replace(space, parked=space.parked[:, :, :0], share=space.share[:, :0])
        again = self.lanczos.from_block(taken, new, self.settling)
        return again.where(going, found), going


__all__ = ["BLOCK", "ESCAPED", "MOST", "SETTLED", "WIDTH", "decompose_krylov"]
