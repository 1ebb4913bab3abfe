"""How far apart Student-t quantile functions of two shapes are.

    D(ν, ν') = E(Q_ν(U) − Q_ν'(U))²

is all that the quantile distance of two Student laws needs beside moments, and a
function of two numbers. With s = ln(ν − 2), its mean m and half the difference h,

    ln D(ν, ν')/4h²

is even in h and analytic in (m, h²) well beyond any cell of the plane, so that a table
of its values at Chebyshev points has the accuracy of the quadrature that filled it
(Trefethen, Approximation Theory and Approximation Practice, 2013, theorem 8.2), and
keeps it for close laws, where the quadrature has lost digits. A cell is filled when it
is first asked for, from numbers that depend on nothing but the cell, and held against
the same quadrature between its points; one that is off by more than `ACCURATE` is not
used.

Far from ν = 2 the quadrature has nothing to say of a difference as small as 1/ν, and
the Cornish-Fisher series in it ends: Q_ν(z) = z + Σ g_k(z) ν^−k has

    D = Σ_kl E[g_k g_l] (ν^−k − ν'^−k)(ν^−l − ν'^−l).

Source: Abramowitz & Stegun, 26.7.5, for g₁ … g₄.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import chebyshev, hermite_e
from numpy.typing import NDArray
from torch import Tensor

from audit.nodes.lines import watched

FIRST, WIDTH, CELLS = -1.75, 0.5, 22  # cells of m, up to 9.25
LEAST = -2.0  # of s: ν = 2.14
REACH = 1.0  # of h: ν' − 2 is at most 7 times ν − 2
POINTS = (10, 9)  # of a cell, in m and in h²
ACCURATE = 1e-10  # relative
SERIES = 2900.0  # degrees of freedom from which on the series is used
SMALLEST = 1e-16  # coefficient that counts
BLOCK = 2**15  # pairs at a time, which a cache holds
CORNISH_FISHER = (
    {3: 1 / 4, 1: 1 / 4},
    {5: 5 / 96, 3: 16 / 96, 1: 3 / 96},
    {7: 3 / 384, 5: 19 / 384, 3: 17 / 384, 1: -15 / 384},
    {9: 79 / 92160, 7: 776 / 92160, 5: 1482 / 92160, 3: -1920 / 92160, 1: -945 / 92160},
)
Rule = Callable[[Tensor, Tensor], Tensor]  # heavier, lighter ν [M] -> D [M]
Coefficients = tuple[tuple[float, ...], ...]


def shape_distance(left: Tensor, right: Tensor, rule: Rule) -> Tensor:
    """Return D [M] of degrees of freedom [M], to `ACCURATE`.

    Args:
        left: above 2.
        right: above 2.
        rule: a quadrature, for what the table is filled with and what it has not.
    """
    heavy, light = torch.minimum(left, right), torch.maximum(left, right)
    found = torch.full_like(heavy, torch.nan)
    gap = torch.log1p((light - heavy) / (heavy - 2))
    middle, square = (heavy - 2).log() + gap / 2, (gap / 2).square()
    cell = ((middle - FIRST) / WIDTH).floor()
    inside = (cell >= 0) & (cell < CELLS) & (gap <= 2 * REACH) & (heavy < SERIES)
    inside &= heavy < light
    for index in sorted({int(index) for index in cell[inside].tolist()}):
        within = inside & (cell == index) & (square <= _reach(index) ** 2)
        places = within.nonzero()[:, 0]
        coefficients = filled(index, rule) if len(places) else None
        if coefficients is not None:
            at = middle[places], square[places]
            found[places] = 4 * at[1] * _looked_up(coefficients, index, *at).exp()
    far = heavy >= SERIES
    found = torch.where(far, _series(heavy, light), found)
    found = found.masked_fill(heavy == light, 0.0)
    rest = found.isnan().nonzero()[:, 0]
    if len(rest):
        found[rest] = rule(heavy[rest], light[rest])
    return found


def _reach(index: int) -> float:
    """Return the largest h of a cell, so that s is nowhere below `LEAST`."""
    return min(REACH, FIRST + WIDTH * index - LEAST)


@lru_cache(maxsize=CELLS)
def filled(index: int, rule: Rule) -> Coefficients | None:
    """Return a cell's Chebyshev coefficients, for each power of h² those of m.

    Returns:
        None where they do not reproduce the quadrature, or there is none.
    """
    nodes = [np.cos(np.pi * (np.arange(n) + 0.5) / n) for n in POINTS]
    values = _logarithms(index, rule, *np.meshgrid(*nodes, indexing="ij"))
    in_m, in_h = (np.linalg.inv(chebyshev.chebvander(x, len(x) - 1)) for x in nodes)
    coefficients = in_m @ values @ in_h.T
    between = np.meshgrid((-0.93, -0.21, 0.87), (-0.9, 0.34, 0.99), indexing="ij")
    there = chebyshev.chebval2d(*between, coefficients)
    off = np.abs(np.expm1(there - _logarithms(index, rule, *between))).max()
    if not off <= ACCURATE:
        return None
    return tuple(_trimmed(column) for column in coefficients.T)


def _logarithms(
    index: int, rule: Rule, m: NDArray[np.float64], square: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ln D/4h² at places of a cell, both coordinates in [-1, 1]."""
    middle = FIRST + WIDTH * (index + (m + 1) / 2)
    half = _reach(index) * np.sqrt((square + 1) / 2)
    ends = (2 + np.exp((middle - half).ravel())), (2 + np.exp((middle + half).ravel()))
    heavy, light = map(torch.from_numpy, ends)
    with watched(None):  # a cell is filled once, whoever comes first
        found: NDArray[np.float64] = rule(heavy, light).numpy().reshape(m.shape)
    return np.log(found / (4 * half**2))


