"""What convex functions have over their tangents, without cancellation.

The excess of f from a to b is f(b) − f(a) − f'(a) (b − a), the Bregman divergence. It
is of second order in the step, so a difference of values loses two digits for each
digit of it, and near a boundary or for huge ratios it is an ∞ − ∞. With s = b/a − 1
and X(s) = s − ln(1 + s):

    −ln x          X(s),              by r = s/(2+s): s r − 2 r³ (1/3 + r²/5 + …)
    eˣ at 0        eˣ − 1 − x,        by its series
    x ln x         b ln(b/a) − (b − a) = a [s ln(1+s) − X(s)]
    ln Γ(x)        that of x ln x, and Binet's rest
    Binet's rest   ln Γ(x) − x ln x + x = −½ ln x + Σ c_n x^−n + a constant, n odd: its
                   terms have the excess ½ X(s) and c_n a^−n [e^y − 1 − y + n X(s)],
                   y = −n ln(1+s); below `LARGE` by ln Γ(x) = ln Γ(x+1) − ln x

All are right for b = 0, where they are ∞ or the value at 0.

Sources: Bregman, USSR Computational Mathematics 7 (1967); Whittaker & Watson, A Course
of Modern Analysis (1927), section 12.33, for Binet's series.
"""

from __future__ import annotations

import torch
from torch import Tensor

CLOSE = 0.1  # relative step below which a series is used
LARGE = 8.0  # from here on Binet's series is exact to rounding
BINET = {
    1: 1 / 12,
    3: -1 / 360,
    5: 1 / 1260,
    7: -1 / 1680,
    9: 1 / 1188,
    11: -691 / 360360,
    13: 1 / 156,
    15: -3617 / 122400,
}


def log_ratio(at: Tensor, to: Tensor, step: Tensor | None = None) -> Tensor:
    """Return ln(to/at) [...] for numbers ≥ 0; 0 where both are zero.

    Args:
        at: where the step begins.
        to: where it ends.
        step: to − at, if it is known better than the difference of the two.
    """
    step = to - at if step is None else step
    up, down = step / at, -step / to
    ratio = torch.where(up > -0.5, torch.log1p(up), -torch.log1p(down))
    apart = torch.where(up > -0.5, up, down).isinf()
    ratio = torch.where(apart, to.log() - at.log(), ratio)
    return torch.where(step == 0, 0.0, ratio)


def log1p_excess(s: Tensor) -> Tensor:
    """Return s − ln(1 + s) ≥ 0 for s ≥ −1."""
    close = s.abs() < CLOSE
    return torch.where(close, _log1p_series(_near(s)), s - torch.log1p(s))


def _log1p_series(near: Tensor) -> Tensor:
    """Return s − ln(1 + s) for |s| below `CLOSE`."""
    r = near / (2 + near)
    square, tail = r.square(), torch.zeros_like(r)
    for power in range(15, 1, -2):
        tail = 1 / power + square * tail
    return r * (near - 2 * square * tail)


def exp_excess(x: Tensor) -> Tensor:
    """Return eˣ − 1 − x ≥ 0."""
    near, series = x.clamp(-CLOSE, CLOSE), torch.zeros_like(x)
    for power in range(11, 1, -1):
        series = (1 + series) * near / power
    far = torch.where(torch.isposinf(x), x, torch.expm1(x) - x)
    return torch.where(x.abs() < CLOSE, series * near, far)


def ratio_excess(at: Tensor, to: Tensor, step: Tensor | None = None) -> Tensor:
    """Return to/at − 1 − ln(to/at) ≥ 0, the excess of −ln; as `log_ratio`."""
    step = to - at if step is None else step
    s = step / at
    far = torch.where(s.isinf(), s, s - log_ratio(at, to, step))
    excess = torch.where(s.abs() < CLOSE, _log1p_series(_near(s)), far)
    return torch.where(step == 0, 0.0, excess)


def entropy_excess(at: Tensor, to: Tensor, step: Tensor | None = None) -> Tensor:
    """Return to ln(to/at) − (to − at) ≥ 0, the excess of x ln x; as `log_ratio`."""
    step = to - at if step is None else step
    s = step / at
    near = _near(s)
    close = at * (near * torch.log1p(near) - _log1p_series(near))
    far = torch.where(to == 0, 0.0, to * log_ratio(at, to, step)) - step
    excess = torch.where(s.abs() < CLOSE, close, far)
    return torch.where(step == 0, 0.0, excess)


def binet_excess(at: Tensor, to: Tensor, step: Tensor | None = None) -> Tensor:
    """Return the excess of ln Γ(x) − x ln x + x, ≥ 0; as `log_ratio`."""
    step = to - at if step is None else step
    falls = climbs = torch.zeros_like(step)
    for k in range(int(LARGE)):
        falls = falls + _fall(at + k, to + k, step)
        climbs = climbs + ratio_excess(at + k, to + k, step)
    shifted = at + LARGE, to + LARGE, step
    rest = _binet_series(*shifted)
    climbs = climbs + entropy_excess(*shifted) - entropy_excess(at, to, step)
    climbs = torch.where(climbs.isnan(), torch.inf, climbs)  # beyond 1e305
    small = torch.where(at < LARGE, climbs, falls) + rest
    large = _binet_series(at.clamp_min(LARGE), to.clamp_min(LARGE), step)
    return torch.where(torch.minimum(at, to) < LARGE, small, large)


def lgamma_excess(at: Tensor, to: Tensor, step: Tensor | None = None) -> Tensor:
    """Return ln Γ(to) − ln Γ(at) − ψ(at) (to − at) ≥ 0; as `log_ratio`."""
    return entropy_excess(at, to, step) + binet_excess(at, to, step)


def _binet_series(at: Tensor, to: Tensor, step: Tensor) -> Tensor:
    excess, growth = ratio_excess(at, to, step), log_ratio(at, to, step)
    total = excess / 2
    for n, coefficient in BINET.items():
        y = -n * growth
        near = at ** (-n) * exp_excess(y.clamp_max(1))
        far = to ** (-n) - at ** (-n) * (1 + y)
        term = torch.where(y < 1, near, far) + n * at ** (-n) * excess
        total = total + coefficient * term
    return total


def _fall(at: Tensor, to: Tensor, step: Tensor) -> Tensor:
    """Return the excess of (x + 1) ln(1 + 1/x) for steps far down from a large x.

    It is what Binet's rest falls by from x to x + 1.
    """
    drop = log1p_excess(1 / at)
    end = (to + 1) * (torch.log1p(to) - to.log()) - 1
    return end - (1 / at - (at + 1) * drop) + drop * step


def _near(s: Tensor) -> Tensor:
    """Return s where it is close to zero, else zero."""
    return torch.where(s.abs() < CLOSE, s, 0.0)
