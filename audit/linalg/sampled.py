"""Decomposition of a form whose root is made of draws.

G = (1/S) Σ_s a_s a_sᵀ with a_s = Jᵀ b_s and b_s independent draws [p]. Its trace is
an unbiased mean of S numbers. Its largest eigenvalue is not: maximising over
directions also maximises the noise, E[λ_max] ≥ λ_max, by a factor near (1 + √(r/S))²
where the spectrum is flat (r the rank). Cross-fitting removes the optimism: the
direction comes from one half of the draws and its Rayleigh quotient from the other,
which is at most λ_max in expectation. The truth lies between the two.

Everything happens in p×p matrices: b S_J bᵀ with S_J = J Jᵀ, and one Cholesky-free
root of Bᵀ B. No draw touches the input's d dimensions.

Reference:
    Chernozhukov et al., Double/debiased machine learning, Econometrics Journal 21
    (2018), section 1, for cross-fitting.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.linalg.exact import decompose_exact, descending
from audit.linalg.operators import LinearOperator, Matrix, Product, Sampled
from audit.linalg.spectrum import Estimate, Spectrum


def decompose_sampled(draws: Sampled, inner: LinearOperator, top: int) -> Spectrum:
    """Decompose (B J)ᵀ(B J) for draws B [N, S, p] / √S and J [N, p, d]."""
    naive = decompose_exact(Product(compact_root(draws.entries), inner), top)
    cross = _cross_fitted(draws.entries, inner)
    return Spectrum(
        naive.eigenvalues,
        naive.directions,
        mean_over_draws(_squared_lengths(draws.entries, inner.gram())),
        cross,
        (cross.value, naive.eigenvalues[:, 0]),
    )


def compact_root(entries: Tensor) -> Matrix:
    """Return R [N, p, p] with RᵀR = BᵀB, for B [N, S, p]; B itself if S ≤ p.

    R is NaN where B is not finite.
    """
    if entries.shape[1] <= entries.shape[2]:
        return Matrix(entries)
    values, vectors = descending(entries.mT @ entries)
    return Matrix(values.clamp_min(0).sqrt().unsqueeze(-1) * vectors.mT)


def _cross_fitted(entries: Tensor, inner: LinearOperator) -> Estimate:
    even, odd = (
        half * math.sqrt(entries.shape[1] / half.shape[1])
        for half in (entries[:, 0::2], entries[:, 1::2])
    )
    first = _rayleigh(even, odd, inner)
    second = _rayleigh(odd, even, inner)
    value = (first.value + second.value) / 2
    errors = torch.stack([_error(first), _error(second)])
    return Estimate(value, errors.square().sum(dim=0).sqrt() / 2)


def _rayleigh(fit: Tensor, test: Tensor, inner: LinearOperator) -> Estimate:
    """Estimate vᵀGv from `test` for the worst direction v of `fit`."""
    direction = decompose_exact(Product(compact_root(fit), inner), 1).directions
    along = (test @ inner.matmat(direction)).squeeze(-1)
    return mean_over_draws(along.square() * test.shape[1])


def _squared_lengths(entries: Tensor, gram: Tensor) -> Tensor:
    lengths = ((entries @ gram) * entries).sum(dim=-1).clamp_min(0)
    return lengths * entries.shape[1]


def mean_over_draws(samples: Tensor) -> Estimate:
    """Return the mean over the draws [N, S] and its standard error."""
    error = samples.std(dim=1) / math.sqrt(samples.shape[1])
    return Estimate(samples.mean(dim=1), error)


def _error(estimate: Estimate) -> Tensor:
    if estimate.standard_error is None:
        return torch.zeros_like(estimate.value)
    return estimate.standard_error
