"""Leading eigenpairs and trace of G = AᵀA from products with A and Aᵀ alone.

**Krylov.** On the smaller side, K = A Aᵀ (r ≤ d) or AᵀA [s, s], a space grows from a
block of random vectors: each turn multiplies its newest block by K, takes off what lies
in the space already, twice (full re-orthogonalisation), and makes what is left the next
one (`krylov_space`). This is Golub-Kahan-Lanczos, since K is applied as A (Aᵀ ·). The
block is one vector, or as many as a product takes scarcely longer for (`block_of`).
Residuals are computed, and not estimated: some eigenvalue of K lies within ‖K z − θ z‖
of θ. Every θ_j is at most λ_j (Cauchy). A basis that is full is shrunk to its leading
Ritz vectors (thick restart); T, being made of explicit products, stays exact.

**What was missed.** A residual says that θ is near an eigenvalue, not that no larger
one was missed. Of an eigenvalue that is there m times a single start finds one copy:
the part of the start in its eigenspace. So the search goes on beside the space once the
asked pairs have settled: a fresh random vector g, without its part in it, is multiplied
in its turn. There the eigenvalues that were found are zero, and a missed one stands
out. Ritz values of the joint space show it, being never above an eigenvalue: where one
of the asked rises, or a new one has not settled, the search goes on and another fresh
vector follows, until one finds nothing. One finds nothing when an eigenvector of an
eigenvalue as large as the smallest asked would have escaped it with a probability of
at most `ESCAPED` (`krylov_missed`): a few products where the asked stand out from the
rest. Where they do not, as in a spectrum that hardly falls, it is multiplied as often
as the first one was until its pairs had settled. A search that runs out of vectors says
nothing.

What A and Aᵀ part by, qᵀA Aᵀq − |Aᵀq|², is added to the residual: it is zero if they
belong to one matrix.

An input's numbers are fixed in the turn where it settles, and its further vectors are
zero: they are the same bits whatever its neighbours still need.

References:
    Golub & Van Loan, Matrix Computations (2013), sections 10.1-10.4.
    Parlett, The Symmetric Eigenvalue Problem (1998), section 13.10, for copies.
    Wu & Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems,
    SIAM J. Matrix Anal. Appl. 22 (2000).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from audit.linalg.exact import SINGLE, SQUARED, clean, unit_columns
from audit.linalg.krylov_halves import Halves
from audit.linalg.krylov_missed import Escape, lift
from audit.linalg.krylov_space import Side, Space, orthonormal
from audit.linalg.krylov_trace import probed_trace
from audit.linalg.matrix_free import START, Draw, block_of, regrouped
from audit.linalg.spectrum import Estimate, Spectrum
from audit.linalg.stored import LinearOperator

SETTLED = 1e-4  # of λ_max: the largest residual of an eigenpair that is reported
MOST = 600  # products with K for an input
WIDTH = 96  # columns of a basis, before it is shrunk
_KEPT = WIDTH // 2  # of a basis that is shrunk, or at rest in a larger space
BLOCK = 1  # vectors that are multiplied together, unless a root has it otherwise
ESCAPED = 1e-3  # the probability of missing an eigenvalue that a search may leave
_LEAST = 12  # products before anything counts as settled
_BESIDE = 6  # products with a fresh vector, at the least, where that is not known
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
    side = Side(regrouped(root))
    search = _Search(side, min(max(top, 2), side.size), draw)
    found = search.found()
    known = found.residuals <= SETTLED
    values = clean(found.values, max(rounding, SQUARED), side.size)
    values = torch.where(known, values, torch.nan)
    meaningful = (known & (values > 0))[:, :top]
    directions = unit_columns(search.lifted(found, top), meaningful)
    return Spectrum(
        values,
        directions,
        probed_trace(side, found.space, draw),
        Estimate(values[:, 0]),
        residual=found.residuals[:, :top].amax(dim=1),
    )


@dataclass
class _Found:
    """What is known of N inputs after a round.

    Shapes: space, at rest; values θ [N, k]; residuals ‖K z − θ z‖ / θ₁ [N, k], NaN
        where a product was no number.
    """

    space: Space
    values: Tensor
    residuals: Tensor

    @property
    def settled(self) -> Tensor:
        """Where the pairs have settled [N]."""
        return (self.residuals <= SETTLED).all(dim=1)

    @property
    def ritz(self) -> Tensor:
        """Their vectors [N, s, k]."""
        _, vectors = self.space.pairs()
        return self.space.q @ vectors[:, :, : self.values.shape[1]]

    def where(self, rows: Tensor, other: _Found) -> _Found:
        """Return these findings at some inputs [N], and the other at the rest."""
        at = rows.unsqueeze(1)
        return _Found(
            self.space.where(rows, other.space),
            torch.where(at, self.values, other.values),
            torch.where(at, self.residuals, other.residuals),
        )


@dataclass
class _Beside:
    """A search beside a space: what may have escaped it, and its most turns [N].

    Where vectors of a space were dropped the next one is not orthogonal to them: from
    there on steps are none of Lanczos, and tell nothing more.
    """

    escape: Escape
    turns: Tensor
    dropped: Tensor

    def step(self, space: Space, going: Tensor) -> None:
        """Take in the newest column of a space."""
        along, beside = space.t[:, -1, -1], space.left[:, :, 0].norm(dim=1)
        self.escape = self.escape.stepped(along, beside, going & ~self.dropped)

    def through(self, turn: int) -> Tensor:
        """Return where it has seen enough [N]."""
        return (self.escape.chance <= ESCAPED) | (self.turns <= turn)


class _Search:
    """The search for k leading pairs, in rounds that all inputs make together.

    Args:
        side: K. kept: k. draw: random numbers keyed by the inputs.
    """

    def __init__(self, side: Side, kept: int, draw: Draw) -> None:
        self.side, self.kept = side, kept
        self.block = min(block_of(side.root, BLOCK), side.size)
        self.starts = draw(side.size, self.block + 2 * kept + _SPARE, START)
        self.left = self.starts.new_full((len(self.starts),), MOST)  # products
        self.halves = Halves()

    def found(self) -> _Found:
        """Return the pairs; those that did not settle say so by their residuals."""
        start = self.side.leaning(self.starts[:, :, : self.block])
        space = Space.empty(len(start), self.side.size, start)
        ones = start.new_ones(len(start))
        found = self._grown(space, orthonormal(start, ones, space.q))
        open_ = found.settled & ~found.space.whole
        turns = (found.space.rank / self.block).clamp_min(_BESIDE)
        for fresh in range(self.block, self.starts.shape[2]):
            if not bool(open_.any()):
                return found
            checked = self._searched_beside(found, fresh, open_, turns)
            risen = (checked.values - found.values).amax(dim=1)
            same = risen <= SETTLED * checked.values[:, 0]
            found = checked.where(open_, found)
            found, going = self._gone_on(found, open_)
            open_ = open_ & found.settled & ~found.space.whole & (going | ~same)
        never = torch.where(open_.unsqueeze(1), torch.inf, found.residuals)
        return replace(found, residuals=never)

    def lifted(self, found: _Found, top: int) -> Tensor:
        """Return the `top` eigenvectors of AᵀA [N, d, top], of any length."""
        ritz = found.ritz[:, :, :top]
        return self.halves.lifted(self.side, ritz, found.space.rank)

    def _searched_beside(
        self, found: _Found, fresh: int, open_: Tensor, turns: Tensor
    ) -> _Found:
        """Return what a fresh vector finds beside the spaces of some inputs [N]."""
        g = found.space.beside(self.starts[:, :, fresh : fresh + 1])
        new = orthonormal(g, g.new_ones(len(g)), found.space.q)
        new = torch.where(open_[:, None, None], new, 0.0)
        least = torch.maximum(found.values[:, -1], SETTLED * found.values[:, 0])
        apart = (least - self._lift(found.space, least)).clamp_min(0)
        escape = Escape.of(apart, self.side.size - found.space.filled)
        return self._grown(found.space, new, _Beside(escape, turns, ~open_))

    def _lift(self, space: Space, x: Tensor) -> Tensor:
        """Return by how much what has not settled may lift an eigenvalue from x [N]."""
        values, vectors = space.pairs()
        residuals = space.residuals(values, vectors)
        return lift(x, values, torch.where(residuals > SETTLED, residuals, 0.0))

    def _gone_on(self, found: _Found, open_: Tensor) -> tuple[_Found, Tensor]:
        """Go on where what was found beside has not settled; return where, too [N]."""
        going = open_ & ~found.settled & (found.residuals < torch.inf).all(dim=1)
        going = going & (self.left > 0)
        if not bool(going.any()):
            return found, going
        space = found.space
        new = orthonormal(space.parked, found.values[:, 0], space.q)
        new = torch.where(going[:, None, None], new, 0.0)
        taken = replace(space, parked=space.parked[:, :, :0], share=space.share[:, :0])
        return self._grown(taken, new).where(going, found), going

    def _grown(
        self, space: Space, new: Tensor, beside: _Beside | None = None
    ) -> _Found:
        """Return what is found from a block on: beside a space, or until it settles.

        What an input's numbers come from is fixed in the turn where it is through.
        """
        space, block = replace(space), new.shape[2]
        found: _Found | None = None
        turn = 0
        while found is None or bool((new != 0).any()):
            turn += 1
            going = (new != 0).flatten(1).any(dim=1)
            halves = space.widen(self.side, new)
            if self.side.short:
                self.halves.add(new, halves, space.rank[going])
            values, vectors = space.pairs()
            residuals = space.residuals(values, vectors[:, :, : self.kept])
            new = orthonormal(space.left, values[:, 0], space.q)
            more = (new != 0).flatten(1).any(dim=1)
            if beside is None:
                self.left = self.left - block * going
                enough = space.rank >= min(max(_LEAST, self.kept), self.side.size)
                through = enough & (residuals <= SETTLED).all(dim=1)
                through = through | (self.left < block)
            else:
                beside.step(space, going)
                through = beside.through(turn)
            done = going & (~more | space.whole | through)
            if turn == 1 or bool(done.any()):
                newer = self._finding(space, values, residuals)
                found = newer if found is None else newer.where(done, found)
                new = torch.where(done[:, None, None], 0.0, new)
            if space.q.shape[2] + block > max(WIDTH, 4 * block):
                kept = max(_KEPT, 2 * block)
                if beside is not None:
                    beside.dropped = beside.dropped | (space.filled > kept)
                space.shrink(values, vectors, kept)
        return found

    def _finding(self, space: Space, values: Tensor, residuals: Tensor) -> _Found:
        """Return what a space knows now; of pairs that are not there, zeros."""
        missing = max(0, self.kept - values.shape[1])
        padded = (
            functional.pad(one[:, : self.kept], (0, missing))
            for one in (values, residuals)
        )
        columns = max(_KEPT, 2 * self.kept, min(self.side.size, WIDTH))
        return _Found(space.park(columns), *padded)
