"""How many pairs the mean of a divergence needs: a pilot tells, that enters no mean.

A sample that goes on until its interval pleases covers less than it says (the pairs
that have missed the tail are those that please). So the pairs that are averaged are
fresh, their number is fixed before, and the interval covers what it would for any fixed
number (`controlled`).

Values that are estimates themselves, from draws of θ, have an error of their own that
all pairs share, and no number of them averages out. With its half width e the interval
is √(h² + e²) wide, and an h of `SHARE` e widens it by an eighth: narrower is no gain.
How large e is the pilot tells, as everything else.

A pilot enters no mean, so it may grow until it knows enough: `FIRST` pairs, and `PILOT`
where these, wide as they are, do not say that the fewest will do. Where it had to grow
and Q damped as a whole does not bound what is left, it may yet have missed the tail, or
have fitted several β too well, and at least `SURE` pairs are averaged.

Source: Stein, A two-sample test for a linear hypothesis whose power is independent of
the variance, Annals of Mathematical Statistics 16 (1945), for the two stages.

Shapes: N inputs, M pairs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.ground.student import student_quantile
from audit.linalg.intervals.means import Interval

FIRST, PILOT = 8, 32  # pairs that only tell what is needed
LEVELS = (24, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # pairs in the mean
SURE = 64  # pairs, where a pilot had to grow
WIDTH = 0.05  # of the value: a half width that is narrow enough
SHARE = 0.5  # of the half width that the values' own errors leave, likewise


def pairs_needed(
    pilot: Interval,
    predicted: Tensor,
    tolerance: float,
    own: Tensor | None = None,
    shared: bool = False,
) -> Tensor:
    """Return how many pairs [N] each mean needs, one of `LEVELS`.

    So many that the half width, which falls with 1/√M, is at most `WIDTH` of the value
    and does not reach from it to where prediction and realised value part; and no more
    than leave it at `SHARE` of what the values' own errors do.

    Args:
        pilot: the mean over `PILOT` pairs, or over fewer that have to be surer.
        predicted: what it is held against [N].
        tolerance: relative distance at which the two part.
        own: standard error of the values themselves, common to all pairs [N].
        shared: whether the prediction has that error too: it then parts nothing.
    """
    half = (pilot.upper - pilot.lower) / 2
    margins = [(pilot.value - predicted * (1 + s * tolerance)).abs() for s in (-1, 1)]
    margin = torch.minimum(*margins)
    floor = _floor(half, own)
    wanted = torch.maximum(WIDTH * pilot.value, floor)
    wanted = torch.minimum(wanted, margin if shared else torch.maximum(margin, floor))
    pairs = torch.where(half > 0, PILOT * (half / wanted).square(), 0.0)
    levels = torch.tensor(LEVELS, device=pairs.device)
    at = torch.searchsorted(levels.to(pairs), pairs.nan_to_num(nan=math.inf))
    return levels[at.clamp_max(len(LEVELS) - 1)]


def _floor(half: Tensor, own: Tensor | None) -> Tensor:
    """Return below which a half width is no gain [N]: zero for an unknown error."""
    if own is None:
        return torch.zeros_like(half)
    reach = SHARE * student_quantile(math.inf) * own
    return torch.where(torch.isfinite(reach), reach, 0.0)
