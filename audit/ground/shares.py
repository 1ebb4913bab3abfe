"""The interval of a share: Clopper and Pearson's, from the binomial law itself.

Of n independent inputs k have a property that the share p of all inputs has. The 95 %
interval is of all p that k does not refute at 2.5 % on either side,

    P(B ≥ k) ≥ 0.025  and  P(B ≤ k) ≥ 0.025,    B ~ Binomial(n, p),

so each end misses in at most 2.5 of 100 samples, whatever n and p. (Wilson's interval
misses with one end in up to 16 of 100 where p is near 0 or 1.) As n − B is
Binomial(n, 1 − p), the upper end is one less the lower end of n − k.

The lower end solves log P(B ≥ k) = log 0.025 for s = log p. With

    P(B ≥ k) = P(B = k) R,
    R = 1 + Σ_{j > k} Π_{k ≤ i < j} p/(1 − p) · (n − i)/(i + 1),

and d P(B ≥ k) / dp = k/p P(B = k), the slope is k/R. As a function of s the logarithm
of the tail is concave, since the density of log p under a beta law is log-concave:
Newton's steps from any start are below the root after the first, and then rise to it.
The start is p = k/(n + 1), above the root. Terms beyond twelve deviations add nothing.

The paper side may import this: no torch here, no scipy.

Source: Clopper & Pearson, Biometrika 26 (1934).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

_TAIL = 0.025
_STEPS = 60
_CLOSE = 1e-14  # of log p


@lru_cache(maxsize=4096)
def share_interval(k: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of the share of inputs that k of n have.

    Args:
        k: in 0 … n.
        n: at least 1.

    Raises:
        ValueError: k is no count of n inputs.
    """
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"{k} of {n} inputs is no share")
    return _lower(k, n), 1 - _lower(n - k, n)


def _lower(k: int, n: int) -> float:
    """Return p with P(B ≥ k) = 2.5 %; 0 for k = 0."""
    if k == 0:
        return 0.0
    log_ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    i = np.arange(k, min(n, k + math.ceil(12 * math.sqrt(k)) + 12))
    rises = (n - i) / (i + 1)
    s = math.log(k / (n + 1))
    for _ in range(_STEPS):
        log_rest = math.log(-math.expm1(s))  # 1 − p
        rest = 1 + float(np.cumprod(rises * math.exp(s - log_rest)).sum())
        log_tail = log_ways + k * s + (n - k) * log_rest + math.log(rest)
        step = (math.log(_TAIL) - log_tail) * rest / k
        s += step
        if abs(step) < _CLOSE:
            break
    return math.exp(s)
