"""Integrals over the levels of a one-dimensional law, by scipy alone.

Nothing here uses robaudit: densities, quantiles and tails are scipy.stats', derivatives
are central differences of sixth order, and integrals over levels u in (0, 1) are
double-exponential (tanh-sinh) sums over each half, counted from its own end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Law = Callable[..., stats.rv_continuous]

STENCIL = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}  # sixth order first derivative

LAWS: dict[str, Law] = {
    "beta": lambda a, b: stats.beta(a, b),
    "cauchy": lambda loc, scale: stats.cauchy(loc, scale),
    "exponential": lambda rate: stats.expon(scale=1 / rate),
    "gamma": lambda a, rate: stats.gamma(a, scale=1 / rate),
    "gumbel": lambda loc, scale: stats.gumbel_r(loc, scale),
    "half_normal": lambda scale: stats.halfnorm(scale=scale),
    "evidential": lambda loc, nu, a, b: stats.t(
        2 * a, loc, np.sqrt(b * (1 + nu) / (nu * a))
    ),
    "inverse_gamma": lambda a, rate: stats.invgamma(a, scale=rate),
    "laplace": lambda loc, scale: stats.laplace(loc, scale),
    "log_normal": lambda loc, scale: stats.lognorm(scale, scale=np.exp(loc)),
    "logistic": lambda loc, scale: stats.logistic(loc, scale),
    "moving_pareto": lambda scale, alpha: stats.pareto(alpha, scale=scale),
    "normal": lambda loc, scale: stats.norm(loc, scale),
    "pareto": lambda alpha: stats.pareto(alpha, scale=1.5),
    "student_t": lambda df, loc, scale: stats.t(df, loc, scale),
    "uniform": lambda low, high: stats.uniform(low, high - low),
    "weibull": lambda scale, k: stats.weibull_min(k, scale=scale),
}


def nearly(value: float, rel: float):
    """Equal up to a relative error alone: pytest would let 1e-12 pass for 1e-24."""
    return pytest.approx(value, rel=rel, abs=0)


def levels() -> tuple[Array, Array]:
    """Return levels in (0, ½) counted from an end, and their weights."""
    t = np.linspace(-4.6, 4.6, 461)
    s = np.pi / 2 * np.sinh(t)
    u = 0.5 / (1 + np.exp(-2 * s))
    weights = 0.5 * np.pi / 2 * np.cosh(t) / np.cosh(s) ** 2 / 2 * (t[1] - t[0])
    return u, weights


def mean_over_levels(
    function: Callable[[Callable[[stats.rv_continuous], Array]], Array],
):
    """Return ∫ function du, where function gets `draw`: a law -> its quantiles."""
    u, weights = levels()
    total = 0.0
    for draw in (lambda law: law.ppf(u), lambda law: law.isf(u)):
        with np.errstate(all="ignore"):
            values = np.asarray(function(draw))
        known = np.isfinite(values)  # 1 − 1e-17 is 1, where a density may be infinite
        assert (weights * ~known).sum(-1).max() < 1e-14
        total = total + (np.where(known, values, 0.0) * weights).sum(-1)
    return total


def steps_of(
    law: Law, phi: Sequence[float], value: Callable[..., Array]
) -> list[Array]:
    """Return ∂ value(law(φ)) / ∂φ_i for each i."""
    found = []
    for i, parameter in enumerate(phi):
        h = 2e-3 * max(abs(parameter), 0.1)
        total = 0.0
        for k, weight in STENCIL.items():
            for sign in (1, -1):
                moved = [*phi[:i], parameter + sign * k * h, *phi[i + 1 :]]
                total = total + sign * weight * value(law(*moved)) / h
        found.append(total)
    return found


def fisher(law: Law, phi: Sequence[float]) -> Array:
    """Return E[s sᵀ]."""

    def products(draw):
        x = draw(law(*phi))
        score = steps_of(law, phi, lambda moved: moved.logpdf(x))
        return np.einsum("ik,jk->ijk", score, score)

    return mean_over_levels(products)


def transport(law: Law, phi: Sequence[float]) -> Array:
    """Return ∫ ∂Q ∂Qᵀ du."""

    def products(draw):
        speed = steps_of(law, phi, draw)
        return np.einsum("ik,jk->ijk", speed, speed)

    return mean_over_levels(products)


def relative_entropy(law: Law, phi: Sequence[float], other: Sequence[float]) -> float:
    """Return KL."""

    def gain(draw):
        x = draw(law(*phi))
        return law(*phi).logpdf(x) - law(*other).logpdf(x)

    return float(mean_over_levels(gain))


def renyi(
    law: Law, phi: Sequence[float], other: Sequence[float], alpha: float
) -> float:
    """Return log E_p (q/p)^{1−α} / (α−1)."""

    def ratio(draw):
        x = draw(law(*phi))
        return np.exp((1 - alpha) * (law(*other).logpdf(x) - law(*phi).logpdf(x)))

    return float(np.log(mean_over_levels(ratio)) / (alpha - 1))


def jensen_shannon(law: Law, phi: Sequence[float], other: Sequence[float]) -> float:
    """Return ½ E_p log 2p/(p+q) + ½ E_q log 2q/(p+q)."""

    def half(first, second):
        def loss(draw):
            x = draw(law(*first))
            r = law(*second).logpdf(x) - law(*first).logpdf(x)
            return np.log(2) - np.logaddexp(0, r)

        return mean_over_levels(loss)

    return float(half(phi, other) + half(other, phi)) / 2


def squared_distance(law: Law, phi: Sequence[float], other: Sequence[float]) -> float:
    """Return ∫ (Q − Q')² du."""
    return float(
        mean_over_levels(lambda draw: (draw(law(*phi)) - draw(law(*other))) ** 2)
    )
