"""One quantity of n inputs on the extended real line, with an outcome for each.

A value is finite, +∞ (the form or the exact divergence is infinite), at rest (the form
is zero, so that nothing moves to second order: eigenvalue 0, radius ∞) or not measured,
with its reason. Nothing is dropped: ∞ is a value like any other, and what has no value
is counted. NaN stands in `numbers` where, and only where, a value was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.ground.storage.mapped import let_go
from audit.reports.listed import MOST

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Codes = NDArray[np.uint16]
Rows = NDArray[np.intp] | slice
WINDOW = 1 << 16
"""Rows that are in memory at a time where there may be very many."""
FEW = MOST
"""Up to so many inputs every number is in memory, and in the report."""
UNKNOWN = "its terms overflow"
"""The reason of a NaN for which nobody gave one."""


class Outcome(Enum):
    """What became of one value, in the words a reader sees."""

    FINITE = "finite"
    INFINITE = "infinite"
    AT_REST = "at rest"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Values:
    """The values of n inputs.

    Args:
        numbers: [n]; ±∞ are values, NaN is none.
        rest: [n], true where the form is zero.
        why: [n], the place in `reasons` of what explains a value; see `reason`.
        reasons: sentences; the first one is empty.
    """

    numbers: Floats
    rest: Mask
    why: Codes
    reasons: tuple[str, ...] = ("",)

    @classmethod
    def of(
        cls,
        numbers: Floats,
        rest: Mask | None = None,
        reasons: Mapping[str, Mask] | None = None,
    ) -> Values:
        """Return values with the reasons of those that are not finite.

        Args:
            numbers: [n].
            rest: [n], where the form is zero; nowhere by default.
            reasons: sentence -> where it holds [n]; the first one that holds counts.
        """
        rest = np.zeros(len(numbers), bool) if rest is None else rest
        why = np.zeros(len(numbers), np.uint16)
        sentences = [""]
        open_rows = ~np.isfinite(numbers)
        if not open_rows.any():
            return cls(numbers, rest, why, ("",))
        missing = np.isnan(numbers)
        for sentence, where in {**(reasons or {}), UNKNOWN: missing}.items():
            explained = open_rows & where & (why == 0)
            if explained.any():
                why[explained] = len(sentences)
                sentences.append(sentence)
        return cls(numbers, rest & ~missing, why, tuple(sentences))

    @classmethod
    def unmeasured(cls, n: int, reason: str) -> Values:
        """Return n values that were not measured, for one reason."""
        return cls.of(np.full(n, np.nan), reasons={reason: np.ones(n, bool)})

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def missing(self) -> Mask:
        """Where a value was not measured [n]."""
        return np.isnan(self.numbers)

    @property
    def infinite(self) -> Mask:
        """Where a value is ±∞ and the form is not at rest [n]."""
        return np.isinf(self.numbers) & ~self.rest

    def outcome(self, row: int) -> Outcome:
        """Return what became of one value."""
        number = float(self.numbers[row])
        if math.isnan(number):
            return Outcome.NOT_MEASURED
        if self.rest[row]:
            return Outcome.AT_REST
        return Outcome.INFINITE if math.isinf(number) else Outcome.FINITE

    def reason(self, row: int) -> str:
        """Return why a value is not finite; "" where nothing is to be said."""
        return self.reasons[int(self.why[row])]

    def explained(self) -> dict[str, Mask]:
        """Return sentence -> the rows that it explains [n]."""
        found = {
            sentence: self.why == place
            for place, sentence in enumerate(self.reasons)
            if place
        }
        return {sentence: rows for sentence, rows in found.items() if rows.any()}

    def parts(self) -> Iterator[Values]:
        """Yield the values in order, a few windows of `WINDOW` rows; mapped ones read.

        Only one window is in memory, if nobody keeps the others.
        """
        for first in range(0, max(1, len(self)), WINDOW):
            yield self.take(slice(first, first + WINDOW))
            let_go(self.numbers)

    def looked(self) -> Iterator[Values]:
        """Yield the values of the inputs that were looked at: of all of them."""
        return self.parts()

    def whole(self) -> Values:
        """Return all values in memory."""
        return self

    def take(self, rows: Rows) -> Values:
        """Return the values of some rows; those of mapped ones are copies."""
        found = Values(
            self.numbers[rows], self.rest[rows], self.why[rows], self.reasons
        )
        if not isinstance(rows, slice):
            let_go(self.numbers)  # each row brought some pages with it
        return found

    def placed(self, rows: NDArray[np.intp], newer: Values) -> Values:
        """Return these values with those of some rows replaced."""
        both = join([self, newer])
        order = np.arange(len(self))
        order[rows] = len(self) + np.arange(len(rows))
        return both.take(order)

    def plain(self) -> dict[str, Any]:
        """Return arrays and a list, as a part file keeps them."""
        return {**vars(self), "reasons": list(self.reasons)}

    @classmethod
    def from_plain(cls, kept: Mapping[str, Any]) -> Values:
        """Return what `plain` gave."""
        return cls(**{**kept, "reasons": tuple(kept["reasons"])})


def join(parts: Sequence[Values]) -> Values:
    """Return values one after the other; equal reasons become one."""
    places: dict[str, int] = {"": 0}
    why = []
    for part in parts:
        table = [places.setdefault(reason, len(places)) for reason in part.reasons]
        why.append(np.array(table, np.uint16)[part.why])
    return Values(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.rest for part in parts]),
        np.concatenate(why),
        tuple(places),
    )
