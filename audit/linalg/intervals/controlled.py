"""The mean of an exact divergence over an attack, from few of its perturbations.

D(δ) is held against the form Q(δ) = c |A δ|², whose mean E[Q] is known,

    E[D(δ)] ≈ mean_m [D_m − β (Q_m − E[Q])],

where D_m and Q_m are means over a pair, δ_m and its mirror image about the law's mean.
The third order of D is odd and leaves a pair; what is left is of fourth order, with a
long upper tail. Pairs are the sampling unit, and `mean_interval` corrects for the tail.

Two things would spoil the coverage, and both come from looking at the same numbers
twice: a coefficient β fitted to the pairs it is used on, and a sample that goes on
until its interval pleases (the pairs that have missed the tail are those that please).
So a pilot of pairs that enter no mean tells both: β = Cov(D, Q) / Var(Q), kept in
[0, 1], and how many pairs are needed. The pairs that are averaged are then fresh and
their number is fixed, and the interval covers what it would for any fixed number. A β
above one would follow D where it grows faster than the form: it removes variance from
the middle and none from the tail, and such intervals cover less.

Where the form is exact, D_m − Q_m is constant, and the interval has no width.

References:
    Stein, A two-sample test for a linear hypothesis whose power is independent of the
    variance, Annals of Mathematical Statistics 16 (1945), for the two stages.
    Lavenberg & Welch, A perspective on the use of control variables, Management Science
    27 (1981), for β.

Shapes: N inputs, M pairs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.linalg.intervals.means import Interval, mean_interval

PILOT = 32  # pairs that only tell what is needed
LEVELS = (64, 128, 256, 512, 1024)  # pairs that are averaged
WIDTH = 0.05  # of the value: a half width that is narrow enough


def control_weight(values: Tensor, forms: Tensor) -> Tensor:
    """Return β [N] from a pilot's pairs, D and Q [N, M].

    It is 1 where Q does not vary at all, since D − Q is then as good as D, and 0 where
    one of the two is infinite.
    """
    centred = forms - forms.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1)
    weight = (centred * values).sum(dim=1) / variance
    weight = torch.where(variance > 0, weight, 1.0).clamp(0, 1)
    finite = torch.isfinite(values).all(dim=1) & torch.isfinite(forms).all(dim=1)
    return torch.where(finite, weight, 0.0)


def controlled_mean(
    values: Tensor, forms: Tensor, expected: Tensor, weight: Tensor
) -> Interval:
    """Return E[D] [N] with its 95 % interval.

    One infinite D says that D is infinite with a probability above zero: then so is
    the mean, and nothing about it is uncertain.

    Args:
        values: D, means over pairs [N, M].
        forms: Q, means over the same pairs [N, M].
        expected: E[Q] [N].
        weight: β [N], not fitted to these pairs.
    """
    control = weight.unsqueeze(1) * (forms - expected.unsqueeze(1))
    used = (weight > 0).unsqueeze(1)
    found = mean_interval(values - torch.where(used, control, 0.0)).at_least_zero()
    return found.infinite_where(torch.isinf(values).any(dim=1))


def pairs_needed(pilot: Interval, predicted: Tensor, tolerance: float) -> Tensor:
    """Return how many pairs [N] each mean needs, one of `LEVELS`.

    So many that the half width, which falls with 1/√M, is at most `WIDTH` of the value
    and does not reach from it to where prediction and realised value part.

    Args:
        pilot: the mean over `PILOT` pairs.
        predicted: what it is held against [N].
        tolerance: relative distance at which the two part.
    """
    half = (pilot.upper - pilot.lower) / 2
    margins = [(pilot.value - predicted * (1 + s * tolerance)).abs() for s in (-1, 1)]
    wanted = torch.minimum(WIDTH * pilot.value, torch.minimum(*margins))
    pairs = torch.where(half > 0, PILOT * (half / wanted).square(), 0.0)
    levels = torch.tensor(LEVELS, device=pairs.device)
    at = torch.searchsorted(levels.to(pairs), pairs.nan_to_num(nan=math.inf))
    return levels[at.clamp_max(len(LEVELS) - 1)]
