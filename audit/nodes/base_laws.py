"""The standard laws of base noise: to draw one number of it, and to integrate over it.

An integral over one number z is taken over a coordinate s on the whole line, where the
law has exponential tails or thinner: z itself, and the logit of a uniform z. `low` and
`high` are the ends of s that z can be told at: beyond them the law has no mass that a
double can hold, or z, as a single-precision number, is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

_BELOW_ONE = 1 - 2.0**-24  # as a float32 too
_SIGMAS, _LOGITS = (2.5, 3.0, 3.5, 4.0, 4.5), (5.1, 6.6, 8.4, 10.4, 12.6)


@dataclass(frozen=True)
class BaseLaw:
    """A law of one number.

    Args:
        quantile: z at uniform numbers.
        log_density: of s.
        place: z at s.
        low, high: the ends of s.
        far: the s beyond which there is as much of the law as beyond 2.5, 3, … 4.5
            standard deviations of a normal one: a float32 still has digits there.
    """

    quantile: Callable[[Tensor], Tensor]
    log_density: Callable[[Tensor], Tensor]
    place: Callable[[Tensor], Tensor]
    low: float
    high: float
    far: tuple[float, ...]


def _normal(s: Tensor) -> Tensor:
    return -0.5 * s.square() - 0.5 * math.log(2 * math.pi)


def _logistic(s: Tensor) -> Tensor:
    return logsigmoid(s) + logsigmoid(-s)


def _same(s: Tensor) -> Tensor:
    return s


def _below_one(u: Tensor) -> Tensor:
    return u.clamp_max(_BELOW_ONE)


BASE_LAWS = {
    "normal": BaseLaw(torch.special.ndtri, _normal, _same, -38.0, 38.0, _SIGMAS),
    "uniform": BaseLaw(
        _below_one,
        _logistic,
        torch.sigmoid,
        -80.0,
        math.log(2.0**24 - 1),
        _LOGITS,
    ),
    "logistic": BaseLaw(torch.logit, _logistic, _same, -80.0, 80.0, _LOGITS),
}
