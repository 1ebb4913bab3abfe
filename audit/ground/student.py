"""Quantiles of Student's t, the only ones in the project.

The upper tail of t with ν degrees of freedom is half a regularised incomplete beta
function, P(T > t) = I_x(ν/2, 1/2) / 2 with x = ν / (ν + t²) (Abramowitz & Stegun
26.7.1). It is computed by its continued fraction (26.5.8), on whichever side of 1/2
that converges. Newton's method then solves log P(T > t) = log(1 − p) for log t: that
curve is concave and falls, from a slope of 0 to one of −ν, so a start at or above the
root is followed by a descent to it, and any start by such a point. Above ν = 10⁴ the
three terms of the expansion about the normal quantile (26.7.5) are nearer than 1e-11.

Many quantiles of one p are read off a polynomial: log t is a smooth function of 1/ν on
[0, 1], and interpolating it at 32 Chebyshev points is off by less than 1e-12 of t
(measured against Newton's method, whose own rounding is 2e-13).

The paper side imports this: no torch here, no scipy.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Of = TypeVar("Of", float, NDArray[np.float64])

_LARGE = 1e4  # degrees of freedom
_STEPS, _TERMS = 60, 2000
_TINY = 1e-300
_NODES = 32  # of the polynomial


@lru_cache(maxsize=1024)
def student_quantile(freedom: float, p: float = 0.975) -> float:
    """Return the p-quantile of Student's t.

    Args:
        freedom: ν ≥ 1; need not be whole, may be infinite.
        p: in (0, 1).
    """
    return float(student_quantiles(np.array([float(freedom)]), p)[0])


def student_quantiles(freedom: Floats, p: float = 0.975) -> Floats:
    """Return the p-quantiles [n] of Student's t, NaN where ν [n] is NaN.

    Args:
        freedom: ν ≥ 1 [n].
        p: in (0, 1).

    Raises:
        ValueError: p or ν is out of range.
    """
    if not 0 < p < 1 or bool((freedom < 1).any()):
        raise ValueError(f"no quantile {p} of Student's t with {freedom} freedom")
    if p < 0.5:
        return -student_quantiles(freedom, 1 - p)
    if p == 0.5:
        return np.zeros_like(freedom)
    z = NormalDist().inv_cdf(p)
    found = _expansion(z, freedom)
    few = freedom <= _LARGE
    if few.any():
        found[few] = _newton(freedom[few], math.log1p(-p), z)
    return found


def interpolated_quantiles(freedom: Floats, p: float) -> Floats:
    """Return the p-quantiles [n] of Student's t to 1e-12, NaN where ν [n] is NaN.

    Args:
        freedom: ν ≥ 1 [n].
        p: in (0.5, 1).
    """
    x, series = 2 / freedom - 1, _table(p)
    one = x.size == 1  # a number: the same sum in a tenth of the time
    log_t = np.full_like(x, _sum(series, x.item())) if one else _sum(series, x)
    found: Floats = np.exp(log_t)
    return found


def _sum(series: tuple[float, ...], x: Of) -> Of:
    """Return Σ c_k T_k(x) by Clenshaw's recurrence."""
    before, last = series[-2] + 0 * x, series[-1] + 0 * x
    for c in series[-3::-1]:
        before, last = c - last, before + last * (2 * x)
    return before + last * x


@lru_cache(maxsize=64)
def _table(p: float) -> tuple[float, ...]:
    """Return log t as a Chebyshev series in 2/ν − 1, for 1/ν in [0, 1]."""
    angles = math.pi * (np.arange(_NODES) + 0.5) / _NODES
    values = np.log(student_quantiles(2 / (np.cos(angles) + 1), p))
    waves = np.cos(np.outer(np.arange(_NODES), angles))
    series: Floats = waves @ values * (2 / _NODES)
    series[0] /= 2
    return tuple(map(float, series))


def _expansion(z: float, v: Floats) -> Floats:
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    total = np.full_like(v, z)
    for power, term in enumerate(terms, 1):
        total += term / v**power
    return np.where(np.isnan(v), np.nan, total)


def _newton(v: Floats, log_tail: float, z: float) -> Floats:
    """Return t with log P(T > t) = log_tail, by Newton's method for log t."""
    log_t = np.full_like(v, math.log(z))
    log_size = _log_size(v / 2)
    for _ in range(_STEPS):
        log_tails = _log_upper_tail(log_t, v, log_size)
        log_density = -log_size - np.log(v) / 2 - (v + 1) / 2 * _log_one_plus(log_t, v)
        slope = np.exp(log_density + log_t - log_tails)
        step = (log_tails - log_tail) / slope
        log_t += step
        if np.abs(step).max() < 1e-13:
            break
    return np.exp(log_t)


def _log_one_plus(log_t: Floats, v: Floats) -> Floats:
    """Return log(1 + t²/ν)."""
    return np.logaddexp(0.0, 2 * log_t - np.log(v))


def _log_size(a: Floats) -> Floats:
    """Return log B(a, 1/2), by Stirling's series for Γ(a + 1/2) / Γ(a) at a + 16.

    Γ(b + 1/2) / Γ(b) = √b (1 − 1/(8 b) + …); the logarithm of that has odd powers only.
    """
    steps = np.arange(16)
    shift = np.log1p(-0.5 / (a[:, None] + steps + 0.5)).sum(axis=1)
    b = a + len(steps)
    series = -1 / (8 * b) + 1 / (192 * b**3) - 1 / (640 * b**5) + 17 / (14336 * b**7)
    ratio: Floats = np.log(b) / 2 + series + shift  # log Γ(a + 1/2) − log Γ(a)
    return math.log(math.pi) / 2 - ratio


def _log_upper_tail(log_t: Floats, v: Floats, log_size: Floats) -> Floats:
    """Return log P(T > t), t > 0."""
    log_x = -_log_one_plus(log_t, v)  # x = ν / (ν + t²)
    log_y = 2 * log_t - np.log(v) + log_x  # 1 − x
    x, y, a, half = np.exp(log_x), np.exp(log_y), v / 2, np.full_like(v, 0.5)
    common = a * log_x + log_y / 2 - log_size  # log x^a (1 − x)^½ / B
    direct = x < (a + 1) / (a + 2.5)
    first, second = np.where(direct, a, half), np.where(direct, half, a)
    fraction = _fraction(first, second, np.where(direct, x, y))
    part = common - np.log(first) + np.log(fraction)
    rest = np.log1p(-np.exp(np.minimum(part, -1e-17)))
    return np.where(direct, part, rest) - math.log(2)


def _fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return I_x(a, b) a B(a, b) / (x^a (1 − x)^b), by Lentz's method."""
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    total = d.copy()
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            total *= d * c
        if np.abs(d * c - 1).max() < 1e-15:
            break
    return total


def _away_from_zero(values: Floats) -> Floats:
    return np.where(np.abs(values) < _TINY, _TINY, values)
