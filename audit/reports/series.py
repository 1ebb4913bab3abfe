"""A quantity of very many inputs: in memory, on the disk, or known at a few of them.

Whoever goes through all inputs goes through `parts`, and whoever wants a few takes
them: the memory is that of a window, whatever N.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audit.reports.values import WINDOW, Rows, Values


class Series(Protocol):
    """The values of N inputs; `Values` are one, `Sparse` another."""

    def __len__(self) -> int:
        """Return N."""

    def take(self, rows: Rows) -> Values:
        """Return the values of some rows."""

    def parts(self) -> Iterator[Values]:
        """Yield all values in order, window by window."""

    def looked(self) -> Iterator[Values]:
        """Yield the values of the inputs that were looked at, window by window."""

    def whole(self) -> Values:
        """Return all values in memory: of few inputs, or where it has to be."""


Table = Mapping[str, Series]
"""Quantity -> the values of all inputs."""


@dataclass(frozen=True)
class Sparse:
    """Values at a few of n inputs; the others were not measured, for one reason.

    Args:
        n: inputs.
        places: of the known ones [k], ascending.
        known: values [k].
        reason: why the others have none.
    """

    n: int
    places: NDArray[np.intp]
    known: Values
    reason: str

    def __len__(self) -> int:
        return self.n

    def take(self, rows: Rows) -> Values:
        """Return the values of some rows."""
        wanted = np.arange(*rows.indices(self.n)) if isinstance(rows, slice) else rows
        return self._of(np.asarray(wanted))

    def parts(self) -> Iterator[Values]:
        """Yield all values in order, window by window."""
        for first in range(0, self.n, WINDOW):
            yield self._of(np.arange(first, min(first + WINDOW, self.n)))

    def looked(self) -> Iterator[Values]:
        """Yield the known ones."""
        yield self.known

    def whole(self) -> Values:
        """Return all values in memory."""
        return self._of(np.arange(self.n))

    def _of(self, wanted: NDArray[np.intp]) -> Values:
        nothing = Values.unmeasured(len(wanted), self.reason)
        if not len(self.places):
            return nothing
        at = np.searchsorted(self.places, wanted).clip(max=len(self.places) - 1)
        here = np.flatnonzero(self.places[at] == wanted)
        return nothing.placed(here, self.known.take(at[here]))


def windows(table: Table) -> Iterator[Mapping[str, Values]]:
    """Yield some quantities window by window, the same inputs of each."""
    names = list(table)
    for parts in zip(*(table[name].parts() for name in names), strict=True):
        yield dict(zip(names, parts, strict=True))
