"""Special functions that `torch` lacks or rounds too early.

The asymptotic series of ψ(x + ½) − ψ(x) and its antiderivative are Abramowitz &
Stegun 6.3.18 and 6.1.40 applied twice; their coefficients are those of ν^-k at x = ν/2.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGE = 30.0  # from here on the series are exact to rounding
DIGAMMA_STEP = {2: 1 / 2, 4: -1 / 4, 6: 1 / 2, 8: -17 / 8, 10: 31 / 2, 12: -691 / 4}
LGAMMA_STEP = {1: -1 / 4, 3: 1 / 24, 5: -1 / 20, 7: 17 / 112, 9: -31 / 36, 11: 691 / 88}
CLOSE = 0.05  # of a step, relative to its start: Taylor's series is used


def trigamma(x: Tensor) -> Tensor:
    """Return ψ'(x) = ζ(2, x) for x > 0.

    `torch.polygamma(1, x)` is a short asymptotic series, wrong by up to 1e-9.
    """
    return zeta(2, x)


def zeta(power: int, x: Tensor) -> Tensor:
    """Return the Hurwitz zeta function Σ (x + k)^-power."""
    value: Tensor = torch.special.zeta(torch.full_like(x, float(power)), x)
    return value


def lgamma_excess(at: Tensor, step: Tensor) -> Tensor:
    """Return ln Γ(at + step) − ln Γ(at) − ψ(at) step, to relative accuracy.

    Its Taylor series is Σ_{k≥2} (−step)^k ζ(k, at) / k.
    """
    near = torch.where(step.abs() < CLOSE * at, step, torch.zeros_like(step))
    series = sum(((-near) ** k * zeta(k, at) / k for k in range(2, 13)), start=near * 0)
    far = torch.lgamma(at + step) - torch.lgamma(at) - torch.digamma(at) * step
    return torch.where(step.abs() < CLOSE * at, series, far)


def digamma_step(nu: Tensor) -> Tensor:
    """Return ψ((ν + 1)/2) − ψ(ν/2) − 1/ν, which is of order ν^-2."""
    exact = torch.digamma((nu + 1) / 2) - torch.digamma(nu / 2) - 1 / nu
    return torch.where(nu > LARGE, _series(DIGAMMA_STEP, nu), exact)


def lgamma_step(nu: Tensor) -> Tensor:
    """Return ln Γ((ν + 1)/2) − ln Γ(ν/2) − ½ ln(ν/2), which is of order 1/ν."""
    exact = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - (nu / 2).log() / 2
    return torch.where(nu > LARGE, _series(LGAMMA_STEP, nu), exact)


def trigamma_step(nu: Tensor) -> Tensor:
    """Return ¼ [ψ'(ν/2) − ψ'((ν + 1)/2)] − (ν + 1)/2ν³, of order ν^-5."""
    exact = (trigamma(nu / 2) - trigamma((nu + 1) / 2)) / 4 - (nu + 1) / (2 * nu**3)
    series = {k + 1: k * c / 2 for k, c in DIGAMMA_STEP.items() if k > 2}
    return torch.where(nu > LARGE, _series(series, nu), exact)


def _series(coefficients: dict[int, float], nu: Tensor) -> Tensor:
    terms = (c * nu ** (-k) for k, c in coefficients.items())
    return sum(terms, start=torch.zeros_like(nu))
