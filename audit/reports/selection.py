"""Order statistics of very many values, exact, without sorting them all.

A random sample says about where a rank lies. One pass then counts what is below that
bracket and keeps what is inside; the rank is found in there, exactly, or the bracket is
widened and the pass made again. Ties are counted at a bracket's ends and never kept.

The bracket of a rank r of n, from a sample of m sorted values: those at

    m p ± (6 √(m p (1 − p)) + 6),     p = r / n

which misses r about once in 10⁹ times (a binomial's six deviations). Inside are a share
of about 12 √(p (1 − p) / m) of the values: 2 % at the median.

Source: Floyd & Rivest, Expected time bounds for selection, Communications of the ACM 18
(1975).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from audit.reports.values import Floats

SAMPLE = 1 << 16
_SEED = 20_112
_SIGMAS = 6.0
_WIDER = 8.0
Passes = Callable[[], Iterator[Floats]]
"""Each call goes through all values once, in parts, without NaN."""


class Thinned:
    """A random sample of values that come in parts, each as likely as any other.

    Args:
        total: at most so many values will come.
    """

    def __init__(self, total: int) -> None:
        self._share = min(1.0, SAMPLE / max(total, 1))
        self._random = np.random.Generator(np.random.Philox(key=_SEED))
        self._kept: list[Floats] = []

    def add(self, values: Floats) -> None:
        """Take one part."""
        chosen = self._random.random(len(values)) < self._share
        self._kept.append(values[chosen])

    def sorted(self) -> Floats:
        """Return the sample, ascending."""
        return np.sort(np.concatenate([np.zeros(0), *self._kept]))


class Range(NamedTuple):
    """Two values between which some ranks lie, the ends included."""

    low: float
    high: float


@dataclass
class _Bracket:
    """What one pass finds of a range: how many are below, at its ends, and inside."""

    range: Range
    ranks: list[int]
    below: int = 0
    at_low: int = 0
    at_high: int = 0
    inside: list[Floats] = field(default_factory=list)

    def add(self, values: Floats) -> None:
        """Take one part, ascending."""
        low, high = self.range
        first, before_high = np.searchsorted(values, (low, high), "left").tolist()
        after_low, last = np.searchsorted(values, (low, high), "right").tolist()
        self.below += first
        self.at_low += after_low - first
        if low < high:
            self.at_high += last - before_high
            self.inside.append(values[after_low:before_high].copy())

    def found(self) -> Iterator[tuple[int, float | None]]:
        """Yield each rank's value, None where it lies outside."""
        inside = np.sort(np.concatenate([np.zeros(0), *self.inside]))
        for rank in self.ranks:
            place = rank - self.below
            if not 0 <= place < self.at_low + len(inside) + self.at_high:
                yield rank, None
            elif place < self.at_low:
                yield rank, self.range.low
            elif place < self.at_low + len(inside):
                yield rank, float(inside[place - self.at_low])
            else:
                yield rank, self.range.high


def order_statistics(
    passes: Passes, n: int, ranks: Iterable[int], sample: Floats
) -> dict[int, float]:
    """Return the values of some ranks (from 0) among n, exactly.

    Args:
        passes: goes through the n values.
        n: how many there are.
        ranks: each in 0 … n − 1.
        sample: of the values, ascending; any will do, a random one is fast.
    """
    found: dict[int, float] = {}
    missing, sigmas = sorted(set(ranks)), _SIGMAS
    while missing:
        brackets = _brackets(missing, n, sample, sigmas)
        for values in passes():
            ordered = np.sort(values)
            for bracket in brackets:
                bracket.add(ordered)
        seen = [pair for bracket in brackets for pair in bracket.found()]
        found |= {rank: value for rank, value in seen if value is not None}
        missing = [rank for rank, value in seen if value is None]
        sigmas *= _WIDER
    return found


def _brackets(
    ranks: list[int], n: int, sample: Floats, sigmas: float
) -> list[_Bracket]:
    """Return brackets that hold the ranks, ascending, and share ends at most.

    Those that meet at a value stay apart: it may be that of almost all.
    """
    brackets: list[_Bracket] = []
    for rank in ranks:
        one = _range(rank, n, sample, sigmas)
        last = brackets[-1] if brackets else None
        if last is not None and one.low < last.range.high:
            last.range = Range(last.range.low, max(last.range.high, one.high))
            last.ranks.append(rank)
        else:
            brackets.append(_Bracket(one, [rank]))
    return brackets


def _range(rank: int, n: int, sample: Floats, sigmas: float) -> Range:
    m, p = len(sample), (rank + 0.5) / n
    reach = sigmas * math.sqrt(m * p * (1 - p)) + sigmas
    low, high = math.floor(m * p - reach), math.ceil(m * p + reach)
    return Range(
        float(sample[low]) if low >= 0 else -math.inf,
        float(sample[high]) if high < m else math.inf,
    )


class Ordered:
    """Ascending values of which only some ranks are known, as statistics read them."""

    def __init__(self, n: int, known: Mapping[int, float]) -> None:
        self._n, self._known = n, known

    def __len__(self) -> int:
        return self._n

    def at(self, ranks: Iterable[int]) -> Floats:
        """Return the values of some of the known ranks."""
        return np.array([self._known[int(rank)] for rank in ranks])
