"""Units that differ from row to row: a perturbation in proportion to each row's level.

δ = S_i u, S_i that of `frame` with the units of row i. They are constants of the row: x
+ δ is measured in the units of x, not in its own, and nothing is differentiated
through them. A row's own level is one number for all its features, or one for each:

    row:mean_abs (row)   mean_j |x_ij|        row:std   √(mean_j (x_ij − mean_j x_ij)²)
    row:max_abs          max_j |x_ij|         row:abs   |x_ij|, for each feature j

With `row` a norm of 0.1 is a tenth of the mean absolute value of that input, so that
stores of a hundred sales and of a million are asked the same question. A feature whose
unit is 0 does not move in that row, and a row whose units are all 0 is not measured. A
file may hold the units of all rows as well, [N, *event].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.geometry.frame import Frame
from audit.ground.errors import ConfigError

Rows = NDArray[np.float64]  # [n, d]
ROW = "row"
OF_ROW: Mapping[str, Callable[[Rows], Rows]] = {
    "mean_abs": lambda x: np.abs(x).mean(1, keepdims=True),
    "max_abs": lambda x: np.abs(x).max(1, keepdims=True),
    "std": lambda x: x.std(1, keepdims=True),
    "abs": np.abs,
}
"""Statistic -> rows [n, d] to their units, [n, 1] or [n, d]."""
_DEFAULT = "mean_abs"


@dataclass(frozen=True)
class RowFrame:
    """S_i: u [m] -> δ [d], another one for each row i.

    Args:
        of: indices of rows [n] -> their units [n, d], of the flattened features.
        free: indices of the free features [m] among the d flattened ones.
        d: the number of features.
    """

    of: Callable[[NDArray[np.int64]], Rows]
    free: Tensor
    d: int
    alike: ClassVar[bool] = False

    def at(self, index: NDArray[np.int64]) -> Frame:
        """Return the frame of some rows, its units [n, m]."""
        unit = torch.from_numpy(self.of(index)).to(self.free.device)
        return Frame(unit[:, self.free], self.free, self.d)

    def place(self, directions: Tensor) -> Tensor:
        """Put columns u [N, m, k] back at their features: [N, k, d]."""
        one = torch.ones(len(self.free), device=self.free.device)
        return Frame(one, self.free, self.d).place(directions)


Frames = Frame | RowFrame
"""Whatever gives the frame of a block of rows, by `at(index)`."""


def statistic(text: str) -> str:
    """Return which statistic of a row is its unit; "" where another unit is meant.

    Raises:
        ConfigError: there is no such statistic.
    """
    kind, colon, name = text.partition(":")
    if kind != ROW:
        return ""
    name = name if colon else _DEFAULT
    if name in OF_ROW:
        return name
    raise ConfigError(
        f"--units {text} names no level of a row",
        f"Expected {ROW} (its mean absolute value) or one of "
        + ", ".join(f"{ROW}:{known}" for known in OF_ROW),
        "Correct --units",
    )


def of_rows(
    name: str, read: Callable[[NDArray[np.int64]], NDArray[np.generic]], d: int
) -> Callable[[NDArray[np.int64]], Rows]:
    """Return rows -> their own levels [n, d].

    Args:
        name: of the statistic.
        read: indices -> the rows of the data [n, ...].
        d: the number of features.
    """

    def units(index: NDArray[np.int64]) -> Rows:
        x = read(index).reshape(len(index), d).astype(np.float64)
        return np.array(np.broadcast_to(OF_ROW[name](x), x.shape))

    return units


def of_table(units: Rows) -> Callable[[NDArray[np.int64]], Rows]:
    """Return rows -> their units [n, d], from those of all rows [N, *event]."""
    flat = units.reshape(len(units), -1)
    return lambda index: flat[index]
