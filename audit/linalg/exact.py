"""Exact decomposition on the smaller side of the root.

The nonzero eigenvalues of G = AᵀA (d×d) are those of A Aᵀ (r×r), and an eigenvector
u of A Aᵀ gives v = Aᵀu / √λ. With r < d rows no d×d matrix is ever formed, unless the
other side is asked for: both have the same min(r, d) eigenvalues that can be nonzero.

Squaring A halves the digits of the small eigenvalues: those below the square root of
the machine's precision, times λ_max, are rounding. The root of a network that computes
in float32 knows no more; that of one in float64 does. There, matrices with such small
eigenvalues are decomposed by the singular values of A itself.

A root that is known up to ε relative has singular values up to about ε √m σ_max; what
is below counts as zero. A matrix that overflows has one infinite eigenvalue, and no
others that could be measured; its neighbours in the batch keep theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.bounded import Bounded
from audit.linalg.operators import CoordinateBlocks, Diagonal
from audit.linalg.spectrum import Estimate, Spectrum, extended
from audit.linalg.stored import LinearOperator, Matrix
from audit.linalg.tridiagonal import eigenpairs

SINGLE = 2.0**-23
"""The relative rounding of a root whose network computes in float32."""
_SLACK = 2.65  # of ε √m, below which a singular value is zero
SQUARED = 1e-8
"""The relative rounding of what squares in float64 still tell apart."""
SMALLER, ROWS, FEATURES = "smaller", "rows", "features"
"""The sides of a root whose Gram matrix may be decomposed."""
_APART = 2.0**-49  # of λ₁, of a shift beside it
_GRADED = 1e-7  # of λ_max: smaller eigenvalues of a square are not exact


def decompose_exact(
    root: LinearOperator,
    top: int,
    rounding: float = SINGLE,
    side: str = SMALLER,
) -> Spectrum:
    """Return all eigenvalues of AᵀA and the `top` leading directions.

    Args:
        root: A [N, r, d].
        top: how many directions.
        rounding: the relative precision of A's entries.
        side: which Gram matrix is decomposed, A Aᵀ of the `rows`, AᵀA of the
            `features`, or the `smaller` one.
    """
    _, rows, columns = root.shape
    size = min(rows, columns)
    kept = min(top, size)
    if side == ROWS or (side == SMALLER and rows <= columns):
        eigenvalues, vectors = descending(root.gram(), kept)
        directions = root.rmatmat(vectors)
    else:
        dense = root.dense()
        eigenvalues, directions = descending(dense.mT @ dense, kept)
    eigenvalues = eigenvalues[:, :size]
    if rounding < SQUARED:
        eigenvalues, directions = _refined(root, eigenvalues, directions)
    return _spectrum(eigenvalues, directions, rounding)


def decompose_square(square: Tensor, top: int) -> Spectrum:
    """Return the same of AᵀA [N, d, d] itself, A of single precision."""
    eigenvalues, vectors = descending(square, min(top, square.shape[1]))
    return _spectrum(eigenvalues, vectors, SINGLE)


def leading_direction(squares: Tensor, start: Tensor) -> Tensor:
    """Return unit vectors [N, d] along the largest eigenvalue of AᵀA [N, d, d].

    By inverse iteration next to the eigenvalue itself, which takes half of the time of
    all vectors: with a shift σ = λ₁ (1 + 8 ε) a step leaves of a component along λ its
    part (σ − λ₁) / (σ − λ), and two steps are below what rounding makes of λ₁ anyway.
    A vector is zero where AᵀA is, or is not finite; its sign is arbitrary.

    Args:
        squares: AᵀA.
        start: [N, d], along which the vectors may be expected.

    Source: Golub & Van Loan, Matrix Computations (2013), 7.6.1 and 8.2.2.
    """
    finite, safe = _finite(squares)
    largest = torch.linalg.eigvalsh(safe)[:, -1]
    shifted = safe / torch.where(largest > 0, largest, 1.0)[:, None, None]
    shifted.diagonal(dim1=1, dim2=2).sub_(1 + _APART)
    factors, pivots, _ = torch.linalg.lu_factor_ex(shifted)
    moving = (start != 0).any(dim=1, keepdim=True)
    vectors = torch.where(moving, start, 1.0).unsqueeze(2)
    for _ in range(2):
        vectors = torch.linalg.lu_solve(factors, pivots, vectors)
        vectors = vectors / torch.linalg.vector_norm(vectors, torch.inf, 1, True)
    lost = ~torch.isfinite(vectors).all(dim=1)  # a pivot is zero: σ is λ₁ exactly
    if bool(lost.any()):
        every = torch.linalg.eigh(safe)[1][:, :, -1:]
        vectors = torch.where(lost.unsqueeze(1), every, vectors)
    unit = vectors[:, :, 0] / torch.linalg.vector_norm(vectors, dim=1)
    return torch.where(finite & (largest > 0).unsqueeze(1), unit, 0.0)


def _spectrum(eigenvalues: Tensor, directions: Tensor, rounding: float) -> Spectrum:
    eigenvalues = clean(eigenvalues, rounding, eigenvalues.shape[1])
    trace = torch.where(
        eigenvalues[:, 0] == torch.inf, torch.inf, eigenvalues.sum(dim=1)
    )
    leading = eigenvalues[:, : directions.shape[2]]
    meaningful = (leading > 0) & torch.isfinite(leading)
    return Spectrum(
        eigenvalues,
        unit_columns(directions, meaningful),
        Estimate(trace),
        Estimate(eigenvalues[:, 0]),
    )


def _refined(
    root: LinearOperator, eigenvalues: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """Return eigenpairs with those of graded matrices from singular values."""
    first, last = eigenvalues[:, 0], eigenvalues[:, -1]
    graded = torch.isfinite(first) & (last < _GRADED * first)
    if not bool(graded.any()):
        return eigenvalues, directions
    dense = root.dense()[graded]
    _, singular, vectors = torch.linalg.svd(dense, full_matrices=False)
    eigenvalues, directions = eigenvalues.clone(), directions.clone()
    eigenvalues[graded] = singular.square()
    directions[graded] = vectors[:, : directions.shape[2]].mT
    return eigenvalues, directions


def unit_columns(vectors: Tensor, meaningful: Tensor) -> Tensor:
    """Normalise columns [N, d, k], largest entry positive; zero where not meaningful.

    The sign of an eigenvector is arbitrary; fixing it makes reports reproducible.
    """
    rows = vectors.mT.contiguous()  # many times faster along the last axis
    length = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    keep = meaningful.unsqueeze(2) & (length > 0)
    unit = rows * (torch.where(_peaks_below_zero(rows), -1.0, 1.0) / length)
    return (unit if bool(keep.all()) else torch.where(keep, unit, 0.0)).mT


def _peaks_below_zero(rows: Tensor) -> Tensor:
    """Return whether the first of the largest entries of each row is negative.

    The two extremes tell, unless they are equally far from zero; they are found several
    times faster than a place is.
    """
    high, low = rows.amax(dim=2, keepdim=True), rows.amin(dim=2, keepdim=True)
    below: Tensor = high < -low
    if bool(((high == -low) & (high > 0)).any()):
        first = rows.abs().argmax(dim=2, keepdim=True)
        below = rows.gather(2, first) < 0
    return below


def descending(gram: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [N, m] of A Aᵀ or AᵀA, the largest first, and `top` vectors.

    Of a matrix that has overflowed the first one is infinite, and of one with a NaN it
    is NaN; the others are NaN. LAPACK would refuse the whole batch.
    """
    finite, safe = _finite(gram)
    eigenvalues, vectors = eigenpairs(safe, top)
    eigenvalues = _masked(eigenvalues.clamp_min(0), finite, gram).flip(-1)
    return eigenvalues, vectors.flip(-1)


