"""Decomposition of a form whose root is made of draws.

G = (1/S) Σ_s a_s a_sᵀ with a_s = Jᵀ b_s for draws b_s [p]. Its trace is an unbiased
mean. Its largest eigenvalue is not: maximising over directions also maximises the
noise, E[λ_max] ≥ λ_max, by a factor near (1 + √(r/S))² where the spectrum is flat (r
the rank). Cross-fitting removes the optimism: the direction comes from one half of the
draws and its Rayleigh quotient from the other, which is at most λ_max in expectation.
The truth lies between the two; the bracket adds to each end its own margin, and the
angle between the directions of the two halves says how much they know of it. A margin
is that of the quotient along one direction, as if it were known: each end is taken at
99.5 %, so that with the direction's own uncertainty the bracket holds λ_max in 95 %.

Draws come in units (see `Sampled`): a mean over units has an error from their spread,
whatever happens inside a unit. Squares are skewed, and their intervals are those of
`intervals.means`.

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

from audit.linalg.averaged import Sampled
from audit.linalg.exact import (
    SMALLER,
    decompose_exact,
    decompose_square,
    descending,
    leading_direction,
)
from audit.linalg.intervals.means import Interval, mean_interval
from audit.linalg.operators import Product
from audit.linalg.spectrum import Estimate, Spectrum
from audit.linalg.stored import LinearOperator, Matrix
from audit.linalg.wide import by_parts, columns_gram

_BRACKET = 0.995  # of each end: the direction is estimated too, and both must hold


def decompose_sampled(
    draws: Sampled, inner: LinearOperator | None, top: int, side: str = SMALLER
) -> Spectrum:
    """Decompose (B J)ᵀ(B J) for draws B [N, S, p] / √S and J [N, p, d] (None: 1).

    Args:
        draws: B.
        inner: J.
        top: how many directions.
        side: of the compact root, see `decompose_exact`.
    """
    naive = _decomposed(draws, None, inner, top, side)
    fit = _cross_fitted(draws, inner, naive.directions[:, :, :1], side)
    crossed = fit.crossed
    bracket = (
        crossed.lower.clamp_min(0),
        torch.maximum(fit.own.upper, crossed.upper),
    )
    return Spectrum(
        naive.eigenvalues,
        naive.directions,
        sum_of_squares(draw_squares(draws, inner), draws.unit),
        Estimate(crossed.value, crossed.standard_error, bracket),
        fit.angle,
        draws.entries.shape[1] // draws.group,
    )


def _decomposed(
    draws: Sampled, half: int | None, inner: LinearOperator | None, top: int, side: str
) -> Spectrum:
    """Decompose the average over all draws (None), or over every other unit's."""
    if draws.is_tall:
        square = draws.square if half is None else draws.squares[:, half]
        return _of_square(square * _stretch(draws, half), inner, top, side)
    entries = draws.entries
    if half is not None:
        entries = draws.half(half).flatten(1, 2).double()
        entries = entries * math.sqrt(_stretch(draws, half))
    root = compact_root(entries)
    whole = root if inner is None else Product(root, inner)
    return decompose_exact(whole, top, side=side)


def _of_square(
    square: Tensor, inner: LinearOperator | None, top: int, side: str
) -> Spectrum:
    """Decompose Jᵀ (BᵀB) J."""
    if inner is None:
        return decompose_square(square, top)
    return decompose_exact(Product(root_of_square(square), inner), top, side=side)


