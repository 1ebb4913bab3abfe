"""Which rows of the data are audited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.config import ScanConfig
from audit.ground.errors import ConfigError

Selected = NDArray[np.int64] | range
"""Indices of inputs, ascending: a range where there is no choice, which takes no memory
whatever N."""


def index_of(rows: Selected) -> NDArray[np.int64]:
    """Return selected rows, or a slice of them, as an array of indices [n]."""
    if isinstance(rows, range):
        return np.arange(rows.start, rows.stop, rows.step)
    return rows


def rows_at(rows: Selected, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices at some places among the selected rows."""
    if isinstance(rows, range):
        return rows.start + rows.step * places
    return rows[places]


def select_rows(config: ScanConfig, total: int) -> tuple[Selected, str]:
    """Return the indices to audit, ascending, and how they were chosen.

    Raises:
        ConfigError: an index is not a row of the data.
    """
    if config.index:
        outside = [i for i in config.index if not 0 <= i < total]
        if outside:
            raise ConfigError(
                f"--index {outside[0]} was asked for",
                f"The data have the rows 0 to {total - 1}",
                "Correct --index",
            )
        return np.unique(np.array(config.index, dtype=np.int64)), "index"
    if config.sample is not None and config.sample < total:
        rng = np.random.Generator(np.random.Philox(key=config.seed % 2**64))
        chosen = rng.choice(total, size=config.sample, replace=False)
        label = f"random {config.sample}, seed {config.seed}"
        return np.sort(chosen).astype(np.int64), label
    if config.limit is not None and config.limit < total:
        return range(config.limit), f"first {config.limit}"
    return range(total), "all"
