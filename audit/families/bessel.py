"""The log-partition ln I₀ of the von Mises law, its two derivatives and its excess.

A = (ln I₀)' = I₁/I₀ satisfies Riccati's equation A' = 1 − A/κ − A². For a large κ all
of 1 − A = 1/2κ + … and A' = 1/2κ² + … is lost to rounding, so they are series there:
with A = Σ a_n κ^−n the equation gives a₀ = 1 and

    2 a_n = (n−2) a_{n−1} − Σ_{0<i<n} a_i a_{n−i}.

The excess ln I₀(b) − ln I₀(a) − A(a) (b − a) is ∫_a^b (b − t) A'(t) dt. For a small
step that is integrated, as h² ∫ (1−s) A'(a + hs) ds: every term is positive. For a
large one the difference itself has all its digits, with ln I₀(κ) − κ for ln I₀.

Sources: DLMF, sections 10.29 and 10.40; Amos, Mathematics of Computation 28 (1974).
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from audit.nodes.panels import gauss_legendre

LARGE = 40.0  # from here on the series are exact to rounding
TERMS = 20
CLOSE = 0.5  # a step of ln(1 + κ) below which the excess is integrated


def log_i0e(kappa: Tensor) -> Tensor:
    """Return ln I₀(κ) − κ."""
    value: Tensor = torch.special.i0e(kappa).log()
    return value


def mean_cosine(kappa: Tensor) -> Tensor:
    """Return A(κ)."""
    value: Tensor = torch.special.i1e(kappa) / torch.special.i0e(kappa)
    return value


def lack(kappa: Tensor) -> Tensor:
    """Return 1 − A(κ)."""
    i0, i1 = torch.special.i0e(kappa), torch.special.i1e(kappa)
    return torch.where(kappa < LARGE, (i0 - i1) / i0, -_series(kappa, _ratio()))


def deviation(kappa: Tensor) -> Tensor:
    """Return √A'(κ), the standard deviation of cos(θ−μ)."""
    mean = mean_cosine(kappa)
    tilt = torch.where(kappa == 0, 0.5, mean / kappa)
    slopes = tuple(-n * a for n, a in enumerate(_ratio()))
    large = (_series(kappa, slopes) * kappa).sqrt() / kappa
    return torch.where(kappa < LARGE, (1 - tilt - mean.square()).sqrt(), large)


def log_i0_excess(at: Tensor, to: Tensor) -> Tensor:
    """Return ln I₀(to) − ln I₀(at) − A(at) (to − at) ≥ 0, to relative accuracy."""
    step = to - at
    far = log_i0e(to) - log_i0e(at) + lack(at) * step
    stretch = torch.log1p(to) - torch.log1p(at)
    close = stretch.abs() < CLOSE
    small = torch.where(close, step, 0.0)
    rule = gauss_legendre()
    total = torch.zeros_like(step)
    for node, weight in zip(rule.nodes.tolist(), rule.weights.tolist(), strict=True):
        slope = small * deviation(at + small * (1 + node) / 2)
        total = total + weight * (1 - node) * slope.square()
    return torch.where(close, total / 4, far)


def _series(kappa: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Return Σ_{n≥1} c_n κ^−n."""
    total = torch.zeros_like(kappa)
    for coefficient in reversed(coefficients[1:]):
        total = (total + coefficient) / kappa
    return total


@cache
def _ratio() -> tuple[float, ...]:
    """Return the coefficients a_n of A."""
    found = [1.0]
    for n in range(1, TERMS):
        products = sum(found[i] * found[n - i] for i in range(1, n))
        found.append(((n - 2) * found[n - 1] - products) / 2)
    return tuple(found)
