"""One column of a rows file, on its way to the disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


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
