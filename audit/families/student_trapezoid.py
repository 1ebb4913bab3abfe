"""Divergences of Student laws by the trapezoidal rule, on nodes of the left law.

In t with θ = μ + σ√ν sinh t the standard law is proportional to cosh^−ν t dt: analytic
in a strip of half-width π/2, and of tails e^−ν|t|. There the trapezoidal rule with step
h is off by e^{−2πa/h}, a being the strip's half-width; that of g's logarithm is a
little less when g is narrower than f, or shifted. A law that is close to normal takes
64 nodes, one of two degrees of freedom 320.

A divergence depends on Δμ/σ, σ'/σ, ν and ν' alone, and the nodes, with all that is
expensive there, on ν alone: with w = sinh² t and q(t) the density ratio's argument,

    ln g/f = Δc − ln σ'/σ − ½(ν'+1) ln(1 + q) − ½Δν ln(1 + w),
    q = A tanh² t + B sinh t / cosh² t + C / cosh² t,
    A = (ν − ν'σ'²)/ν'σ'²,   B = −2√ν Δμ/ν'σ'²,   C = Δμ²/ν'σ'²        (σ = 1)

has no difference of large terms in it.

The rule is off by the Fourier transform of its integrand at 2π/h. The nodes know that
at 0.8 π/h, whatever its phase, and its logarithm falls at least in proportion: where it
is at most `AGREED` of the value, the value is right to its power 2.5. Where it is not,
or a tail is cut too early, a finer and longer rule is tried, and then the value is NaN:
another rule has to do.

Source: Trefethen & Weideman, The exponentially convergent trapezoidal rule, SIAM Review
56 (2014), theorems 5.1 and 6.1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from audit.families.integrands import RELATIVE_ENTROPY, Integrand
from audit.families.univariate import Parameters
from audit.nodes.excess import exp_excess, log_ratio
from audit.nodes.lines import resolved
from audit.nodes.special import lgamma_step

AGREED = 2e-4  # of the value, the transform at `PROBED`: the error is 6e-10 of it
PROBED = 0.8 * math.pi  # over the step
CUT = 1e-13  # of the value, what a last node may hold
TAIL = 44.0  # nats below the peak where nodes end
STRIP, BULK = 0.2, 0.35  # steps: of the strip, and over √ν of the bulk
LEAST, LIMIT = 1.0, 1e12  # degrees of freedom
FURTHEST = 8.0  # shift and ratio of scales, in units of the left law
SIZES = (48, 64, 96, 128, 192, 320, 480)  # of nodes
FINER = ((1.0, 1), (0.5, 2), (0.3, 4))  # share of ν that tails fall by, nodes a step
BLOCK = 2**16  # numbers at a time, which a cache holds


class Nodes(NamedTuple):
    """What the left laws are at their nodes [U, K], K even."""

    log_mass: Tensor  # of f, with the weight
    growth: Tensor  # ln(1 + w)
    square: Tensor  # tanh²
    odd: Tensor  # sinh / cosh²
    flat: Tensor  # 1 / cosh²


class Pairs(NamedTuple):
    """Two laws each, in units of the left one [M]."""

    df: Tensor
    step: Tensor  # ν' − ν
    shift: Tensor  # Δμ
    ratio: Tensor  # σ'
    stretch: Tensor  # σ' − 1
    log_ratio: Tensor

    def take(self, places: Tensor) -> Pairs:
        """Return some of them."""
        return Pairs(*(part[places] for part in self))


def trapezoidal(left: Parameters, right: Parameters, integrand: Integrand) -> Tensor:
    """Return the divergence [M] of laws (df, loc, scale), NaN where not resolved."""
    pairs = _pairs(left, right)
    resolved(pairs)
    found = torch.full_like(pairs.df, torch.nan)
    near = (pairs.df >= LEAST) & (pairs.df + pairs.step >= LEAST)
    near &= (pairs.df <= LIMIT) & (pairs.df + pairs.step <= LIMIT)
    near &= (pairs.shift.abs() <= FURTHEST) & (pairs.log_ratio.abs() < math.log(8))
    for share, finer in FINER:
        places = (near & found.isnan()).nonzero()[:, 0]
        if len(places):
            found[places] = _by_sizes(pairs.take(places), integrand, share, finer)
    return found


def _pairs(left: Parameters, right: Parameters) -> Pairs:
    (df, loc, scale), (other_df, other_loc, other) = left, right
    parts = (
        df,
        other_df - df,
        (other_loc - loc) / scale,
        other / scale,
        (other - scale) / scale,
        log_ratio(scale, other),
    )
    return Pairs(*(part.flatten() for part in parts))


def _by_sizes(pairs: Pairs, integrand: Integrand, share: float, finer: int) -> Tensor:
    """Return divergences [M], each with as many nodes as its left law takes."""
    df, owner = torch.unique(pairs.df, return_inverse=True)
    end = torch.acosh(torch.exp(TAIL / (share * df)).clamp_max(1e300))
    end = torch.where(share * df > 1e3, (2 * TAIL / (share * df)).sqrt(), end)
    step = torch.minimum(torch.full_like(df, STRIP), BULK * df.rsqrt()) / finer
    sizes = torch.tensor(SIZES, device=df.device) * finer
    wanted = torch.searchsorted(sizes.to(df), 2 * end / step)
    wanted = wanted.clamp_max(len(SIZES) - 1)
    found = torch.full_like(pairs.df, torch.nan)
    for level in sorted(set(wanted.tolist())):
        laws = (wanted == level).nonzero()[:, 0]
        nodes = _nodes(df[laws], end[laws], int(sizes[level]))
        index = torch.full_like(wanted, -1)
        index[laws] = torch.arange(len(laws), device=laws.device)
        at = index[owner]
        places, count = (at >= 0).nonzero()[:, 0], BLOCK // int(sizes[level])
        for first in range(0, len(places), count):
            some = places[first : first + count]
            found[some] = _trusted(nodes, at[some], pairs.take(some), integrand)
    return found


def _nodes(df: Tensor, end: Tensor, count: int) -> Nodes:
    """Return nodes from −end to just before end."""
    places = torch.arange(count, device=df.device).to(df) - count // 2
    step = 2 * end / count
    t = step.unsqueeze(-1) * places
    nu = df.unsqueeze(-1)
    growth = torch.log1p(torch.sinh(t).square())
    constant = lgamma_step(df) + (df / math.tau).log() / 2 + step.log()
    cosh = torch.cosh(t)
    return Nodes(
        constant.unsqueeze(-1) - nu / 2 * growth,
        growth,
        torch.tanh(t).square(),
        torch.tanh(t) / cosh,
        cosh.square().reciprocal(),
    )


def _trusted(nodes: Nodes, at: Tensor, pairs: Pairs, integrand: Integrand) -> Tensor:
    """Return the sums [M] over the nodes, NaN where they do not tell enough."""
    log_f = nodes.log_mass[at]
    r = _log_ratio(nodes, at, pairs)
    phase = PROBED * torch.arange(r.shape[1], device=r.device).to(r)
    value, *waves = _sums(integrand, log_f, r, (phase.cos(), phase.sin()))
    ends = torch.tensor([0, -1], device=r.device)
    last = log_f[:, ends].exp() * exp_excess(r[:, ends].abs())
    good = torch.hypot(*waves) <= AGREED * value
    good &= (last.sum(-1) <= CUT * value) & torch.isfinite(value)
    return torch.where(good, value, torch.nan)


def _sums(
    integrand: Integrand, log_f: Tensor, r: Tensor, waves: tuple[Tensor, Tensor]
) -> list[Tensor]:
    """Return the divergence [M], and what it is with each wave as a weight."""
    if integrand is RELATIVE_ENTROPY:
        values = log_f.exp() * exp_excess(r)
        return [values.sum(-1), *((values * wave).sum(-1) for wave in waves)]
    log_g = log_f + r
    value = integrand(log_f, log_g, torch.ones_like(waves[0]), r)
    halves = (integrand(log_f, log_g, 1 + wave / 2, r) for wave in waves)
    return [value, *(2 * (half - value) for half in halves)]


def _log_ratio(nodes: Nodes, at: Tensor, pairs: Pairs) -> Tensor:
    """Return ln g/f [M, K] at the left laws' nodes."""
    df, step, shift, ratio, stretch, log_scales = pairs
    other = df + step
    size = other * ratio.square()
    growth = -(step + other * stretch * (ratio + 1)) / size
    pull, push = -2 * df.sqrt() * shift / size, shift.square() / size
    q = growth.unsqueeze(-1) * nodes.square[at]
    q = torch.addcmul(q, pull.unsqueeze(-1), nodes.odd[at])
    q = torch.addcmul(q, push.unsqueeze(-1), nodes.flat[at])
    constant = lgamma_step(other) - lgamma_step(df) - log_scales
    r = constant.unsqueeze(-1) - ((other + 1) / 2).unsqueeze(-1) * torch.log1p(q)
    return torch.addcmul(r, (-step / 2).unsqueeze(-1), nodes.growth[at])
