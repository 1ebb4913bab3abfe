"""Eigenvalues and leading eigenvectors of many small symmetric matrices at once.

LAPACK takes one matrix after the other, and of twenty rows spends its time in rotations
of two numbers and in all vectors, also where few are asked for. Here the matrices lie
along the last axis, so that each step is one over all of them:

1. Householder reflections H = 1 − v vᵀ, |v|² = 2, make K = Q T Qᵀ with T tridiagonal.
   With p = K v and w = p − (pᵀv / 2) v, H K H = K − v wᵀ − w vᵀ.
2. All eigenvalues of T are LAPACK's.
3. An eigenvector of T comes from the pivots of T − λ, eliminated from the top (D⁺) and
   from the bottom (D⁻). With γ_r = D⁺_r + D⁻_r − (T_rr − λ), the vector with z_r = 1,
   z_i = −(e_i / D⁺_i) z_(i+1) above and z_(i+1) = −(e_i / D⁻_(i+1)) z_i below solves
   all equations of (T − λ) z = 0 but the r-th, where γ_r is left; r is where it is
   smallest, and |γ_r| / |z| is about the error of λ. A λ that makes a pivot zero has
   none: it is taken 2⁻⁵¹ larger.
4. Q z, and one step towards V (VᵀV)^(−1/2), V (3 − VᵀV) / 2. Vectors of eigenvalues
   that are δ apart are orthogonal to ε λ₁ / δ only; the step turns them within the
   plane that they span, which changes K v − λ v by no more than ε λ₁.

What comes out is held against K: where K v is off λ v by more than rounding, or vectors
were far from orthogonal before step 4 (multiple eigenvalues), LAPACK's stand instead.
Numbers of one matrix do not depend on the others: their count is a multiple of the
lanes of all processors, and no sum runs over them.

Sources: Golub & Van Loan, Matrix Computations (2013), 8.3.1; Parlett & Dhillon, Linear
Algebra and its Applications 267 (1997), for step 3; Björck & Bowie, SIAM J. Numer.
Anal. 8 (1971), for step 4.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy import einsum
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]

_ROWS = range(16, 49)  # of a matrix, with which it is worth it
_TOGETHER, _LANES = 256, 16  # matrices, likewise; a multiple of what they come in
_NUMBERS = 2**19  # of the matrices that are reflected together: 4 MiB
_SHIFT = 1 + 2.0**-51
_RESIDUAL = 2.0**-45  # of λ₁: LAPACK leaves some 2⁻⁵⁰
_ALIGNED = 1e-8  # cosine between vectors, whose square step 4 leaves


def eigenpairs(matrices: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Return eigenvalues [N, n], ascending, and vectors [N, n, top] of the largest.

    Args:
        matrices: symmetric and finite, [N, n, n].
        top: how many vectors, at most n.
    """
    count, rows = matrices.shape[:2]
    if not _worth_it(matrices, top):
        values, vectors = torch.linalg.eigh(matrices)
        return values, vectors[:, :, rows - top :]
    size = max(_LANES, _NUMBERS // rows**2 // _LANES * _LANES)
    found = [_eigenpairs(matrices[i : i + size], top) for i in range(0, count, size)]
    if len(found) == 1:
        return found[0]
    return torch.cat([v for v, _ in found]), torch.cat([u for _, u in found])


def _worth_it(matrices: Tensor, top: int) -> bool:
    count, rows = matrices.shape[:2]
    plain = matrices.is_cpu and matrices.dtype == torch.float64
    many = count >= _TOGETHER and count % _LANES == 0
    few = 0 < top <= rows // 3
    return plain and many and few and rows in _ROWS and not matrices.requires_grad


def _eigenpairs(matrices: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Return both for matrices that are reflected together."""
    own = np.ascontiguousarray(matrices.numpy().transpose(1, 2, 0))
    _, power = np.frexp(einsum("iib->ib", own).max(axis=0))
    own *= np.ldexp(1.0, -power)
    with np.errstate(all="ignore"):  # what is not finite is LAPACK's
        diagonal, beside, reflections = tridiagonal(own)
        values = _eigenvalues(diagonal, beside)
        leading = np.ascontiguousarray(values[:, -top:].T)
        vectors, cosine = _orthogonal(
            _turned(reflections, twisted(diagonal, beside, leading * _SHIFT))
        )
        values = np.ldexp(values, power[:, None])
        off = matrices.numpy() @ vectors - vectors * values[:, None, -top:]
        residual = np.abs(off).max(axis=(1, 2)) / values[:, -1]
    found = torch.from_numpy(values), torch.from_numpy(vectors)
    lost = torch.from_numpy(~((residual <= _RESIDUAL) & (cosine <= _ALIGNED)))
    if bool(lost.any()):
        theirs, all_vectors = torch.linalg.eigh(matrices[lost])
        found[0][lost], found[1][lost] = theirs, all_vectors[:, :, -top:]
    return found


def tridiagonal(a: Numbers) -> tuple[Numbers, Numbers, list[Numbers]]:
    """Return the diagonal [n, N] and the one beside it [n − 1, N] of T, and each v.

    Args:
        a: symmetric matrices [n, n, N], which are lost.
    """
    rows = len(a)
    beside = np.empty((rows - 1, a.shape[2]))
    reflections = []
    for place in range(1, rows - 1):
        v, rest = a[place:, place - 1].copy(), a[place:, place:]
        length = np.copysign(np.sqrt(einsum("ib,ib->b", v, v)), v[0])
        beside[place - 1] = -length
        v[0] += length
        half = np.sqrt(length * v[0])  # |v| / √2
        half[half == 0] = 1.0
        v /= half
        w = einsum("ijb,ib->jb", rest, v)
        w -= einsum("ib,ib->b", w, v) / 2 * v
        _less(rest, v[:, None], w)
        _less(rest, w[:, None], v)
        reflections.append(v)
    beside[-1] = a[-1, -2]
    return einsum("iib->ib", a), beside, reflections


def _less(a: Numbers, b: Numbers, c: Numbers) -> None:
    """Take b c away from a, in one pass."""
    torch.from_numpy(a).addcmul_(torch.from_numpy(b), torch.from_numpy(c), value=-1)


def _eigenvalues(diagonal: Numbers, beside: Numbers) -> Numbers:
    """Return the eigenvalues [N, n] of tridiagonal matrices, ascending."""
    rows, count = diagonal.shape
    dense = torch.zeros(count, rows, rows, dtype=torch.float64)
    dense.diagonal(0, 1, 2).copy_(torch.from_numpy(diagonal.T))
    dense.diagonal(-1, 1, 2).copy_(torch.from_numpy(beside.T))
    values: Numbers = torch.linalg.eigvalsh(dense).numpy()
    return values


def twisted(diagonal: Numbers, beside: Numbers, eigenvalues: Numbers) -> Numbers:
    """Return unit eigenvectors [n, k, N] of tridiagonal matrices.

    Both eliminations go side by side, the second one through T turned over.

    Args:
        diagonal: of each matrix, [n, N].
        beside: the diagonal beside it, [n − 1, N].
        eigenvalues: [k, N].
    """
    rows, size = len(diagonal), eigenvalues.shape
    d, e = (np.stack([a, a[::-1]], axis=1)[:, :, None] for a in (diagonal, beside))
    pivots, ratios = np.empty((rows, 2, *size)), np.empty((rows - 1, 2, *size))
    product = np.empty((2, *size))
    np.subtract(d[0], eigenvalues, out=pivots[0])
    for i in range(rows - 1):
        np.divide(e[i], pivots[i], out=ratios[i])
        np.multiply(e[i], ratios[i], out=product)
        np.subtract(d[i + 1], eigenvalues, out=pivots[i + 1])
        pivots[i + 1] -= product
    left = pivots[:, 0] + pivots[::-1, 1]
    left -= diagonal[:, None]
    left += eigenvalues
    least = np.abs(left, out=left).argmin(axis=0)
    one = (least == np.arange(rows)[:, None, None]).astype(np.float64)
    z = pivots  # no longer needed
    z[:, 0], z[:, 1] = one, one[::-1]
    for i in reversed(range(rows - 1)):
        np.multiply(ratios[i], z[i + 1], out=product)
        z[i] -= product
    found: Numbers = z[:, 0] + z[::-1, 1]
    found -= one
    found /= np.sqrt(einsum("ikb,ikb->kb", found, found))
    return found


def _turned(reflections: list[Numbers], z: Numbers) -> Numbers:
    """Return Q z [n, k, N], in place of z."""
    for v in reversed(reflections):
        rest = z[len(z) - len(v) :]
        _less(rest, v[:, None], einsum("ib,ikb->kb", v, rest))
    return z


def _orthogonal(z: Numbers) -> tuple[Numbers, Numbers]:
    """Return vectors [N, n, k] after step 4, and the largest cosine before it [N]."""
    vectors = np.ascontiguousarray(z.transpose(2, 0, 1))
    one = np.eye(vectors.shape[2])
    off = vectors.transpose(0, 2, 1) @ vectors - one
    return vectors @ (one - off / 2), np.abs(off).max(axis=(1, 2))