def _finite(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return which matrices are finite [N, 1], and all with the others set to zero.

    |g_ij|² ≤ g_ii g_jj, so the diagonal tells.
    """
    finite = torch.isfinite(gram.diagonal(dim1=1, dim2=2)).all(dim=1, keepdim=True)
    if bool(finite.all()):
        return finite, gram
    return finite, torch.where(finite.unsqueeze(-1), gram, 0.0)


def _masked(values: Tensor, finite: Tensor, gram: Tensor) -> Tensor:
    """Return ascending eigenvalues with those of matrices that are not finite."""
    if bool(finite.all()):
        return values
    broken = gram.diagonal(dim1=1, dim2=2).isnan().any(dim=1, keepdim=True)
    missing = torch.full_like(values, torch.nan)
    missing[:, -1:] = torch.where(broken, torch.nan, torch.inf)
    return torch.where(finite, values, missing)


def gram_eigenvalues(root: LinearOperator) -> Tensor:
    """Return the eigenvalues of A Aᵀ alone [N, r], the largest first.

    Those of AᵀA are the same and zeros. Structure is used where there is one. Of a
    matrix with infinite entries, the first one is infinite.
    """
    match root:
        case Bounded(operator, beyond):
            return extended(gram_eigenvalues(operator), beyond)
        case Diagonal(entries):
            return entries.square().sort(dim=1, descending=True).values
        case CoordinateBlocks(blocks):
            values = _eigenvalues(blocks @ blocks.mT).flatten(1)
            return values.sort(dim=1, descending=True).values
        case Matrix():
            return root.remembered("gram_eigenvalues", lambda: _descending(root))
        case _:
            return _descending(root)


def _descending(root: LinearOperator) -> Tensor:
    return _eigenvalues(root.gram()).flip(-1)


def _eigenvalues(gram: Tensor) -> Tensor:
    whole = gram.reshape(-1, *gram.shape[-2:])
    finite, safe = _finite(whole)
    values = torch.linalg.eigvalsh(safe).clamp_min(0)
    return _masked(values, finite, whole).reshape(gram.shape[:-1])


def clean(eigenvalues: Tensor, rounding: float, count: int) -> Tensor:
    """Return eigenvalues with zero in place of rounding; none is negative.

    Args:
        eigenvalues: [N, k], the largest first.
        rounding: the relative precision of the root's entries.
        count: how many eigenvalues there are, of which these are the largest.
    """
    share = (_SLACK * rounding) ** 2 * count
    floor = eigenvalues[:, :1].clamp_min(0) * share
    small = (eigenvalues <= floor) & torch.isfinite(floor)
    return torch.where(small, 0.0, eigenvalues)
