"""Standard deviations of features, in one pass over rows that are never held."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.ground.errors import ConfigError


class Rows(Protocol):
    """Data that are read some rows at a time."""

    @property
    def n(self) -> int:
        """The number of rows."""

    def take(self, name: str, rows: slice) -> NDArray[Any]:
        """Return some rows."""

    def finite(self, rows: slice) -> NDArray[np.bool_]:
        """Return which of some rows are finite."""


def standard_deviations(inputs: Rows, name: str) -> NDArray[np.float64]:
    """Return each feature's standard deviation over the finite rows [*event].

    Blocks are merged by their means and squared deviations (Chan, Golub & LeVeque,
    1983), so the data are read once and never held. They are centred at the first row,
    so that a constant feature has a deviation of exactly zero.
    """
    count, mean, squares = 0, 0.0, 0.0
    origin: NDArray[np.float64] | None = None
    for first in range(0, inputs.n, 4096):
        rows = slice(first, min(first + 4096, inputs.n))
        part = inputs.take(name, rows)[inputs.finite(rows)].astype(np.float64)
        if not len(part):
            continue
        origin = part[0].copy() if origin is None else origin
        part -= origin
        center = part.mean(axis=0)
        shift, total = center - mean, count + len(part)
        squares = (
            squares
            + np.square(part - center).sum(axis=0)
            + np.square(shift) * count * len(part) / total
        )
        mean, count = mean + shift * len(part) / total, total
    if count < 2:
        raise ConfigError(
            f"--units std was given with {count} finite rows of data",
            "A standard deviation needs two",
            "Use --units input or --units FILE",
        )
    return np.asarray(np.sqrt(squares / (count - 1)), dtype=np.float64)
