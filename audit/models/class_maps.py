"""Maps from classes to numbers, one for each row, read as a matrix.

scikit-learn's converter puts a ZipMap behind its probabilities by default. The columns
are the classes in ascending order, as scikit-learn has them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_TEXTS = "OSUT"  # kinds of numpy's arrays of text


def numbers_of(value: object) -> Tensor | None:
    """Return an output as a tensor; None for text, such as the label of a class."""
    if not isinstance(value, (np.ndarray, np.generic)):
        return matrix_of(value)
    return None if value.dtype.kind in _TEXTS else torch.as_tensor(value)


def matrix_of(value: object) -> Tensor | None:
    """Return a list of maps as a matrix [N, K]; None if it is something else.

    Gradients pass where the maps hold tensors.
    """
    if not isinstance(value, Sequence) or not value or isinstance(value, str):
        return None
    if not all(
        isinstance(row, dict) and row.keys() == value[0].keys() for row in value
    ):
        return None
    classes = classes_of(value)
    rows = [torch.stack([_number(row[key]) for key in classes]) for row in value]
    return torch.stack(rows)


def classes_of(value: Sequence[dict[object, object]]) -> list[object]:
    """Return the classes, numbers by size and texts by the alphabet."""
    return sorted(value[0], key=lambda key: (isinstance(key, str), key))


def _number(value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value.reshape(())
    return torch.tensor(float(value), dtype=torch.float32)  # type: ignore[arg-type]
