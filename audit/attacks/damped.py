"""The mean of a form that is damped, under a normal law of δ.

Where a divergence saturates, (1 − e^{−s Q})/s follows it farther than the form
Q = c |A δ|² does: for small Q it is Q, and never above 1/s. For δ ~ N(0, L Lᵀ) its mean
is known as Q's is. With λ_i the eigenvalues of (A L)ᵀ(A L), Q = c Σ λ_i z_i² for
independent standard normal z_i, and E e^{−s c λ z²} = (1 + 2 s c λ)^{−1/2}:

    E[(1 − e^{−s Q})/s] = (1 − e^{−½ Σ log(1 + 2 s c λ_i)}) / s,

which tends to c Σ λ_i as s falls.

References:
    Mathai & Provost, Quadratic Forms in Random Variables (1992), theorem 3.2a.1, for
    the moment generating function.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.matrix_free import free_part
from audit.linalg.quadratic_form import QuadraticForm

AXES = 4  # that are damped one by one
LARGEST = 256  # of a matrix that is decomposed: more would take what it saves


def damped_mean(
    form: QuadraticForm, factor: Tensor | None, rates: Tensor
) -> Tensor | None:
    """Return E[(1 − e^{−s Q})/s] [N, R] for δ = L z, z standard normal.

    Args:
        form: Q, of N inputs.
        factor: L [d, k]; None for the identity.
        rates: s above zero [N, R].

    Returns:
        NaN for a matrix that is not finite; None where the form is known by products
        alone, or its matrix is larger than `LARGEST` on both sides.
    """
    if free_part(form.root) is not None:
        return None
    square = _square(form, factor)
    if square is None:
        return None
    known = torch.isfinite(square).all(dim=2).all(dim=1)
    square = torch.where(known[:, None, None], square, 0.0)
    eigenvalues = torch.linalg.eigvalsh(square).clamp_min(0).unsqueeze(1)
    exponent = torch.log1p(2 * form.scale * rates.unsqueeze(2) * eigenvalues).sum(2)
    found: Tensor = -torch.expm1(-exponent / 2) / rates
    found = torch.where(known.unsqueeze(1), found, torch.nan)
    return found if form.beyond is None else found + form.beyond.unsqueeze(1)


def leading_axes(form: QuadraticForm) -> Tensor | None:
    """Return a_k [N, A, d] of the leading principal axes: Q ≥ c Σ (a_kᵀ δ)².

    With AAᵀ = U Λ Uᵀ they are the first rows of UᵀA, √λ_k times eigenvectors of AᵀA.

    Returns:
        Zero for a matrix that is not finite; None as `damped_mean`.
    """
    if free_part(form.root) is not None:
        return None
    square = _square(form, None)
    if square is None:
        return None
    _, rows, columns = form.root.shape
    known = torch.isfinite(square).all(dim=2).all(dim=1)[:, None, None]
    values, vectors = torch.linalg.eigh(torch.where(known, square, 0.0))
    values, vectors = values[:, -AXES:].flip(1), vectors[:, :, -AXES:].flip(2)
    if rows <= columns:
        return torch.where(known, form.root.rmatmat(vectors).mT, 0.0)
    axes: Tensor = vectors * values.clamp_min(0).sqrt().unsqueeze(1)
    return axes.mT


def _square(form: QuadraticForm, factor: Tensor | None) -> Tensor | None:
    """Return (A L)ᵀ(A L), or its Gram matrix on the other side where that is less."""
    n, rows, columns = form.root.shape
    columns = columns if factor is None else factor.shape[1]
    if min(rows, columns) > LARGEST:
        return None
    if factor is None and rows <= columns:
        return form.root.gram()
    if factor is None:
        dense = form.root.dense()
        return dense.mT @ dense
    images = form.root.matmat(factor.expand(n, -1, -1))
    return images @ images.mT if rows <= columns else images.mT @ images
