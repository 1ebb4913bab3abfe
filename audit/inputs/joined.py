"""Several arrays of the data, side by side: inputs that are perturbed together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Joined:
    """Arrays [N, *event], read a few rows at a time as [N, d] in their order.

    Args:
        arrays: by the names of the model's inputs; all with N rows.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = dict(arrays)
        self.dtype = np.result_type(*(array.dtype for array in arrays.values()))

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, d)."""
        return len(self), sum(math.prod(a.shape[1:]) for a in self.arrays.values())

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def names(self) -> list[str]:
        """The name of each column: the array's, with its place where it has several."""
        found = []
        for name, array in self.arrays.items():
            size = math.prod(array.shape[1:])
            places = np.ndindex(*array.shape[1:])
            found += [name] if size == 1 else [f"{name}{list(p)}" for p in places]
        return found

    def __getitem__(self, rows: Any) -> Array:  # noqa: ANN401
        """Return some rows, or the columns of one."""
        if isinstance(rows, int | np.integer):
            (row,) = self[slice(int(rows), int(rows) + 1)]
            return np.asarray(row)
        parts: list[Array] = [array[rows] for array in self.arrays.values()]
        whole: Array = np.concatenate(
            [part.reshape(len(part), -1) for part in parts], axis=1, dtype=self.dtype
        )
        return whole
