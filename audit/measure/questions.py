"""What is asked at every input, and the answers as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from audit.attacks import Attack
from audit.geometry.divergences import Divergence
from audit.geometry.frame import Frame
from audit.noise import Noise

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Questions:
    """What is asked at every input."""

    divergences: tuple[Divergence, ...]
    attacks: Mapping[str, Attack]
    frame: Frame
    top: int
    tau: float
    draws: int
    seed: int
    keep_directions: bool
    sampling: str = "auto"
    rel_error: float | None = None
    max_draws: int = 0

    def noise(self, index: NDArray[np.int64]) -> Noise:
        """Return the randomness of some inputs."""
        return Noise(self.seed, index, self.draws, self.sampling)


@dataclass
class Chunk:
    """Plain answers for n inputs: what a worker hands back.

    Shapes: index [n]; columns [n]; directions [n, K, d]; eigenvalues [n, K].
    """

    index: NDArray[np.int64]
    columns: dict[str, dict[str, Floats]] = field(default_factory=dict)
    directions: dict[str, Floats] = field(default_factory=dict)
    eigenvalues: dict[str, Floats] = field(default_factory=dict)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)

    def take(self, rows: NDArray[np.intp]) -> Chunk:
        """Return the answers of some rows."""
        columns = {
            name: {quantity: values[rows] for quantity, values in found.items()}
            for name, found in self.columns.items()
        }
        directions = {name: values[rows] for name, values in self.directions.items()}
        eigenvalues = {name: values[rows] for name, values in self.eigenvalues.items()}
        index = self.index[rows]
        return replace(
            self,
            index=index,
            columns=columns,
            directions=directions,
            eigenvalues=eigenvalues,
        )

    def put(self, rows: NDArray[np.intp], newer: Chunk) -> None:
        """Replace the answers of some rows by the first ones of another chunk."""
        count = len(rows)
        for name, columns in newer.columns.items():
            for quantity, values in columns.items():
                self.columns[name][quantity][rows] = values[:count]
        for name, values in newer.directions.items():
            self.directions[name][rows] = values[:count]
        for name, values in newer.eigenvalues.items():
            self.eigenvalues[name][rows] = values[:count]
