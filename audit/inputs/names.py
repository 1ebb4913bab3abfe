"""Names in the data file: of the features, and of the classes, if it has them.

`feature_names` is an array of strings, one for each feature. `classes` of strings
[K] are the names of a classifier's answers; other arrays of that key mean something
else, and are left alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.ground.errors import InputError, boundary
from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.opening import open_file

NAMES, CLASSES = "feature_names", "classes"
_LONGEST = 80
_EXPECTED = "Expected an array of strings"
_HINT = f"Save it with np.savez(..., {NAMES}=np.array(names, dtype=str))"


def read_feature_names(
    path: str, event: Sequence[int], memory: int = MEMORY
) -> list[str] | None:
    """Return the names of an input's features, row-major; None where there are none.

    Args:
        path: the data file.
        event: the shape of one input.
        memory: bytes that they may take.

    Raises:
        InputError: `feature_names` is no array of strings, or does not fit the input.
    """
    with boundary(f"In '{path}', '{NAMES}' cannot be read", _EXPECTED, _HINT):
        return _names(path, tuple(event), memory)


def _names(path: str, event: tuple[int, ...], memory: int) -> list[str] | None:
    with open_file(path, memory) as file:
        if NAMES not in file.keys:
            return None
        try:
            found = file.load(NAMES, memory)
        except InputError as error:
            raise InputError(error.given, _EXPECTED, _HINT) from None
    _check(path, found, event)
    return [str(name)[:_LONGEST] for name in found.reshape(-1).tolist()]


def read_class_names(path: str, memory: int = MEMORY) -> list[str] | None:
    """Return the strings that `classes` of a data file holds; None without any.

    Columns of tables have an entry for each row, and name no classes.

    Raises:
        InputError: `classes` is damaged.
    """
    with open_file(path, memory) as file:
        if CLASSES not in file.keys or file.is_table:
            return None
        try:
            found = file.load(CLASSES, memory)
        except InputError:
            return None  # not made of numbers or texts: nothing that a scan reads
    if found.dtype.kind != "U" or found.ndim != 1:
        return None
    return [str(name) for name in found.tolist()]


def _check(path: str, found: Array, event: tuple[int, ...]) -> None:
    size = math.prod(event)
    if found.dtype.kind != "U":
        raise InputError(
            f"In '{path}', key '{NAMES}' has dtype {found.dtype}",
            _EXPECTED,
            _HINT,
        )
    if found.shape not in (event, (size,)):
        raise InputError(
            f"In '{path}', key '{NAMES}' has the shape {list(found.shape)}",
            f"Expected a name for each feature: {list(event)} or [{size}]",
            "Give as many names as features, or leave the key out",
        )
