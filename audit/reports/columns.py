"""The columns of a rows file, on their way to the disk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from audit.reports.values import Codes, Values

Array = NDArray[Any]
REASON = ".reason"
"""What the name of a column ends with that says why others have no finite value."""


@dataclass
class Column:
    """One column on its way to the disk."""

    path: Path
    file: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """The shape of one row."""
    n: int = 0

    def append(self, rows: Array) -> None:
        """Add rows [n, *shape]."""
        if rows.shape[1:] != self.shape:
            raise ValueError(f"rows of shape {rows.shape[1:]} after {self.shape}")
        self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).tobytes())
        self.n += len(rows)

    def read(self, start: int, stop: int) -> Array:
        """Return some rows."""
        width = math.prod(self.shape)
        flat = np.fromfile(
            self.path,
            self.dtype,
            count=(stop - start) * width,
            offset=start * width * self.dtype.itemsize,
        )
        return flat.reshape(-1, *self.shape)


@dataclass
class Sentences:
    """The reasons of a rows file: each is written once, and rows hold its number.

    On the disk a reason has the number of its first appearance; in a file its place
    among the sorted ones, so that the order of the chunks does not show. The first one
    is empty: nothing is to be said.
    """

    places: dict[str, int] = field(default_factory=lambda: {"": 0})

    def codes(self, values: Values) -> Codes:
        """Return the numbers [n] of what explains some values."""
        table = [self.places.setdefault(r, len(self.places)) for r in values.reasons]
        return np.array(table, np.uint16)[values.why]

    @property
    def table(self) -> list[str]:
        """The sentences of a file, sorted."""
        return sorted(self.places)

    def filed(self, codes: Array) -> Codes:
        """Return numbers [n] of the disk as those of a file."""
        order = {sentence: place for place, sentence in enumerate(self.table)}
        return np.array([order[one] for one in self.places], np.uint16)[codes]


def split(rows: Mapping[str, Array | Values], said: Sentences) -> dict[str, Array]:
    """Return plain arrays: of values their numbers, and what explains them."""
    found: dict[str, Array] = {}
    for name, column in rows.items():
        if isinstance(column, Values):
            found[name] = column.numbers
            found[f"{name}{REASON}"] = said.codes(column)
        else:
            found[name] = column
    return found
