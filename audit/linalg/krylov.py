"""Leading eigenpairs and trace of G = AᵀA from products with A and Aᵀ alone.

**Block Krylov.** On the smaller side, K = A Aᵀ (r ≤ d) or AᵀA [s, s]: from a random
block Q₁ of b columns, each step multiplies the last block by K, takes off what lies in
the span of all blocks before, twice (full re-orthogonalisation), and makes what is
left, W, the next block:

    K Q = Q T + W Eᵀ,     T = QᵀK Q,     E: the last b columns.

This is Golub-Kahan-Lanczos with blocks, since K is applied as A (Aᵀ ·). For T y = θ y
the residual is K (Q y) − θ Q y = W yₗ with yₗ the last b entries of y, so ‖W yₗ‖ is
computed and not estimated, and some eigenvalue of K lies within it of θ. Every θ_j is
at most λ_j (Cauchy). b columns find eigenvalues that are up to b-fold; one column would
find one copy of each. With b ≥ top the largest are found at a rate that no cluster
among them slows (Musco & Musco). A basis that is full is shrunk to its leading Ritz
vectors (thick restart); T, being made of explicit products, stays exact.

A residual says that θ is near an eigenvalue, not that no larger one was missed: that
has probability zero for a random start and many steps, so at least `_LEAST` are taken
unless the space is exhausted. What A and Aᵀ part by, |qᵀA Aᵀq − |Aᵀq|²|, is added to
the residual: it is zero if they belong to one matrix.

**Trace.** With P = 1 − Q Qᵀ and g of independent signs,

    tr K = tr T + tr P K P,     E[gᵀ P K P g] = tr P K P,

exact on the space that was found and Hutchinson's estimate on the rest (Hutch++), with
the spread of its probes as standard error. Q depends on none of the probes, so the
estimate has no bias. A space that is everything leaves nothing to estimate.

An input's numbers are fixed in the step where it settles, and its further blocks are
zero: they are the same bits whatever its neighbours still need.

References:
    Golub & Van Loan, Matrix Computations (2013), sections 10.1-10.4.
    Wu & Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems,
    SIAM J. Matrix Anal. Appl. 22 (2000).
    Musco & Musco, Randomized block Krylov methods for stronger and faster approximate
    singular value decomposition, NeurIPS (2015).
    Meyer et al., Hutch++: optimal stochastic trace estimation, SOSA (2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.exact import SINGLE, SQUARED, clean, unit_columns
from audit.linalg.intervals.means import mean_interval
from audit.linalg.matrix_free import PROBES, START, Draw
from audit.linalg.operators import LinearOperator
from audit.linalg.spectrum import Estimate, Spectrum

SETTLED = 1e-4  # of λ_max: the largest residual of an eigenpair that is reported
MOST = 600  # products with K for an input
PROBES_OF_TRACE = 24  # of the trace, more than intervals.means.LEAST
_LEAST = 5  # blocks before anything counts as settled
WIDTH = 96  # columns of a basis, before it is shrunk
_NOTHING = 1e-11  # of the largest θ: a new column that is shorter is none


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
    side = _Side(root)
    found = _searched(side, min(max(top, 2), side.size), draw)
    known = found.residuals <= SETTLED
    values = clean(found.values, max(rounding, SQUARED), side.size)
    values = torch.where(known, values, torch.nan)
    meaningful = (known & (values > 0))[:, :top]
    directions = unit_columns(side.lifted(found.ritz)[:, :, :top], meaningful)
    return Spectrum(
        values,
        directions,
        _trace(side, found),
        Estimate(values[:, 0]),
        residual=found.residuals[:, :top].amax(dim=1),
    )


@dataclass(frozen=True)
class _Side:
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

    def lifted(self, vectors: Tensor) -> Tensor:
        """Return eigenvectors of AᵀA [N, d, k], of any length, from those of K."""
        return self.root.rmatmat(vectors) if self.short else vectors


@dataclass
class _Space:
    """A Krylov space of N inputs as it grows.

    Shapes: q [N, s, M], orthonormal or zero columns; t = qᵀ K q [N, M, M]; new, the
        next block [N, s, b], zero where an input needs none; rank, the columns of q
        that are not zero, or were not before it was shrunk [N].
    """

    q: Tensor
    t: Tensor
    new: Tensor
    rank: Tensor

    @property
    def growing(self) -> Tensor:
        """Which inputs have another block [N]."""
        return (self.new != 0).flatten(1).any(dim=1)


@dataclass
class _Found:
    """What has settled.

    Shapes: values θ [N, b]; residuals ‖K u − θ u‖ / θ₁ [N, b], NaN where a product was
        no number; ritz, their vectors [N, s, b]; known, the trace on the space [N];
        probes, signs without their part in it [N, s, S].
    """

    values: Tensor
    residuals: Tensor
    ritz: Tensor
    known: Tensor
    probes: Tensor

    def replaced(self, rows: Tensor, newer: _Found) -> _Found:
        """Return the same with some inputs' [N] newer findings."""

        def chosen(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(rows.reshape(-1, *(1,) * (new.dim() - 1)), new, old)

        pairs = zip(vars(newer).values(), vars(self).values(), strict=True)
        return _Found(*(chosen(new, old) for new, old in pairs))


@dataclass
class _Pairs:
    """The Ritz pairs of a space after a step, and whether it may go on.

    Shapes: values [N, M] and vectors [N, M, M] of T; residuals [N, b]; more, where
        there is another block [N].
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    more: Tensor

    @property
    def settled(self) -> Tensor:
        """Where the leading pairs have settled [N]."""
        return (self.residuals <= SETTLED).all(dim=1)


def _searched(side: _Side, block: int, draw: Draw) -> _Found:
    """Grow a space until the leading eigenpairs have settled, or `MOST` products.

    What an input's numbers come from is fixed in the step where it settles.
    """
    space = _begun(side, block, draw)
    signs = draw(side.size, PROBES_OF_TRACE, PROBES).sign()
    found: _Found | None = None
    turns = MOST // block
    for turn in range(1, turns + 1):
        going = space.growing
        pairs = _turn(side, space)
        through = ~pairs.more | (space.rank >= side.size)
        through = through | (pairs.settled & (turn >= _LEAST))
        done = going & (through | (turn == turns))
        if bool(done.any()):
            newer = _finding(space, pairs, signs)
            found = newer if found is None else found.replaced(done, newer)
            space.new = torch.where(done[:, None, None], 0.0, space.new)
        if not bool(space.growing.any()):
            break
        if space.q.shape[2] + block > max(WIDTH, 4 * block):
            _shrink(space, pairs)
    assert found is not None  # the last turn ends every input
    return found


def _begun(side: _Side, block: int, draw: Draw) -> _Space:
    """Return an empty space with a random block to grow by."""
    start = draw(side.size, block, START)
    n = len(start)
    new, _ = _orthonormal(start, start.new_ones(n))
    empty = start.new_zeros(n, side.size, 0)
    return _Space(empty, start.new_zeros(n, 0, 0), new, start.new_zeros(n))


def _turn(side: _Side, space: _Space) -> _Pairs:
    """Widen a space by its newest block, and make the next one."""
    block = space.new.shape[2]
    left, parted = _step(side, space)
    values, vectors = _descending(space.t)
    residuals = _residuals(values[:, :block], vectors[:, -block:, :block], left)
    space.new, more = _next_block(space, left, values[:, 0])
    return _Pairs(values, vectors, residuals + parted.unsqueeze(1), more)


def _finding(space: _Space, pairs: _Pairs, signs: Tensor) -> _Found:
    """Return what a space knows of its inputs now."""
    block = space.new.shape[2]
    return _Found(
        pairs.values[:, :block],
        pairs.residuals,
        space.q @ pairs.vectors[:, :, :block],
        space.t.diagonal(dim1=1, dim2=2).sum(dim=1),
        _beside(space, signs),
    )


def _step(side: _Side, space: _Space) -> tuple[Tensor, Tensor]:
    """Multiply the newest block by K, and widen Q and T by it.

    Returns:
        What of the products lies beside the space, W [N, s, b], and by how much A and
        Aᵀ part over the largest entry of T [N]; NaN where a product is no number.
    """
    new, block = space.new, space.new.shape[2]
    halves = side.half(new)
    w = side.back(halves)
    broken = ~torch.isfinite(w).flatten(1).all(dim=1)
    w, halves = (torch.where(broken[:, None, None], 0.0, v) for v in (w, halves))
    space.q = torch.cat([space.q, new], dim=2)
    space.rank = space.rank + (new != 0).any(dim=1).sum(dim=1)
    along = space.q.mT @ w
    w = w - space.q @ along
    again = space.q.mT @ w
    w, along = w - space.q @ again, along + again
    apart = (along[:, -block:] - halves.mT @ halves).flatten(1).norm(dim=1)
    space.t = _bordered(space.t, along)
    size = space.t.abs().amax(dim=(1, 2))
    parted = torch.where(size > 0, apart / size, apart)
    return w, torch.where(broken, torch.nan, parted)


def _residuals(values: Tensor, ends: Tensor, left: Tensor) -> Tensor:
    """Return ‖W y‖ / θ₁ [N, b] for the last b entries y of T's eigenvectors."""
    length = (left @ ends).norm(dim=1)
    largest = values[:, :1]
    return torch.where(largest > 0, length / largest, length)


def _next_block(space: _Space, left: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next block, and where there is one [N]."""
    fresh, kept = _orthonormal(left, largest, space.q)
    growing = space.growing.unsqueeze(1) & kept
    return torch.where(growing.unsqueeze(1), fresh, 0.0), growing.any(dim=1)


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


def _orthonormal(
    w: Tensor, largest: Tensor, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return an orthonormal basis [N, s, b] of columns, and which of it there are.

    A direction of w that is rounding, beside the largest θ [N], becomes a zero column.
    Lengths are taken of w V, V the eigenvectors of wᵀw: its eigenvalues are squares,
    and hold half the digits.
    """
    turned = w @ torch.linalg.eigh(w.mT @ w).eigenvectors.flip(-1)
    length = turned.norm(dim=1)
    kept = length > _NOTHING * largest.unsqueeze(1)
    scale = torch.where(kept, 1 / torch.where(kept, length, 1.0), 0.0)
    fresh = turned * scale.unsqueeze(1)
    if before is not None:
        fresh = fresh - before @ (before.mT @ fresh)
    return _polished(fresh, kept), kept


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


def _shrink(space: _Space, pairs: _Pairs) -> None:
    """Keep the leading Ritz vectors of a basis; T is their eigenvalues."""
    kept = max(2 * space.new.shape[2], WIDTH // 2)
    space.q = space.q @ pairs.vectors[:, :, :kept]
    space.t = torch.diag_embed(pairs.values[:, :kept])


def _descending(t: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(t)
    return values.clamp_min(0).flip(-1), vectors.flip(-1)


def _beside(space: _Space, signs: Tensor) -> Tensor:
    """Return probes without their part in the space; zero where that is everything."""
    probes = signs
    for _ in range(2):
        probes = probes - space.q @ (space.q.mT @ probes)
    size = space.q.shape[1]
    everything = (space.rank >= size) & (space.q.shape[2] >= size)
    return torch.where(everything[:, None, None], 0.0, probes)


def _trace(side: _Side, found: _Found) -> Estimate:
    """Return tr K [N]: exact on the space, from probes beside it."""
    lost = found.residuals.isnan().any(dim=1)
    known = torch.where(lost, torch.nan, found.known)
    squares = side.half(found.probes).square().sum(dim=1)
    rest = mean_interval(squares).at_least_zero()
    return Estimate(
        known + rest.value,
        rest.standard_error,
        (known + rest.lower, known + rest.upper),
    )