def _trimmed(column: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the coefficients up to the last that counts, and at least one."""
    counts = np.flatnonzero(np.abs(column) > SMALLEST)
    return tuple(column[: counts[-1] + 1 if len(counts) else 1].tolist())


def _looked_up(
    coefficients: Coefficients, index: int, middle: Tensor, square: Tensor
) -> Tensor:
    """Return ln D/4h² [M] in a cell, by Clenshaw's recurrence in h² and in m."""
    found = torch.empty_like(middle)
    for first in range(0, len(middle), BLOCK):
        some = slice(first, first + BLOCK)
        x = 2 * ((middle[some] - FIRST) / WIDTH - index) - 1
        across = [_clenshaw(column, x) for column in coefficients]
        y = 2 * square[some] / _reach(index) ** 2 - 1
        found[some] = _clenshaw(across, y)
    return found


def _clenshaw(coefficients: Sequence[float | Tensor], x: Tensor) -> Tensor:
    twice, now, after = 2 * x, torch.zeros_like(x), torch.zeros_like(x)
    for each in reversed(coefficients[1:]):
        now, after = twice * now - after + each, now
    return x * now - after + coefficients[0]


def _series(heavy: Tensor, light: Tensor) -> Tensor:
    """Return D [M] by the Cornish-Fisher series."""
    growth = torch.log1p((light - heavy) / heavy)
    steps = [-(heavy**-k) * torch.expm1(-k * growth) for k in range(1, 5)]
    total = torch.zeros_like(heavy)
    for k, row in enumerate(_products()):
        for j, product in enumerate(row):
            total = total + product * steps[k] * steps[j]
    return total


@lru_cache(maxsize=1)
def _products() -> list[list[float]]:
    """Return E[g_k g_l] under the standard normal law."""
    z, weights = hermite_e.hermegauss(16)
    weights = weights / math.sqrt(2 * math.pi)
    terms = [sum(c * z**power for power, c in g.items()) for g in CORNISH_FISHER]
    return [[float(weights @ (a * b)) for b in terms] for a in terms]
