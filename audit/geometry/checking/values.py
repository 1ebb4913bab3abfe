"""The laws of a divergence's values: exact ones, slopes, and what they are means of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from audit.families.draws import draws_of
from audit.families.tensors import Pointwise
from audit.geometry.checking.subject import DRAWS, ERRORS, Subject
from audit.nodes.noise import Noise

_WIDEST = 300.0
"""A log ratio beyond which the means over both laws look no farther."""
_STEP, _FEW = 1e-5, 1_000
_ROUNDED = 1 + 1e-9


def its_values_are_those_of_a_divergence(it: Subject) -> None:
    """Its exact value is float64 [N], zero between equals, else above zero."""
    law = "its exact value is float64 [N], zero between equals, else above zero"
    for other, what in ((it.phi, "equals"), (it.phi + it.step(0.1), "others")):
        value = it.divergence.exact(it.law, it.phi, other)
        if value is None:
            continue
        it.demand(list(value.shape) == [len(it.phi)], law, [len(it.phi)], value.shape)
        it.demand(value.dtype == torch.float64, law, torch.float64, value.dtype)
        equal = what == "equals"
        right = value.abs() < 1e-12 if equal else value > 0
        it.demand(right.all(), law, f"{'0' if equal else '> 0'} of {what}", value)


def its_values_keep_their_bounds(it: Subject) -> None:
    """Its value is from 0 to its supremum, and finite where it says so."""
    law = "its value is from 0 to its supremum, and finite where it says so"
    most, finite = it.divergence.supremum, it.divergence.finite
    for phi, other in it.others():
        found = _unbounded(it, phi, other)
        if found is None:
            return
        value, error = found
        right = (value >= 0) & (value - ERRORS * error <= most * _ROUNDED)
        if finite:
            right = right & value.isfinite()
        expected = f"0 to {most:g}{', finite' * finite}, at φ' = {other.tolist()}"
        it.demand(right.all(), law, expected, value)


def _unbounded(it: Subject, phi: Tensor, other: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return D [n] as it is without its supremum, and its standard error."""
    free = replace(it.divergence, supremum=math.inf)
    known = it.law.reference(free, phi, Noise(1, np.arange(len(phi)), _FEW))
    if known is None:
        return None
    value, error = known(torch.arange(len(phi)), other.unsqueeze(1))
    return value[:, 0], error[:, 0]


def its_slope_is_that_of_its_values(it: Subject) -> None:
    """Its slope is ∂D/∂φ' [N, p], as differences of its exact value say."""
    law = "its slope is ∂D/∂φ' [N, p], as differences of its exact value say"
    slope, exact = it.divergence.slope, it.divergence.exact
    other = it.phi + it.step(0.1)
    found = slope and slope(it.law, it.phi, other)
    if found is None:
        return
    it.demand(found.shape == other.shape, law, list(other.shape), list(found.shape))
    for k, step in enumerate((_STEP * other.abs().clamp_min(0.05)).T):
        move = torch.zeros_like(other)
        move[:, k] = step
        ends = [exact(it.law, it.phi, other + sign * move) for sign in (1, -1)]
        if ends[0] is None or ends[1] is None:
            return
        difference = (ends[0] - ends[1]) / (2 * step)
        near = torch.isclose(found[:, k], difference, rtol=1e-4, atol=1e-6)
        it.demand(near.all(), law, difference, found[:, k])


def its_pointwise_values_have_its_constant(it: Subject) -> None:
    """g(log t) is not negative and c (log t)² near 0; its mean is the divergence."""
    if it.divergence.pointwise is not None:
        _has_its_constant(it, it.divergence.pointwise)
        other = it.phi + it.step(0.1)
        _has_its_mean(it, it.divergence.pointwise, it.phi, other, "D = E_q[g(q'/q)]")


def its_exchanged_values_have_its_constant(it: Subject) -> None:
    """So has the g of a mean over the other law, whose mean is the divergence."""
    if it.divergence.exchanged is not None:
        _has_its_constant(it, it.divergence.exchanged)
        other = it.phi + it.step(0.1)
        _has_its_mean(it, it.divergence.exchanged, other, it.phi, "D = E_q'[g(q/q')]")


def _has_its_constant(it: Subject, pointwise: Pointwise) -> None:
    c = it.divergence.scale
    law = "g(log t) is not negative, and c (log t)² near 0"
    wide = pointwise(torch.linspace(-8, 8, 401, dtype=torch.float64))
    it.demand((wide >= -1e-15).all(), law, "≥ 0", wide.min())
    small = torch.tensor([-1e-4, 1e-4], dtype=torch.float64)
    near = pointwise(small) / small.square()
    it.demand(((near / c - 1).abs() < 1e-3).all(), law, c, near)
    _has_its_ends(it, pointwise)


def _has_its_ends(it: Subject, pointwise: Pointwise) -> None:
    """Demand numbers of masses that one of the laws all but lacks, or lacks."""
    law = "g(log t) is a number or ∞ at log t = −∞, and finite up to ±300"
    ends = torch.tensor([-_WIDEST, _WIDEST, -torch.inf], dtype=torch.float64)
    found = pointwise(ends)
    it.demand((found >= 0).all() & found[:2].isfinite().all(), law, "≥ 0", found)


def _has_its_mean(
    it: Subject, pointwise: Pointwise, drawn: Tensor, other: Tensor, law: str
) -> None:
    """Demand that E g(log of the other density over the drawn one) is D."""
    exact = it.divergence.exact(it.law, it.phi, it.phi + it.step(0.1))
    if exact is None:
        return
    points = draws_of(it.law, drawn, it.noise(DRAWS)).values
    here, there = (it.law.distribution(p).log_prob(points) for p in (drawn, other))
    values = pointwise(there - here)
    error = values.std(0) / DRAWS**0.5
    gap = (values.mean(0) - exact).abs()
    it.demand((gap <= ERRORS * error).all(), law, exact, values.mean(0))


LAWS: tuple[Callable[[Subject], None], ...] = (
    its_values_keep_their_bounds,
    its_slope_is_that_of_its_values,
    its_pointwise_values_have_its_constant,
    its_exchanged_values_have_its_constant,
)
