"""Deviations of features: standard ones in one pass, median ones by columns."""

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


MEMORY = 2**27  # bytes of columns held at once
_NORMAL = 1.482602218505602  # 1/Φ⁻¹(¾): the standard deviation of a normal law over it


def median_deviations(inputs: Rows, name: str) -> NDArray[np.float64]:
    """Return each feature's median absolute deviation over the finite rows [*event].

    Times 1/Φ⁻¹(¾), so that it is the standard deviation where the feature is normal
    (Hampel, 1974). Medians need all rows: the data are read once for each group of
    features that `MEMORY` holds.

    Raises:
        ConfigError: there are fewer than two finite rows.
    """
    event = inputs.take(name, slice(0, 1)).shape[1:]
    d = int(np.prod(event, dtype=int))
    group = max(1, MEMORY // (8 * max(inputs.n, 1)))
    found = [
        _of_columns(_columns(inputs, name, slice(first, first + group)))
        for first in range(0, d, group)
    ]
    return np.concatenate(found).reshape(event)


def _columns(inputs: Rows, name: str, features: slice) -> NDArray[np.float64]:
    """Return some features of the finite rows [n, features]."""
    parts = []
    for first in range(0, inputs.n, 4096):
        rows = slice(first, min(first + 4096, inputs.n))
        part = inputs.take(name, rows)[inputs.finite(rows)]
        parts.append(part.reshape(len(part), -1)[:, features].astype(np.float64))
    return np.concatenate(parts)


def _of_columns(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(columns) < 2:
        raise _too_few("mad", len(columns), "A median deviation needs two")
    apart = np.abs(columns - np.median(columns, axis=0))
    return np.asarray(_NORMAL * np.median(apart, axis=0), np.float64)


def _too_few(units: str, count: int, why: str) -> ConfigError:
    return ConfigError(
        f"--units {units} was given with {count} finite rows of data",
        why,
        "Use --units input or --units FILE",
    )


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
        raise _too_few("std", count, "A standard deviation needs two")
    return np.asarray(np.sqrt(squares / (count - 1)), dtype=np.float64)
