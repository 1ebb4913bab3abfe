"""Other readings of a parameter, that people mistake for each other.

A file's output is a number; that it is a standard deviation, a variance or the
logarithm of one is said by an expression, and a wrong one gives a law all the same. If
`scale` is read wrongly, what was meant is a known function of what is read:

    scale = exp(a), a a log-variance                 meant √scale
    scale = a, a a variance                          meant √scale
    scale = √a or exp(a / 2), a a standard deviation or its logarithm     meant scale²
    rate read where the file has a scale, or the reverse                  meant 1/rate
    rate = a, a a log-rate                           meant exp(rate)
    rate = exp(a), a a rate                          meant log rate
    probs of the other outcome                       meant 1 − probs
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.families.interface import Family


@dataclass(frozen=True)
class Reading:
    """Another reading of one parameter.

    Args:
        parameter: the last part of its name.
        change: what is read -> what was meant.
        what: was probably mistaken. todo: what to write instead.
        scaled: whether a constant factor is a rival explanation.
        families: those it is a mistake of; none: of all.
    """

    parameter: str
    change: Callable[[Tensor], Tensor]
    what: str
    todo: str
    scaled: bool = True
    families: tuple[str, ...] = ()


def _matrix_power(scale_tril: Tensor, power: float) -> Tensor:
    """Return the Cholesky factor of Σ^power for Σ = L Lᵀ [..., n, n]."""
    values, vectors = torch.linalg.eigh(scale_tril @ scale_tril.mT)
    changed = (vectors * values.clamp_min(0).pow(power).unsqueeze(-2)) @ vectors.mT
    factor: Tensor = torch.linalg.cholesky_ex(changed)[0]
    return factor


_VARIANCE = (
    "a log-variance is read as a log-standard deviation (or a variance as a standard "
    "deviation)"
)
_DEVIATION = (
    "a log-standard deviation is read as a log-variance (or a standard deviation as a "
    "variance)"
)
_PRECISION = "a precision is read as a standard deviation"
_INVERSE = "an inverse scale (a rate, the root of a precision) is read as a scale"
_HALVE = "write scale=exp(0.5*NAME) for a log-variance, scale=sqrt(NAME) for a variance"
_WHOLE = "write scale=exp(NAME) for a log-standard deviation, scale=NAME for a scale"
_OUTCOMES = ("bernoulli", "binomial", "geometric", "negative_binomial")
READINGS = (
    Reading("scale", torch.sqrt, _VARIANCE, _HALVE),
    Reading("scale", torch.square, _DEVIATION, _WHOLE),
    Reading("scale_tril", lambda L: _matrix_power(L, 0.5), _VARIANCE, _HALVE),
    Reading("scale_tril", lambda L: _matrix_power(L, 2.0), _DEVIATION, _WHOLE),
    Reading("scale", torch.rsqrt, _PRECISION, "write scale=1/sqrt(NAME)"),
    Reading("scale", torch.reciprocal, _INVERSE, "write scale=1/NAME"),
    Reading(
        "rate",
        torch.reciprocal,
        "a scale (a mean) is read as a rate",
        "write rate=1/NAME",
    ),
    Reading("rate", torch.exp, "a log-rate is read as a rate", "write rate=exp(NAME)"),
    Reading("rate", torch.log, "a rate is read as a log-rate", "write rate=NAME"),
    Reading(
        "probs",
        lambda p: 1 - p,
        "the probabilities are those of the other outcome",
        "write probs=1-NAME",
        False,
        _OUTCOMES,
    ),
    Reading(
        "logits",
        torch.neg,
        "the logits are those of the other outcome",
        "write logits=-NAME",
        False,
        _OUTCOMES,
    ),
)


def readings_of(family: Family) -> Iterator[tuple[str, Reading]]:
    """Yield (name of a parameter, another reading of it)."""
    for name in family.parameters:
        for reading in READINGS:
            if name.rpartition(".")[2] != reading.parameter:
                continue
            if not reading.families or family.name in reading.families:
                yield name, reading
