"""Special functions that `torch` lacks or rounds too early.

The asymptotic series of ψ(x + ½) − ψ(x) and its antiderivative are Abramowitz &
Stegun 6.3.18 and 6.1.40 applied twice; their coefficients are those of ν^-k at x = ν/2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from audit.nodes.excess import BINET, log_ratio
from audit.nodes.excess import LARGE as BINET_LARGE

LARGE = 30.0  # from here on the series are exact to rounding
DIGAMMA_STEP = {2: 1 / 2, 4: -1 / 4, 6: 1 / 2, 8: -17 / 8, 10: 31 / 2, 12: -691 / 4}
LGAMMA_STEP = {1: -1 / 4, 3: 1 / 24, 5: -1 / 20, 7: 17 / 112, 9: -31 / 36, 11: 691 / 88}


def trigamma(x: Tensor) -> Tensor:
    """Return ψ'(x) = ζ(2, x), Hurwitz's zeta function, for x > 0.

    `torch.polygamma(1, x)` is a short asymptotic series, wrong by up to 1e-9.
    """
    value: Tensor = torch.special.zeta(torch.full_like(x, 2.0), x)
    return value


def log_trigamma(x: Tensor) -> Tensor:
    """Return x² ψ'(x), the information about ln x: 1 at 0, x for large x."""
    above = 1 + x.square() * trigamma(1 + x)
    value = torch.where(x < 1, above, x.square() * trigamma(x))
    return torch.where(x > BINET_LARGE, x + _binet_trigamma_series(x), value)


def binet(x: Tensor) -> Tensor:
    """Return ln Γ(x) − x ln x + x, ½ ln(2π/x) for large x."""
    terms = (c * x ** (-n) for n, c in BINET.items())
    series = sum(terms, start=(math.log(2 * math.pi) - x.log()) / 2)
    return torch.where(x > BINET_LARGE, series, torch.lgamma(x) - x * (x.log() - 1))


def binet_trigamma(x: Tensor) -> Tensor:
    """Return x² [ψ'(x) − 1/x]: 1 at 0, ½ for large x."""
    small = log_trigamma(x) - x
    return torch.where(x > BINET_LARGE, _binet_trigamma_series(x), small)


def _binet_trigamma_series(x: Tensor) -> Tensor:
    powers = (n * (n + 1) * c * x ** (-n) for n, c in BINET.items())
    return sum(powers, start=torch.full_like(x, 0.5))


def times(mass: Tensor, value: Tensor | float) -> Tensor:
    """Return mass · value, and 0 where the mass is, whatever the value."""
    return torch.where(mass == 0, 0.0, mass * value)


def lgamma_change(at: Tensor, to: Tensor, step: Tensor) -> Tensor:
    """Return ln Γ(to) − ln Γ(at), to as many digits as `step` = to − at has."""
    total = torch.zeros_like(at + step)
    for k in range(int(BINET_LARGE)):
        total = total - log_ratio(at + k, to + k, step)
    at, to = at + BINET_LARGE, to + BINET_LARGE
    growth = log_ratio(at, to, step)
    total = total + (to - 0.5) * growth + step * (at.log() - 1)
    for n, coefficient in BINET.items():
        total = total + coefficient * at ** (-n) * torch.expm1(-n * growth)
    return total


def edge_log(p: Tensor) -> Tensor:
    """Return ln p for p ≥ 0, with an infinite derivative at 0.

    A probability of zero can only grow: no step there has a finite price. Autograd
    would make 0 · ∞ = NaN of a term p ln p.
    """
    value: Tensor = _EdgeLog.apply(p)  # type: ignore[no-untyped-call]
    return value


class _EdgeLog(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, p: Tensor) -> Tensor:
        ctx.save_for_backward(p)
        return p.log()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 (torch's own)
        (p,) = ctx.saved_tensors
        return torch.where(p == 0, torch.inf, gradient / p)


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
