"""The laws of exact values at steps of any size: sums over all outcomes.

A local form says nothing of the order of two laws, of the order α, or of a step that is
not small. The sums do. With the masses w of the points, f and g the densities,

    KL       Σ w [f log(f/g) − f + g]
    Rényi    log1p(Σ w [f^α g^{1−α} − α f − (1 − α) g]) / (α − 1)
    JS       Σ w [f log(f/m) + g log(g/m)] / 2,     m = (f + g) / 2

in which what f and g together leave out of the points is of second order.

Source: van Erven & Harremoës, IEEE Transactions on Information Theory 60 (2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from audit.families.checking.points import log_density, points_of
from audit.families.checking.scores import draws_on_its_line
from audit.families.checking.subject import INTEGRATED, RESOLVED, SUMMED, Subject
from audit.families.continuous import Continuous

_STEPS = (0.1, 0.5)
_ORDERS = (0.3, 2.0)
_OUTER = 0.1  # of the points, at either end
_ENDED = 1e-6  # relative: a sum to which the outer points add more may not end
_LEAST = 1e-9  # smaller differences are rounding
Exact = Callable[[Tensor, Tensor], Tensor | None]
Terms = Callable[[Tensor, Tensor], Tensor]
"""log f and log g [K] -> what is summed [K]."""


def kl_is_the_sum_over_all_outcomes(it: Subject) -> None:
    """KL is Σ q (log q − log q') over all outcomes of one number, at any step."""
    one = it.alone()
    _is_the_sum(one, "KL", one.law.kl, _relative_entropy)


def other_values_are_sums_over_all_outcomes(it: Subject) -> None:
    """So are Rényi's divergences of any order, and the Jensen-Shannon divergence."""
    one = it.alone()
    for order in _ORDERS:
        exact, terms = partial(one.law.renyi, alpha=order), partial(_tilted, order)
        total = partial(_renyi, order)
        _is_the_sum(one, f"renyi of order {order:g}", exact, terms, total)
    _is_the_sum(one, "jensen_shannon", one.law.jensen_shannon, _jensen_shannon)


def distances_are_those_of_quadrature(it: Subject) -> None:
    """A closed form of E(T − T')² is the quadrature's, at any step and in any row."""
    own, phi = it.law, it.phi.detach()
    if not isinstance(own, Continuous) or not draws_on_its_line(it):
        return
    if type(own).squared_distance is Continuous.squared_distance:
        return
    law = "squared_distance is what the quadrature of the law's quantiles gives"
    for other in _others(it):
        pair = own.split(phi), own.split(other)
        found = own.squared_distance(*pair)
        expected = Continuous.squared_distance(own, *pair)
        known = torch.isfinite(expected)
        close = torch.isclose(found, expected, rtol=1e-5, atol=_LEAST) | ~known
        it.demand(close.all(), law, expected, found)


def _others(it: Subject) -> Iterator[Tensor]:
    """Yield φ' [N, p] a step away, small and large, where all are members."""
    for size in _STEPS:
        step = it.step(size)
        for other in (it.phi.detach() + step, it.phi.detach() - step):
            wrong = torch.stack(list(it.law.violations(other).values()))
            if not bool(wrong.any()):
                yield other


def _is_the_sum(
    one: Subject,
    name: str,
    exact: Exact,
    terms: Terms,
    total: Callable[[Tensor], Tensor] = lambda sum_: sum_,
) -> None:
    """Hold an exact value of the first law against a function of its sum."""
    phi = one.first()
    if one.numbers != 1 or exact(phi, phi) is None:
        return
    law = f"{name} is its sum over all outcomes"
    tolerance = SUMMED if one.law.discrete else INTEGRATED
    points, weights = points_of(one)
    here = log_density(one, points, phi)
    for other in _others(one):
        there = log_density(one, points, other[:1])
        known = exact(phi, other[:1])
        parts = weights * terms(here, there)
        if known is None or not _resolved(weights, here, there, parts):
            continue
        value = total(parts.sum())
        close = (known[0] - value).abs() <= tolerance * value.abs() + _LEAST
        one.demand(close, law, value, known[0])


def _resolved(weights: Tensor, here: Tensor, there: Tensor, parts: Tensor) -> bool:
    """Tell whether points carry the mass of two laws, and a sum of parts [K] ends."""
    masses = torch.stack([(weights * each.exp()).sum() for each in (here, there)])
    outer = int(_OUTER * len(parts)) if len(parts) > 1 / _OUTER**2 else 0
    inner = parts[outer : len(parts) - outer].sum()
    ended = (parts.sum() - inner).abs() <= _ENDED * inner.abs()
    return bool(((masses - 1).abs() < RESOLVED).all() and ended)


def _relative_entropy(log_f: Tensor, log_g: Tensor) -> Tensor:
    f, g = log_f.exp(), log_g.exp()
    return torch.where(f > 0, f * (log_f - log_g), 0.0) - f + g


def _tilted(order: float, log_f: Tensor, log_g: Tensor) -> Tensor:
    log_t = order * log_f + (1 - order) * log_g
    tilted = torch.where(log_f > -torch.inf, log_t, -torch.inf).exp()
    return tilted - order * log_f.exp() - (1 - order) * log_g.exp()


def _renyi(order: float, sum_: Tensor) -> Tensor:
    return torch.log1p(sum_) / (order - 1)


def _jensen_shannon(log_f: Tensor, log_g: Tensor) -> Tensor:
    log_m = torch.logaddexp(log_f, log_g) - math.log(2.0)
    sides = [
        torch.where(log_p > -torch.inf, log_p.exp() * (log_p - log_m), 0.0)
        for log_p in (log_f, log_g)
    ]
    return (sides[0] + sides[1]) / 2


LAWS = (
    kl_is_the_sum_over_all_outcomes,
    other_values_are_sums_over_all_outcomes,
    distances_are_those_of_quadrature,
)
