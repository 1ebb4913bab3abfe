"""Decomposition of a form whose root is made of draws.

G = (1/S) Σ_s a_s a_sᵀ with a_s = Jᵀ b_s for draws b_s [p]. Its trace is an unbiased
mean. Its largest eigenvalue is not: maximising over directions also maximises the
noise, E[λ_max] ≥ λ_max, by a factor near (1 + √(r/S))² where the spectrum is flat (r
the rank). Cross-fitting removes the optimism: the direction comes from one half of the
draws and its Rayleigh quotient from the other, which is at most λ_max in expectation.
The truth lies between the two; the bracket adds to each end its own 95 % margin, and
the angle between the directions of the two halves says how much they know of it.

Draws come in units (see `Sampled`): a mean over units has a standard error from their
spread, whatever happens inside a unit.

Everything happens in p×p matrices: b S_J bᵀ with S_J = J Jᵀ, and one Cholesky-free
root of Bᵀ B. No draw touches the input's d dimensions.

Reference:
    Chernozhukov et al., Double/debiased machine learning, Econometrics Journal 21
    (2018), section 1, for cross-fitting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.exact import decompose_exact, descending
from audit.linalg.operators import LinearOperator, Matrix, Product, Sampled
from audit.linalg.spectrum import Estimate, Spectrum

_NORMAL_975 = 1.959963984540054


def decompose_sampled(
    draws: Sampled, inner: LinearOperator | None, top: int
) -> Spectrum:
    """Decompose (B J)ᵀ(B J) for draws B [N, S, p] / √S and J [N, p, d] (None: 1)."""
    naive = decompose_exact(_pulled(draws.entries, inner), top)
    own = _along(draws.entries, naive.directions[:, :, :1], inner)
    cross = _cross_fitted(draws, inner)
    units = draws.entries.shape[1] // draws.group
    lower = cross.estimate.value - _margin(cross.estimate, units // 2)
    upper = naive.eigenvalues[:, 0] + _upper_margin(own, draws.group)
    upper = torch.maximum(upper, cross.estimate.value)  # equal ones round apart
    return Spectrum(
        naive.eigenvalues,
        naive.directions,
        mean_over_units(squared_rows(draws.entries, inner), draws.group),
        cross.estimate,
        (lower.clamp_min(0), upper),
        cross.angle,
    )


def mean_over_units(contributions: Tensor, group: int) -> Estimate:
    """Return the sum over rows [N, R] and its standard error, from units of rows."""
    units = _units(contributions, group)
    return Estimate(units.sum(dim=1), units.std(dim=1) * math.sqrt(units.shape[1]))


def _units(contributions: Tensor, group: int) -> Tensor:
    """Return the sums [N, R / group] over the rows of each unit."""
    n, rows = contributions.shape
    return contributions.reshape(n, rows // group, group).sum(dim=2)


def mean_of(draws: Sampled, inner: LinearOperator | None) -> Estimate:
    """Return the length [N] of J ᵀm, m the centre, and what sampling alone makes of it.

    The standard error is √(E‖Jᵀ m‖²) where the true mean is zero.
    """
    assert draws.center is not None
    n, rows, p = draws.entries.shape
    units = rows // draws.group
    sums = draws.entries.reshape(n, units, draws.group, p).sum(dim=2)
    means = sums * (units / math.sqrt(draws.draws))  # the rows are s/√S
    spread = squared_rows(means, inner).sum(dim=1) / (units * (units - 1))
    length = squared_rows(draws.center.unsqueeze(1), inner).sum(dim=1).sqrt()
    return Estimate(length, spread.sqrt())


def compact_root(entries: Tensor) -> Matrix:
    """Return R [N, p, p] with RᵀR = BᵀB, for B [N, S, p]; B itself if S ≤ p.

    R is NaN where B is not finite.
    """
    if entries.shape[1] <= entries.shape[2]:
        return Matrix(entries)
    values, vectors = descending(entries.mT @ entries)
    return Matrix(values.clamp_min(0).sqrt().unsqueeze(-1) * vectors.mT)


def squared_rows(entries: Tensor, inner: LinearOperator | None) -> Tensor:
    """Return |Jᵀ b|² [N, R] for the rows b of entries [N, R, p]."""
    if inner is None:
        return entries.square().sum(dim=-1)
    return ((entries @ inner.gram()) * entries).sum(dim=-1).clamp_min(0)


@dataclass(frozen=True)
class _CrossFit:
    """λ_max from halves, and the angle between their directions [N] in degrees."""

    estimate: Estimate
    angle: Tensor


def _cross_fitted(draws: Sampled, inner: LinearOperator | None) -> _CrossFit:
    even, odd = _halves(draws)
    group = draws.group
    directions = [
        decompose_exact(_pulled(half, inner), 1).directions for half in (even, odd)
    ]
    first = mean_over_units(_along(odd, directions[0], inner), group)
    second = mean_over_units(_along(even, directions[1], inner), group)
    errors = torch.stack([_error(first), _error(second)])
    value = (first.value + second.value) / 2
    estimate = Estimate(value, errors.square().sum(dim=0).sqrt() / 2)
    cosine = (directions[0] * directions[1]).sum(dim=(1, 2)).abs().clamp_max(1)
    return _CrossFit(estimate, torch.rad2deg(cosine.acos()))


def _halves(draws: Sampled) -> tuple[Tensor, Tensor]:
    """Return every other unit's rows, scaled to averages of their own."""
    n, rows, p = draws.entries.shape
    units = draws.entries.reshape(n, rows // draws.group, draws.group, p)
    even, odd = (
        half.reshape(n, -1, p) * math.sqrt(units.shape[1] / half.shape[1])
        for half in (units[:, 0::2], units[:, 1::2])
    )
    return even, odd


def _pulled(entries: Tensor, inner: LinearOperator | None) -> LinearOperator:
    root = compact_root(entries)
    return root if inner is None else Product(root, inner)


def _along(test: Tensor, direction: Tensor, inner: LinearOperator | None) -> Tensor:
    """Return (aᵀv)² [N, R] for the rows of `test`; their sum estimates vᵀGv.

    Shapes: direction v [N, d, 1].
    """
    image = direction if inner is None else inner.matmat(direction)
    return (test @ image).squeeze(-1).square()


def _margin(estimate: Estimate, units: int) -> Tensor:
    """Return the half width of a 95 % interval by Student's t."""
    return _error(estimate) * t_quantile(units - 1)


def _upper_margin(contributions: Tensor, group: int) -> Tensor:
    """Return how far the interval reaches up: further where units are skewed.

    Squares have long upper tails, and a mean that has missed them has a small error
    too. By the Edgeworth expansion the quantile t of the studentised mean of U units
    with skewness γ moves by γ (1 + 2 t²) / (6 √U) (Hall, 1992, section 2.6).
    """
    units = _units(contributions, group)
    count = units.shape[1]
    centred = units - units.mean(dim=1, keepdim=True)
    spread = centred.square().mean(dim=1).sqrt()
    skewness = centred.pow(3).mean(dim=1) / spread.pow(3)
    skewness = torch.where(spread > 0, skewness, 0.0).clamp_min(0)
    t = t_quantile(count - 1)
    reach = t + skewness * (1 + 2 * t**2) / (6 * math.sqrt(count))
    return units.std(dim=1) * math.sqrt(count) * reach


def t_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, to 1 % from 3 degrees of freedom on.

    The expansion of Hill (1970) about the normal quantile; Abramowitz & Stegun 26.7.5.
    """
    z, v = _NORMAL_975, max(freedom, 1)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def _error(estimate: Estimate) -> Tensor:
    if estimate.standard_error is None:
        return torch.zeros_like(estimate.value)
    return estimate.standard_error