def _stretch(draws: Sampled, half: int | None) -> float:
    """Return what makes of a half's share of an average the average of the half."""
    if half is None:
        return 1.0
    units = draws.units.shape[1]
    return units / ((units + 1 - half) // 2)


def mean_over_units(contributions: Tensor, group: int) -> Estimate:
    """Return the sum over rows [N, R] and its standard error, from units of rows."""
    units = _units(contributions, group)
    error = units.std(dim=1) / math.sqrt(units.shape[1])
    return Estimate(units.mean(dim=1), error)


def sum_of_squares(contributions: Tensor, group: int) -> Estimate:
    """Return the sum over rows [N, R] ≥ 0 with its interval, from units of rows."""
    found = mean_interval(_units(contributions, group)).at_least_zero()
    return Estimate(found.value, found.standard_error, (found.lower, found.upper))


def _units(contributions: Tensor, group: int) -> Tensor:
    """Return what each of U units makes of the sum over rows, [N, U]."""
    n, rows = contributions.shape
    units = rows // group
    return contributions.reshape(n, units, group).sum(dim=2) * units


def mean_of(draws: Sampled, inner: LinearOperator | None) -> Estimate:
    """Return the length [N] of J ᵀm, m the centre, and what sampling alone makes of it.

    The standard error is √(E‖Jᵀ m‖²) where the true mean is zero.
    """
    assert draws.center is not None
    units = draws.units.shape[1]
    sums = by_parts(lambda b: b.sum(dim=2), draws.units)
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
    return root_of_square(by_parts(columns_gram, entries))


def compact_draws(draws: Sampled) -> Matrix:
    """Return the compact root of draws, from what is known of them already."""
    if draws.is_tall:
        return root_of_square(draws.square)
    return compact_root(draws.entries)


def root_of_square(square: Tensor) -> Matrix:
    """Return R [N, p, p] with RᵀR = BᵀB, from BᵀB."""
    values, vectors = descending(square, square.shape[1])
    return Matrix(values.clamp_min(0).sqrt().unsqueeze(-1) * vectors.mT)


def squared_rows(entries: Tensor, inner: LinearOperator | None) -> Tensor:
    """Return |Jᵀ b|² [N, R] for the rows b of entries [N, R, p]."""
    if inner is None:
        return by_parts(lambda b: b.square().sum(dim=2), entries)

    def weighed(b: Tensor, gram: Tensor) -> Tensor:
        return ((b @ gram) * b).sum(dim=-1).clamp_min(0)

    return by_parts(weighed, entries, inner.gram())


def draw_squares(draws: Sampled, inner: LinearOperator | None) -> Tensor:
    """Return Σ |Jᵀ b|² over the rows b of each draw [N, S]; of B itself once."""
    if inner is None:
        return draws.draw_squares
    rows = squared_rows(draws.entries, inner)
    return rows.reshape(len(rows), draws.draws, draws.draw).sum(dim=2)


@dataclass(frozen=True)
class _CrossFit:
    """What halves say of the worst case.

    Args:
        own: vᵀGv along the whole's own direction v.
        crossed: λ_max by quotients of each half along the other half's direction.
        angle: between the halves' directions [N] in degrees.
    """

    own: Interval
    crossed: Interval
    angle: Tensor


def _cross_fitted(
    draws: Sampled, inner: LinearOperator | None, worst: Tensor, side: str
) -> _CrossFit:
    """Return both for the whole's direction [N, d, 1].

    A unit's share of a half's average, and so of the whole's, is its sum times U.
    """
    halves = _worst_of_halves(draws, inner, worst, side)
    units = torch.cat(
        [
            _along(draws, half, torch.cat([worst, halves[1 - half]], dim=2), inner)
            for half in (1, 0)
        ],
        dim=2,
    )
    found = mean_interval(units * units.shape[2], _BRACKET)
    cosine = (halves[0] * halves[1]).sum(dim=(1, 2)).abs().clamp_max(1)
    own, crossed = (found.at(k) for k in (0, 1))
    return _CrossFit(own, crossed, torch.rad2deg(cosine.acos()))


def _worst_of_halves(
    draws: Sampled, inner: LinearOperator | None, worst: Tensor, side: str
) -> list[Tensor]:
    """Return the direction [N, d, 1] of each half, expected along that of both."""
    if inner is not None or not draws.is_tall:
        return [_decomposed(draws, half, inner, 1, side).directions for half in (0, 1)]
    start = worst.mT.expand(-1, 2, -1).flatten(0, 1)
    found = leading_direction(draws.squares.flatten(0, 1), start)
    return [found[half::2].unsqueeze(2) for half in (0, 1)]


def _along(
    draws: Sampled, half: int, directions: Tensor, inner: LinearOperator | None
) -> Tensor:
    """Return Σ (aᵀv)² over the rows a of each unit of a half [N, K, U / 2].

    Shapes: directions v [N, d, K].
    """
    images = directions if inner is None else inner.matmat(directions)

    def summed(units: Tensor, v: Tensor) -> Tensor:
        n, count, group, p = units.shape
        along = v.mT.contiguous() @ units.reshape(n, count * group, p).mT
        return along.square_().reshape(n, -1, count, group).sum(dim=3)

    return by_parts(summed, draws.half(half), images)
